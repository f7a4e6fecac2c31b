"""Approvals against kills of real processes, cancels, revocations and each other: a command runs once or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.scripts.admin_client import AdminClient, AdminError
from tests.approvals.conftest import POLICY, Desk, Running
from tests.conftest import Shop
from tests.helpers import free_port, make_config, postgres_resource, running_gateway, wait_until


@pytest.fixture
def own(shop: Shop, tmp_path: Path) -> Iterator[Desk]:
    """A gateway of the test's own, whose processes it may kill."""
    policy = tmp_path / "holds.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    setup = make_config(
        tmp_path,
        resources={"orders": postgres_resource(shop.server, user=shop.user)},
        policies=[{"file": str(policy)}],
        gateway={"admin": f"127.0.0.1:{free_port()}", "http": None},
        tables={"admin": {"roles": {"operator": ["ops"]}}},
        env={"SHOP_PASSWORD": shop.password},
    )
    table = f"raced_{os.urandom(4).hex()}"
    for statement in (
        f"CREATE TABLE {table} (id int PRIMARY KEY, note text)",
        f"INSERT INTO {table} SELECT n, 'n' FROM generate_series(1, 10) n",
        f"GRANT ALL ON {table} TO {shop.user}",
    ):
        shop.server.sql(statement, database="shop")
    with running_gateway(setup) as gateway:
        yield Desk(gateway, table, shop)
    shop.server.sql(f"DROP TABLE {table}", database="shop")


def process(desk: Desk, module: str) -> int:
    """The process id of the gateway's child that runs `module`."""

    def find() -> int:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == desk.gateway.process.pid and module.encode() in (entry / "cmdline").read_bytes():
                    return int(entry.name)
        return 0

    return wait_until(find, what=module)


def kill(desk: Desk, module: str) -> None:
    """kill -9, and wait until it was started again."""
    pid = process(desk, module)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process(desk, module) != pid)


def approve_once_it_can(desk: Desk, id: str) -> str:
    """Approve as soon as the admin process and the recorder can; what came of it."""
    with desk.client() as client:

        def attempt() -> str:
            try:
                return str(client.decide(id, "approve", "")["state"])
            except AdminError as error:
                if error.status in (0, 503):
                    return ""
                return str(error)

        return wait_until(attempt)


def state_once_told(desk: Desk, id: str) -> str:
    with desk.client() as client:

        def ask() -> str:
            with contextlib.suppress(AdminError):
                return str(client.approval(id)["state"])
            return ""

        return wait_until(ask)


def test_a_recorder_that_is_killed_loses_no_pending_approval_and_grants_none(own: Desk) -> None:
    with own.connection() as connection:
        held = Running(connection, f"DELETE FROM {own.table} WHERE id = 1")
        (waiting,) = own.pending()
        kill(own, "recordings.recorder")
        assert own.rows() == 10
        assert held.thread.is_alive(), "it waits on"
        assert approve_once_it_can(own, waiting["id"]) == "granted"
        assert held.join().count == 1
    assert own.rows() == 9
    assert state_once_told(own, waiting["id"]) == "used"


def test_a_grant_survives_the_recorder_and_is_used_once(own: Desk) -> None:
    text = f"DELETE FROM {own.table} WHERE id = 5 /*later*/"
    with own.connection(run="run-1") as connection:
        assert Running(connection, text).join().error is not None
        (waiting,) = own.pending()
        assert approve_once_it_can(own, waiting["id"]) == "granted"
        kill(own, "recordings.recorder")
        wait_until(lambda: state_once_told(own, waiting["id"]) == "granted")

        def repeat() -> int:
            return max(Running(connection, text).join().count, 0)

        assert wait_until(repeat) == 1
        assert Running(connection, text).join().error is not None
    assert own.rows() == 9


def test_a_used_grant_stays_used_when_the_recorder_is_killed(own: Desk) -> None:
    text = f"DELETE FROM {own.table} WHERE id = 5 /*later*/"
    with own.connection(run="run-1") as connection:
        assert Running(connection, text).join().error is not None
        (waiting,) = own.pending()
        assert approve_once_it_can(own, waiting["id"]) == "granted"
        assert Running(connection, text).join().count == 1
        kill(own, "recordings.recorder")
        own.shop.server.sql(f"INSERT INTO {own.table} VALUES (5, 'again')", database="shop")
        assert state_once_told(own, waiting["id"]) == "used"
        wait_until(lambda: "approval" in str(Running(connection, text).join().error))
    assert own.rows() == 10


def test_a_shim_that_is_killed_takes_its_waiting_command_with_it(own: Desk) -> None:
    with own.connection() as connection:
        held = Running(connection, f"DELETE FROM {own.table}")
        (waiting,) = own.pending()
        kill(own, "shims.postgres")
        assert held.join().error is not None
        said = approve_once_it_can(own, waiting["id"])
        assert "cancelled" in said or said == "granted"
        wait_until(lambda: state_once_told(own, waiting["id"]) == "cancelled")
    assert own.rows() == 10


def test_while_the_recorder_is_silent_nothing_is_granted(own: Desk) -> None:
    with own.connection() as connection:
        held = Running(connection, f"DELETE FROM {own.table}")
        (waiting,) = own.pending()
        recorder = process(own, "recordings.recorder")
        os.kill(recorder, signal.SIGSTOP)
        try:
            with own.client() as client:

                def refused() -> str:
                    try:
                        client.decide(waiting["id"], "approve", "")
                    except AdminError as error:
                        return str(error)
                    return ""

                assert "recorder" in wait_until(refused)
            assert own.rows() == 10
        finally:
            os.kill(recorder, signal.SIGCONT)
        held.join()
        # the decision may have waited in the channel: then it ran, once; else it still waits or was refused
        assert own.rows() in (0, 10)
        assert (own.rows() == 0) == (held.error is None)


def test_approve_and_cancel_at_the_same_time_run_it_once_or_not_at_all(own: Desk) -> None:
    left = 10
    with own.connection() as connection:
        for number in range(1, 9):
            held = Running(connection, f"DELETE FROM {own.table} WHERE id = {number}")
            (waiting,) = own.pending()
            with own.client() as client:
                approving = threading.Thread(target=_decide, args=(client, waiting["id"], "approve"))
                approving.start()
                if number % 2:
                    connection.cancel_safe()
                else:
                    with own.client("erin") as erin:
                        _decide(erin, waiting["id"], "revoke")
                approving.join()
            held.join()
            left -= held.error is None
            assert own.rows() == left
            final = ended(own, waiting["id"])
            # a cancel that comes while the grant is being used: it is used up, and nothing ran
            late = "while its approval was used" in str(held.error)
            assert (final == "used") == (held.error is None or late), final


def ended(desk: Desk, id: str) -> str:
    def state() -> str:
        found = desk.state(id)
        return "" if found in ("pending", "granted") else found

    return wait_until(state)


def _decide(client: AdminClient, id: str, decision: str) -> str:
    try:
        return str(client.decide(id, decision, "")["state"])
    except AdminError as error:
        return str(error)


def test_of_many_who_decide_at_once_one_decides(own: Desk) -> None:
    with own.connection() as connection:
        held = Running(connection, f"DELETE FROM {own.table} WHERE id = 3")
        (waiting,) = own.pending()
        said: list[str] = []

        def decide(number: int) -> None:
            with own.client(f"human-{number}") as client:
                said.append(_decide(client, waiting["id"], ("approve", "deny")[number % 2]))

        threads = [threading.Thread(target=decide, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        held.join()
    won = [one for one in said if one in ("granted", "refused")]
    assert len(won) == 1
    assert (won[0] == "granted") == (held.error is None)


def test_forged_late_and_foreign_decisions_are_refused_and_on_record(own: Desk) -> None:
    setup = own.gateway.setup
    with own.connection() as connection:
        held = Running(connection, f"DELETE FROM {own.table}")
        (waiting,) = own.pending()
        attempts = {
            "agent": setup.mint("agent-9", groups=("dba",)),
            "delegated": setup.mint("agent-9", groups=("dba",), on_behalf_of="alice"),
            "requester": own.token("devin"),
            "delegator": own.token("bob@example.com"),
            "stranger": own.token("mallory", ("staff",)),
        }
        for token in attempts.values():
            with AdminClient(own.url, token) as client, pytest.raises(AdminError) as refused:
                client.decide(waiting["id"], "approve", "let me")
            assert refused.value.status == 403
        with AdminClient(own.url, attempts["stranger"][:-4] + "AAAA") as client, pytest.raises(AdminError) as refused:
            client.decide(waiting["id"], "approve", "")
        assert refused.value.status == 401
        assert held.thread.is_alive()
        own.onrecord("deny", waiting["id"], token=own.token())
        held.join()
        late = own.onrecord("approve", waiting["id"], token=own.token("carol"), check=False)
        assert late.returncode == 1
    assert own.rows() == 10

    def steps() -> list[str]:
        found = json.loads(own.onrecord("approvals", waiting["id"], "--recorded", "--json").stdout)["steps"]
        who = [step["by"]["subject"] for step in found if step["event"] == "rejected"]
        return who if len(who) >= 6 else []

    assert wait_until(steps) == ["agent-9", "agent-9", "devin", "bob@example.com", "mallory", "carol"]


def test_a_kill_ends_open_sessions_refuses_new_ones_and_outlives_a_restart(own: Desk) -> None:
    operator = own.token("root", ("ops",))
    with own.connection(run="run-7") as connection, own.connection("other") as other:
        connection.execute("SELECT 1")
        held = Running(connection, f"DELETE FROM {own.table}")
        (waiting,) = own.pending()
        own.onrecord("kill", "run-7", "--as", "run", "--reason", "went wild", token=operator)
        error = held.join().error
        assert error is not None
        assert "stopped by root: went wild" in str(error)
        wait_until(lambda: own.state(waiting["id"]) == "cancelled")
        assert other.execute("SELECT 1").fetchone() == (1,)
    kill(own, "recordings.recorder")
    kill(own, "shims.postgres")

    def refused() -> str:
        try:
            with own.connection(run="run-7"):
                return ""
        except Exception as error:  # noqa: BLE001
            return str(error) if "stopped by" in str(error) else ""

    assert "went wild" in wait_until(refused)
    (switch,) = [json.loads(line) for line in own.onrecord("kills", "--json", token=operator).stdout.splitlines()]
    own.onrecord("unkill", switch["id"], token=operator)

    def let_in() -> bool:
        with contextlib.suppress(Exception), own.connection(run="run-7") as again:
            return again.execute("SELECT 1").fetchone() == (1,)
        return False

    assert wait_until(let_in)
