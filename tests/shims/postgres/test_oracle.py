"""The server itself as the oracle: the same bytes sent to it directly and through the gateway get the same answers."""

from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Ruling
from onrecord.shims.postgres.backend import Backend
from onrecord.shims.postgres.messages import encode_query, encode_startup
from onrecord.shims.postgres.upstream import Login
from onrecord.shims.postgres.wire import LOGIN_LIMITS, MessageBuffer, message
from tests.shims.postgres.conftest import Shim
from tests.shims.postgres.raw import Answer, RawClient
from tests.shims.postgres.test_exchange import SYNC, bind, close, execute, parse

FLUSH, DONE, FAIL = message(b"H"), message(b"c"), message(b"f", b"no\0")
COPY_IN, COPY_OUT = "COPY t FROM STDIN", "COPY t TO STDOUT"
SETUP = encode_query("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2)")


def data(text: bytes) -> bytes:
    return message(b"d", text)


def describe(what: bytes, name: bytes) -> bytes:
    return message(b"D", what + name + b"\0")


class Direct(RawClient):
    """Logged in to the server itself."""

    def __init__(self, backend: Backend) -> None:
        resource = backend.resource
        self.sock = socket.create_connection((resource.host, resource.port), timeout=20)
        self._data = b""
        self.greeting = []
        assert resource.password is not None
        login = Login(resource.user, backend.secrets.resolve(resource.password), tls=False)
        self.send(encode_startup({"user": resource.user, "database": resource.database, "client_encoding": "UTF8"}))
        buffer = MessageBuffer(LOGIN_LIMITS)
        while not login.ready:
            buffer.feed(self.sock.recv(65536))
            while not login.ready and (found := buffer.next()):
                self.send(login.receive(*found))


ROWS = [data(b"3\n"), data(b"4\n5"), data(b"\n"), data(b""), data(b"\\.\n"), data(b"x\n")]
COPIES = [*ROWS, DONE, FAIL, DONE]
EXTENDED = [
    *[parse(name, text) for name in ("", "s") for text in ("SELECT 1", COPY_IN, COPY_OUT, "SELECT nonsense", "")],
    *[bind(portal, name) for portal in ("", "p") for name in ("", "s")],
    *[execute(portal) for portal in ("", "p")],
    message(b"E", b"\0\0\0\0\1"),
    describe(b"S", b"s"),
    describe(b"P", b""),
    close("S", "s"),
    close("P", "p"),
    FLUSH,
    SYNC,
]
SIMPLE = [
    encode_query(text)
    for text in (
        "SELECT 1",
        COPY_IN,
        COPY_OUT,
        f"{COPY_IN}; SELECT 2; {COPY_IN}",
        f"SELECT 1; {COPY_OUT}; SELECT 1/0",
        f"BEGIN; {COPY_IN}",
        "ROLLBACK",
        "COPY t (b) FROM STDIN",
        "COPY t FROM STDIN (FORMAT binary)",
        "COPY t TO STDOUT (FORMAT csv, HEADER)",
        "",
    )
]


def plain(messages: list[bytes]) -> list[bytes]:
    """Without a Sync amid the data of a COPY, whose effect depends on whether these have failed by then."""
    found: list[bytes] = []
    within = False
    for one in messages:
        within = one[:1] == b"d" or (within and one[:1] not in b"cf")
        if one != SYNC or not within:
            found.append(one)
    return found


MESSAGES = st.lists(st.sampled_from([*SIMPLE, *EXTENDED, *COPIES, *COPIES]), max_size=14).map(plain)


def answers(client: RawClient, messages: list[bytes]) -> list[Answer]:
    """All that comes until the last of several syncs is answered, or the connection ends.

    The tail ends whatever is open: a COPY first, then a pipeline, then a transaction.
    """
    marker = encode_query("SELECT 'the end'")
    with contextlib.suppress(ConnectionError):
        client.send(SETUP)
        client.until(b"Z")
        client.send(b"".join(messages) + FAIL + SYNC + FAIL + SYNC + encode_query("ROLLBACK") + marker)
    found: list[Answer] = []
    with contextlib.suppress(ConnectionError):
        while (answer := client.next()) is not None:
            found.append(answer)
            if answer == (b"D", b"\0\1\0\0\0\7the end"):
                break
    return found


def told(found: list[Answer]) -> list[tuple[bytes, bytes]]:
    """What must be alike: kinds and contents; of errors the code. An end of the connection is one, however told."""
    told: list[tuple[bytes, bytes]] = []
    for kind, body in found:
        if kind in b"EN":
            fields = {field[:1]: field[1:] for field in body.split(b"\0") if field}
            if fields.get(b"S") == b"FATAL" or fields.get(b"C") == b"08P01":
                return [*told, (b"E", b"the end of the connection")]
            told.append((kind, fields.get(b"C", b"")))
        else:
            told.append((kind, body))
    return told


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([encode_query(COPY_IN), data(b"3\n"), DONE, encode_query("SELECT 1")])
@example([encode_query(COPY_IN), data(b"x\n"), DONE, encode_query("SELECT 1")])
@example([parse("", COPY_IN), bind("", ""), execute(""), SYNC, data(b"3\n"), DONE, SYNC])
@example([parse("", COPY_OUT), bind("", ""), execute(""), execute(""), SYNC])
@example([parse("", COPY_IN), bind("", ""), execute(""), DONE, execute(""), SYNC])
@example([encode_query(f"{COPY_IN}; SELECT 2; {COPY_IN}"), DONE, data(b"3\n"), FAIL, DONE])
@given(MESSAGES)
def test_the_gateway_answers_as_the_server_does(shim: Shim, messages: list[bytes]) -> None:
    shim.engine.rule = allow
    with Direct(shim.server._backends["orders"]) as direct:
        expected = answers(direct, messages)
    with RawClient(shim) as client:
        found = answers(client, messages)
    shim.engine.asked.clear()
    shim.engine.outcomes.clear()
    assert told(found) == told(expected)


def allow(_: Command) -> Ruling:
    return Ruling(Allow(), "p")
