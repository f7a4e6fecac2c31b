"""Messages of hundreds of megabytes: what is recorded of them, and how much memory they take."""

from __future__ import annotations

import hmac
import re
import struct
from pathlib import Path

import psycopg
import pytest

from onrecord.policies.model import Command, SqlCommand
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.recordings.frames import Kind
from onrecord.shims.postgres import spool
from onrecord.shims.postgres.messages import encode_query, encode_startup
from onrecord.shims.postgres.wire import message
from tests.conftest import Shop
from tests.helpers import Gateway, make_config, postgres_resource, running_gateway
from tests.shims.postgres.conftest import Shim
from tests.shims.postgres.raw import RawClient
from tests.shims.postgres.test_exchange import SYNC, errors, execute, parse

VALUE = bytes(range(256)) * 12_000


def test_a_large_parameter_is_on_record_by_size_and_digest_and_the_small_ones_in_full(shim: Shim) -> None:
    with shim.connect() as connection:
        query = "SELECT length(%b::bytea), %s::text"
        assert connection.execute(query, [VALUE, "behind"]).fetchone() == (len(VALUE), "behind")
        assert connection.execute("SELECT 1").fetchone() == (1,)
    shim.wait_ended()
    command = next(c for c in shim.engine.asked if isinstance(c, SqlCommand) and "length" in c.text and c.parameters)
    key = bytes.fromhex(shim.of(Kind.SESSION)[0]["digest_key"])
    digest = hmac.digest(key, VALUE, "sha256").hex()
    assert command.parameters == (f"[{len(VALUE)} bytes, keyed digest {digest}]", "behind")
    recorded = [body["detail"]["parameters"] for body in shim.of(Kind.COMMAND) if "length" in body["text"]]
    assert list(command.parameters) in recorded
    assert shim.server._spools.held == 0


def test_a_large_bind_is_decided_before_any_of_it_goes(shim: Shim) -> None:
    def rule(command: Command) -> Ruling:
        if isinstance(command, SqlCommand) and "secret" in (command.parameters or ()):
            return Ruling(Deny("no secrets"), "mine")
        return Ruling(Allow(), "mine")

    shim.engine.rule = rule
    with shim.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no secrets"):
            connection.execute("SELECT length(%b::bytea), %s::text", [VALUE, "secret"])
        assert connection.execute("SELECT 1").fetchone() == (1,)
    shim.wait_ended()
    assert shim.server._spools.held == 0


def test_a_large_bind_behind_an_error_is_skipped_and_keeps_no_room(shim: Shim) -> None:
    bind = message(b"B", b"\0\0" + struct.pack(">HHI", 0, 1, len(VALUE)) + VALUE + bytes(2))
    with RawClient(shim) as client:
        client.send(parse("", "SELECT nonsense") + bind + execute("") + SYNC)
        assert b"42703" in errors(client.until(b"Z"))
        client.send(bind + execute("") + SYNC)
        assert b"26000" in errors(client.until(b"Z"))
        client.send(encode_query("SELECT 1"))
        client.until(b"Z")
    shim.wait_ended()
    assert shim.server._spools.held == 0


def test_without_room_a_large_message_ends_its_session_and_no_other(
    shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MAX_SPOOLED", 1000)
    with shim.connect() as other, shim.connect() as connection:
        with pytest.raises(psycopg.Error, match="no room"):
            connection.execute("SELECT length(%b::bytea)", [VALUE])
        assert other.execute("SELECT 1").fetchone() == (1,)
    shim.wait_ended()
    assert shim.server._spools.held == 0


def test_a_client_that_leaves_in_the_middle_of_a_large_bind_leaves_no_room_taken(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(parse("", "SELECT $1::bytea") + b"B" + struct.pack(">I", 50_000_000) + b"\0\0" + bytes(2_000_000))
    shim.wait_ended()
    assert shim.server._spools.held == 0


def test_a_query_over_its_limit_is_refused_before_it_is_read(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(b"Q" + struct.pack(">I", 17 * 1024 * 1024) + b"SELECT")
        assert b"54000" in errors(client.rest())


class Far(RawClient):
    """A raw client of a gateway in a process of its own."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(_Port(gateway.setup.postgres_port), login=False)  # type: ignore[arg-type]
        self.send(encode_startup({"user": "devin", "database": "orders"}))
        self.until(b"R")
        self.send(message(b"p", gateway.setup.mint().encode() + b"\0"))
        self.until(b"Z")


class _Port:
    def __init__(self, port: int) -> None:
        self.port = port


def shim_of(gateway: Gateway) -> int:
    """The pid of its shim."""
    pid = gateway.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (found,) = [int(one) for one in children if b"shims.postgres" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return found


def peak(pid: int) -> int:
    """The most memory that the process ever had, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def test_parameters_rows_and_copies_of_300_megabytes_pass_in_bounded_memory(tmp_path: Path, shop: Shop) -> None:
    setup = make_config(
        tmp_path,
        resources={
            "orders": postgres_resource(shop.server, user=shop.user, database=shop.database) | {"unknown": "allow"}
        },
        gateway={"http": None},
        env={"SHOP_PASSWORD": shop.password},
    )
    size, piece = 300 * 1024 * 1024, bytes(1024 * 1024)
    with running_gateway(setup) as gateway:
        pid = shim_of(gateway)
        before = peak(pid)
        with Far(gateway) as client:
            head = b"\0\0" + struct.pack(">HHHI", 1, 1, 1, size)
            client.send(
                parse("", "SELECT length($1::bytea)") + b"B" + struct.pack(">I", 4 + len(head) + size + 2) + head
            )
            for _ in range(300):
                client.send(piece)
            client.send(bytes(2) + execute("") + SYNC)
            assert (b"D", struct.pack(">HI", 1, 9) + str(size).encode()) in client.until(b"Z")
            assert peak(pid) - before < 48
            client.send(encode_query("SELECT repeat('x', 300000000)"))
            tail = b""
            while not tail.endswith(b"Z\0\0\0\5I"):
                tail = (tail + client.sock.recv(1 << 20))[-6:]
            client.send(encode_query("CREATE TEMP TABLE t (a text)"))
            client.until(b"Z")
            client.send(encode_query("COPY t FROM STDIN") + b"d" + struct.pack(">I", 4 + size))
            for _ in range(299):
                client.send(b"x" * len(piece))
            client.send(b"x" * (len(piece) - 1) + b"\n" + message(b"c"))
            assert (b"C", b"COPY 1\0") in client.until(b"Z")
            assert peak(pid) - before < 48
