"""A gateway with the shop behind it, a policy that holds, an agent's connection and humans who decide."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from onrecord.scripts.admin_client import AdminClient
from tests.conftest import Shop
from tests.helpers import Gateway, free_port, make_config, postgres_resource, running_gateway, wait_until

POLICY = """
from onrecord.policies import Hold


class Holds:
    def sql(self, command):
        text = command.text
        if "/*twice*/" in text:
            return Hold(approvers=("dba", "security"), reason="two must agree")
        if "/*quick*/" in text:
            return Hold(approvers="dba", reason="soon over", timeout=1.5)
        if "/*later*/" in text:
            return Hold(approvers="dba", reason="ask again", wait=False)
        if "/*reuse*/" in text:
            return Hold(approvers="dba", reason="may be repeated", reuse=600.0)
        if "/*rows*/" in text:
            return Hold(approvers="dba", reason="few rows only", max_rows=2)
        if command.kind in ("DELETE", "UPDATE"):
            return Hold(approvers="dba", reason="changes the shop")
        return None


addons = [Holds()]
"""


@dataclass
class Desk:
    """A running gateway and the people around it."""

    gateway: Gateway
    table: str
    shop: Shop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.setup.admin_port}"

    def token(self, subject: str = "alice", groups: Sequence[str] = ("dba",), **more: Any) -> str:
        return self.gateway.setup.mint(subject, groups=groups, human=True, **more)

    def client(self, subject: str = "alice", groups: Sequence[str] = ("dba",), **more: Any) -> AdminClient:
        return AdminClient(self.url, self.token(subject, groups, **more))

    @contextlib.contextmanager
    def connection(self, subject: str = "devin", **more: Any) -> Iterator[psycopg.Connection[Any]]:
        """An agent's connection through the gateway."""
        token = self.gateway.setup.mint(subject, on_behalf_of=more.pop("on_behalf_of", "bob@example.com"), **more)
        dsn = f"host=127.0.0.1 port={self.gateway.setup.postgres_port} dbname=orders user=agent sslmode=disable"
        with psycopg.connect(dsn, password=token, autocommit=True) as connection:
            try:
                yield connection
            except BaseException:
                connection.pgconn.finish()  # a statement that still waits would wait on
                raise

    def pending(self, count: int = 1) -> list[dict[str, Any]]:
        """What waits at this table, once so much does."""
        with self.client() as client:

            def found() -> list[dict[str, Any]]:
                listed = [one for one in client.approvals(pending=True) if self.table in one["text"]]
                return listed if len(listed) >= count else []

            return wait_until(found)

    def listed(self) -> list[dict[str, Any]]:
        """What waits at this table now."""
        with self.client() as client:
            return [one for one in client.approvals(pending=True) if self.table in one["text"]]

    def view(self, id: str) -> dict[str, Any]:
        with self.client() as client:
            return client.approval(id)

    def state(self, id: str) -> str:
        with self.client() as client:
            return str(client.approval(id)["state"])

    def wait_for(self, id: str, state: str) -> None:
        wait_until(lambda: self.state(id) == state, what=f"approval {id} is {state}")

    def onrecord(self, *arguments: str, token: str = "", check: bool = True) -> Any:
        return self.gateway.onrecord(*arguments, check=check, env={"ONRECORD_TOKEN": token} if token else None)

    def rows(self) -> int:
        return int(self.shop.server.sql(f"SELECT count(*) FROM {self.table}", database="shop")[0][0])

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.onrecord("log", "--json").stdout.splitlines()]


class Running:
    """A statement in a thread of its own: what came of it."""

    def __init__(self, connection: psycopg.Connection[Any], text: str, parameters: Any = None) -> None:
        self.notices: list[str] = []
        self.error: psycopg.Error | None = None
        self.count = -1
        connection.add_notice_handler(lambda notice: self.notices.append(notice.message_primary or ""))

        def run() -> None:
            try:
                self.count = connection.execute(text, parameters).rowcount
            except psycopg.Error as error:
                self.error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def join(self) -> Running:
        self.thread.join(60)
        assert not self.thread.is_alive(), "the statement still waits"
        return self


@pytest.fixture(scope="module")
def gateway(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("approvals")
    policy = folder / "holds.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    setup = make_config(
        folder,
        resources={"orders": postgres_resource(shop.server, user=shop.user)},
        policies=[{"file": str(policy)}],
        gateway={"admin": f"127.0.0.1:{free_port()}", "http": None},
        tables={"approvals": {"approvers": ["dba"]}, "admin": {"roles": {"operator": ["ops"]}}},
        env={"SHOP_PASSWORD": shop.password},
    )
    with running_gateway(setup) as running:
        yield running


@pytest.fixture
def desk(gateway: Gateway, shop: Shop) -> Iterator[Desk]:
    """A table of ten rows of its own, behind the gateway."""
    table = f"held_{os.urandom(4).hex()}"
    for statement in (
        f"CREATE TABLE {table} (id int PRIMARY KEY, note text)",
        f"INSERT INTO {table} SELECT n, 'n' || n FROM generate_series(1, 10) n",
        f"GRANT ALL ON {table} TO {shop.user}",
    ):
        shop.server.sql(statement, database="shop")
    yield Desk(gateway, table, shop)
    shop.server.sql(f"DROP TABLE {table}", database="shop")


def reachable(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return bool(httpx.get(url, trust_env=False).status_code)
    return False


def psql_path() -> Path:
    import shutil

    found = shutil.which("psql")
    assert found, "psql is missing: apt-get install postgresql-client"
    return Path(found)
