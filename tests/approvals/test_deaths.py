"""kill -9 of the recorder and of the shim at each single step of an approval: a command runs once or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from onrecord.scripts.admin_client import AdminError
from tests.approvals.conftest import POLICY, Desk, Running
from tests.approvals.test_races import approve_once_it_can, state_once_told
from tests.conftest import Shop
from tests.helpers import free_port, make_config, postgres_resource, running_gateway, wait_until

ROWS = 200


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    """The folder from which the gateway's processes learn when to die."""
    folder = tmp_path / "dying"
    shutil.copytree(Path(__file__).parent / "dying", folder)
    return folder


@pytest.fixture
def own(shop: Shop, tmp_path: Path, hook: Path) -> Iterator[Desk]:
    policy = tmp_path / "holds.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    setup = make_config(
        tmp_path,
        resources={"orders": postgres_resource(shop.server, user=shop.user)},
        policies=[{"file": str(policy)}],
        gateway={"admin": f"127.0.0.1:{free_port()}", "http": None},
        tables={"admin": {"roles": {"operator": ["ops"]}}},
        env={"SHOP_PASSWORD": shop.password, "PYTHONPATH": str(hook)},
    )
    table = f"deaths_{os.urandom(4).hex()}"
    for statement in (
        f"CREATE TABLE {table} (id int PRIMARY KEY, hits int NOT NULL)",
        f"INSERT INTO {table} SELECT n, 0 FROM generate_series(1, {ROWS}) n",
        f"GRANT ALL ON {table} TO {shop.user}",
    ):
        shop.server.sql(statement, database="shop")
    with running_gateway(setup) as gateway:
        yield Desk(gateway, table, shop)
    shop.server.sql(f"DROP TABLE {table}", database="shop")


def hits(desk: Desk, row: int) -> int:
    return int(desk.shop.server.sql(f"SELECT hits FROM {desk.table} WHERE id = {row}", database="shop")[0][0])


@contextlib.contextmanager
def connected(desk: Desk) -> Iterator[psycopg.Connection[object]]:
    """A connection as soon as the gateway takes one."""
    with contextlib.ExitStack() as stack:
        found: list[psycopg.Connection[object]] = []

        def attempt() -> bool:
            with contextlib.suppress(psycopg.Error):
                found.append(stack.enter_context(desk.connection(run="run-1")))
            return bool(found)

        wait_until(attempt, what="the gateway takes connections")
        yield found[0]


def waits_or_is_over(desk: Desk, running: Running, text: str) -> str:
    """The id under which it waits; empty where it ended before anybody could be asked."""
    found: list[str] = []

    def look() -> bool:
        with contextlib.suppress(AdminError):
            found.extend(one["id"] for one in desk.listed() if one["text"] == text)
        return bool(found) or not running.thread.is_alive()

    wait_until(look, what="it waits or is over")
    return found[0] if found else ""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", ["recordings.recorder", "shims.postgres"])
def test_a_death_at_any_step_of_an_approval_runs_a_command_once_or_not_at_all(
    own: Desk, hook: Path, module: str
) -> None:
    died: list[str] = []
    ran: list[int] = []
    for number in range(1, ROWS):
        text = f"UPDATE {own.table} SET hits = hits + 1 WHERE id = {number}"
        with connected(own) as connection:
            (hook / "armed.new").write_text(f"{module} {number}")
            (hook / "armed.new").rename(hook / "armed")
            held = Running(connection, text)
            id = waits_or_is_over(own, held, text)
            answer = approve_once_it_can(own, id) if id else ""
            held.join()
            fired = not (hook / "armed").exists()
            (hook / "armed").unlink(missing_ok=True)
            count = hits(own, number)
            assert count <= 1, f"step {died}: it ran {count} times"
            if count:
                assert id, "it ran unasked"
                assert answer, "it ran and nobody agreed"
                assert state_once_told(own, id) == "used"
                ran.append(number)
            if held.error is None:
                assert count == 1, f"step {number}: the client heard that it ran"
        if not fired:
            break
        died.append((hook / "fired").read_text())
        with connected(own) as connection:  # the client asks again: what was used is no leave for it
            again = Running(connection, text)
            asked = waits_or_is_over(own, again, text)
            connection.cancel()
            again.join()
            assert hits(own, number) <= 1, f"{died[-1]}: it ran again"
            if count:
                assert asked != id
    assert len(died) >= 12, died  # 32 and 14 when this was written
    assert not fired, "there was no end of steps"
    assert ran, "nothing ever ran"
    approved = {
        json_of["text"]: json_of
        for json_of in own.log()
        if json_of["approval"] is not None and json_of["verdict"]["type"] == "hold"
    }
    for number in ran:
        assert f"UPDATE {own.table} SET hits = hits + 1 WHERE id = {number}" in approved
    assert json.loads(own.onrecord("verify", "--json").stdout)["ok"] is True
