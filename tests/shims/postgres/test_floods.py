"""Floods from outside: what never logs in is bounded, counted on record, and no session notices."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from onrecord.recordings.refusals import BURST
from onrecord.shims.postgres.messages import SSL_REQUEST, encode_cancel, encode_startup
from tests.conftest import Shop
from tests.helpers import wait_until
from tests.shims.postgres.conftest import Shim, resource_of, start_shim

HALF = encode_startup({"user": "devin", "database": "orders"})[:11]


def ended(sock: socket.socket) -> bytes:
    """What comes until the gateway closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(4096):
            data += part
    return data


@pytest.fixture
def small(tmp_path: Path, shop: Shop) -> Iterator[Shim]:
    """A shim of few connections and little patience."""
    env = {"SHOP_PASSWORD": shop.password}
    resources = {"orders": resource_of(shop)}
    yield from start_shim(tmp_path / "state", resources, env, max_connections=40, handshake_timeout=0.5)


@pytest.mark.parametrize("sent", [b"", HALF, SSL_REQUEST], ids=["nothing", "half a packet", "TLS asked for"])
def test_half_open_connections_are_bounded_and_end_and_a_session_goes_on(small: Shim, sent: bytes) -> None:
    with small.connect() as connection, contextlib.ExitStack() as stack:
        flood = []
        for _ in range(300):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", small.port), timeout=20))
            flood.append(sock)
            with contextlib.suppress(ConnectionError):
                sock.sendall(sent)
        assert small.on_loop(lambda: small.server._connections) <= 11, "the session and those that log in"
        assert connection.execute("SELECT 1").fetchone() == (1,)
        answers = [ended(sock) for sock in flood]
        assert any(b"53300" in answer for answer in answers)
        if sent != SSL_REQUEST:
            assert any(b"the login took too long" in answer for answer in answers)
        assert connection.execute("SELECT 2").fetchone() == (2,)
        wait_until(lambda: small.on_loop(lambda: small.server._connections) == 1, what="the flood to end")
        with small.connect() as another:
            assert another.execute("SELECT 3").fetchone() == (3,)
    full = [refusal for refusal in small.refusals() if refusal["reason"] == "too many connections"]
    assert len(full) <= BURST, "a flood of refusals is no flood of records"
    small.on_loop(small.server._refusals.close)
    full = [refusal for refusal in small.refusals() if refusal["reason"] == "too many connections"]
    assert sum(refusal.get("count", 1) for refusal in full) >= 200, "what was not written one by one is counted"


def test_a_flood_of_bad_tokens_and_of_unknown_databases_is_counted(shim: Shim) -> None:
    token = shim.token()
    for number in range(BURST + 5):
        with pytest.raises(psycopg.OperationalError, match="not accepted"):
            shim.connect(token=f"no.such.token{number}")
        with pytest.raises(psycopg.OperationalError, match=f"none{number}"):
            shim.connect(token=token, database=f"none{number}")
    assert len(shim.refusals()) == 2 * BURST
    shim.on_loop(shim.server._refusals.close)
    assert sum(refusal.get("count", 1) for refusal in shim.refusals()) == 2 * (BURST + 5)


def test_a_flood_of_cancel_requests_with_wrong_keys_does_nothing(shim: Shim) -> None:
    with shim.connect() as connection:
        (pid,) = shim.server._cancels._live
        for number in range(1000):
            with socket.create_connection(("127.0.0.1", shim.port), timeout=20) as sock:
                sock.sendall(encode_cancel(pid, number.to_bytes(4, "big")))
            if number % 250 == 0:
                assert connection.execute("SELECT pg_sleep(0.01), 1").fetchone() == ("", 1)
        wait_until(lambda: shim.on_loop(lambda: shim.server._connections) == 1, what="the flood to end")
        assert connection.execute("SELECT 2").fetchone() == (2,)
    shim.wait_ended()
    assert {outcome["status"] for _, _, outcome in shim.commands()} == {"ok"}
    assert len(shim.refusals()) <= 2 * BURST
    shim.on_loop(shim.server._refusals.close)
    assert sum(refusal.get("count", 1) for refusal in shim.refusals()) == 1000
