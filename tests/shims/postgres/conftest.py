"""A shim in a thread of its own with a real journal, and whatever decides injected."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import psycopg
import pytest
import uvloop

from onrecord.policies import dev_issuer
from onrecord.policies.config import (
    Address,
    Config,
    GatewayConfig,
    IssuerConfig,
    PostgresResource,
    RecordingsConfig,
    SecretRef,
)
from onrecord.policies.identity import Authenticator
from onrecord.policies.model import Command, Outcome, Session
from onrecord.policies.secrets import Secrets
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.recordings.auditor import Auditor
from onrecord.recordings.datapath import DataPath
from onrecord.recordings.frames import FILE_HEADER_SIZE, Kind, decode_frames, id_text, read_file_header
from onrecord.recordings.journal import Journal
from onrecord.shims.postgres.server import Server
from tests.conftest import Shop
from tests.helpers import free_port, wait_until

Rule = Callable[[Command], Ruling | Awaitable[Ruling]]


@dataclass
class TestEngine:
    """Asks `rule`; remembers what it was asked."""

    __test__ = False
    rule: Rule
    digest: str = "sha256:test"
    asked: list[Command] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def decide(self, command: Command) -> Ruling | Awaitable[Ruling]:
        self.asked.append(command)
        return self.rule(command)

    def session_start(self, session: Session) -> Ruling | None:
        return None

    def session_end(self, session: Session) -> None:
        return None

    def outcome(self, command: Command, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@dataclass
class TestControl:
    __test__ = False
    refusal: str | None = None


@dataclass
class Record:
    """One journal record: its kind, ids and payload."""

    kind: Kind
    id: str
    command: str
    body: dict[str, Any]


def guard(command: Command) -> Ruling:
    """The usual rule of these tests: no DROP, no DELETE without WHERE, nothing unknown."""
    kind = getattr(command, "kind", "")
    if kind in {"DROP", "TRUNCATE"} or (kind == "DELETE" and not getattr(command, "has_where", False)):
        return Ruling(Deny("destructive statements are not for agents", "open a migration pull request"), "guard")
    if command.action == "unknown":
        return Ruling(Deny("cannot be understood"), "onrecord:unknown")
    return Ruling(Allow(), "guard")


@dataclass
class Shim:
    """A running shim. `engine.rule` may be changed while it runs."""

    folder: Path
    port: int
    engine: TestEngine
    control: TestControl
    auditor: Auditor
    server: Server
    loop: asyncio.AbstractEventLoop
    resource: str = "orders"

    def token(self, *groups: str, **more: Any) -> str:
        options: dict[str, Any] = {"subject": "devin", "groups": list(groups or ("agents",)), "audience": "onrecord"}
        return dev_issuer.mint(self.folder, **(options | more))

    @property
    def ca(self) -> Path:
        return self.folder / "ca" / "mitmproxy-ca-cert.pem"

    def dsn(self, *, token: str | None = None, database: str = "orders", sslmode: str = "disable", **more: str) -> str:
        options = {
            "host": "127.0.0.1",
            "port": str(self.port),
            "dbname": database,
            "user": "devin",
            "password": token or self.token(),
            "sslmode": sslmode,
            "gssencmode": "disable",
            **more,
        }
        return psycopg.conninfo.make_conninfo(**options)

    def connect(self, **more: Any) -> psycopg.Connection:
        return psycopg.connect(self.dsn(**more), autocommit=True)

    def records(self) -> list[Record]:
        found: list[Record] = []
        for path in sorted((self.folder / "journal").glob("*.journal")):
            data = path.read_bytes()
            chain = read_file_header(data)
            for frame in decode_frames(data[FILE_HEADER_SIZE:], chain, FILE_HEADER_SIZE):
                body = msgspec.json.decode(frame.payload)
                found.append(Record(frame.kind, id_text(frame.id), id_text(frame.command), body))
        return found

    def of(self, kind: Kind) -> list[dict[str, Any]]:
        return [record.body for record in self.records() if record.kind is kind]

    def commands(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(text, verdict type, outcome) of all commands; {} while there is no outcome."""
        records = self.records()
        outcomes: dict[str, dict[str, Any]] = {}
        for record in records:
            if record.kind is Kind.OUTCOME:
                assert record.command not in outcomes, "two outcomes of one command"
                outcomes[record.command] = record.body
        return [
            (record.body["text"], record.body["verdict"]["type"], outcomes.get(record.command, {}))
            for record in records
            if record.kind is Kind.COMMAND
        ]

    def refusals(self) -> list[dict[str, Any]]:
        return self.of(Kind.REFUSAL)

    def on_loop(self, function: Callable[[], Any]) -> Any:
        """Run `function` in the shim's thread and return what it returns."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    def wait_ended(self) -> None:
        wait_until(lambda: not self.on_loop(lambda: self.server._connections), what="all sessions to end")


def start_shim(
    folder: Path, resources: dict[str, PostgresResource], env: dict[str, str], **gateway: Any
) -> Iterator[Shim]:
    folder.mkdir(mode=0o700, exist_ok=True)
    port = free_port()
    address = Address("127.0.0.1", port)
    issuers = (IssuerConfig(issuer=dev_issuer.DEV_ISSUER, audience=("onrecord",)),)
    options: dict[str, Any] = {"postgres": address, "state": folder, "postgres_tls": "allow"}
    sample_limit = gateway.pop("sample_limit", 4096)
    masks = tuple(gateway.pop("masks", ()))
    dev_issuer.mint(folder, subject="x", groups=["x"], audience="onrecord")
    config = Config(
        path=folder / "mitm.toml",
        gateway=GatewayConfig(**(options | gateway)),
        recordings=RecordingsConfig(store=folder / "recordings.db", sample_limit=sample_limit),
        issuers=issuers,
        policies=(),
        masks=masks,
        resources=dict(resources),
    )
    journal = Journal(folder / "journal", "postgres-0")
    engine, control = TestEngine(guard), TestControl()
    auditor = Auditor(journal, engine, control)
    started = threading.Event()
    box: dict[str, Any] = {}

    async def main() -> None:
        path = cast(Any, DataPath)(
            config,
            "postgres-0",
            auditor,
            Authenticator(issuers, folder),
            engine,
            control,
            Secrets(env),
            None,
            None,
        )
        server = Server(path, address)
        listener = server.listen(address)
        box.update(server=server, loop=asyncio.get_running_loop(), stop=asyncio.Event())
        started.set()
        await box["stop"].wait()
        asyncio.get_running_loop().remove_reader(listener.fileno())
        listener.close()
        await server.drain()

    thread = threading.Thread(target=lambda: asyncio.run(main(), loop_factory=uvloop.new_event_loop))
    thread.start()
    assert started.wait(20), "the shim did not start"
    try:
        yield Shim(folder, port, engine, control, auditor, box["server"], box["loop"])
    finally:
        box["loop"].call_soon_threadsafe(box["stop"].set)
        thread.join(20)
        journal.close()
        assert not thread.is_alive()


def resource_of(shop: Shop, **more: Any) -> PostgresResource:
    server = shop.server
    options: dict[str, Any] = {
        "name": "orders",
        "type": "postgres",
        "groups": ("agents",),
        "host": server.host,
        "port": server.port,
        "database": shop.database,
        "user": shop.user,
        "password": SecretRef("env", "SHOP_PASSWORD"),
        "sslmode": "verify-full" if server.tls else "disable",
        "ca": server.ca,
        "catalog": "off",  # most tests are about the protocol
    }
    return PostgresResource(**(options | more))


@pytest.fixture
def shim(tmp_path: Path, shop: Shop) -> Iterator[Shim]:
    """A shim before the embedded PostgreSQL; plaintext allowed."""
    yield from start_shim(tmp_path / "state", {"orders": resource_of(shop)}, {"SHOP_PASSWORD": shop.password})
