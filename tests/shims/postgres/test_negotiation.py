"""How connections begin, with the clients that begin them so: direct TLS, protocols 3.0 and 3.2, GSS, replication."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import threading

import asyncpg
import psycopg
import pytest

from onrecord.shims.postgres.messages import encode_cancel, encode_startup
from onrecord.shims.postgres.startup import GSS_CODE
from onrecord.shims.postgres.wire import message
from tests.helpers import wait_until
from tests.shims.postgres.conftest import Shim
from tests.shims.postgres.raw import RawClient

GSS_REQUEST = (8).to_bytes(4, "big") + GSS_CODE.to_bytes(4, "big")


def test_libpq_connects_by_direct_tls_and_verifies_the_gateway(shim: Shim) -> None:
    with shim.connect(sslmode="verify-full", sslnegotiation="direct", sslrootcert=str(shim.ca)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.pgconn.ssl_in_use


def test_asyncpg_connects_by_direct_tls(shim: Shim) -> None:
    async def main() -> None:
        context = ssl.create_default_context(cafile=str(shim.ca))
        context.set_alpn_protocols(["postgresql"])
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=shim.port,
            user="devin",
            password=shim.token(),
            database="orders",
            ssl=context,
            direct_tls=True,
        )
        try:
            assert await connection.fetchval("SELECT 1") == 1
        finally:
            await connection.close()

    asyncio.run(main())


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]], ids=["none", "another"])
def test_direct_tls_without_the_protocol_of_postgresql_is_refused(shim: Shim, protocols: list[str]) -> None:
    context = ssl.create_default_context(cafile=str(shim.ca))
    if protocols:
        context.set_alpn_protocols(protocols)
    data = b""
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        context.wrap_socket(
            socket.create_connection(("127.0.0.1", shim.port), timeout=20), server_hostname="127.0.0.1"
        ) as sock,
    ):
        sock.sendall(encode_startup({"user": "devin", "database": "orders"}))
        while part := sock.recv(4096):
            data += part
    assert data[:1] != b"R", "no request for a password"
    shim.wait_ended()
    assert not shim.engine.asked


@pytest.mark.parametrize("version", ["3.0", "3.2"])
@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_libpq_speaks_each_protocol_and_cancels_in_it(shim: Shim, version: str, sslmode: str) -> None:
    more = {} if version == "3.0" else {"min_protocol_version": "3.2"}
    if psycopg.pq.version() < 180000 and more:
        pytest.fail("libpq 18 is needed: psycopg[binary] brings it")
    with shim.connect(sslmode=sslmode, max_protocol_version=version, **more) as connection:
        seen = len(shim.engine.asked)

        def cancel() -> None:
            wait_until(lambda: len(shim.engine.asked) > seen, what="the statement to run")
            connection.cancel_safe(timeout=10)

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(20)")
        canceller.join()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_psql_of_debian_connects_with_gss_preferred(shim: Shim) -> None:
    done = subprocess.run(
        ["psql", "-X", "-At", shim.dsn(gssencmode="prefer", sslmode="prefer"), "-c", "SELECT 1"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "KRB5CCNAME": "/nonexistent"},
    )
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr


def test_gss_encryption_is_declined_once_and_the_connection_goes_on(shim: Shim) -> None:
    with RawClient(shim, login=False) as client:
        client.send(GSS_REQUEST)
        assert client.sock.recv(1) == b"N"
        client.send(encode_startup({"user": "devin", "database": "orders"}))
        client.until(b"R")
        client.send(message(b"p", shim.token().encode() + b"\0"))
        client.until(b"Z")
    with RawClient(shim, login=False) as client:
        client.send(GSS_REQUEST)
        assert client.sock.recv(1) == b"N"
        client.send(GSS_REQUEST)
        assert b"invalid encryption request" in client.sock.recv(4096)


def test_a_cancel_request_by_way_of_direct_tls_is_taken(shim: Shim) -> None:
    with RawClient(shim) as client:
        key = dict(client.greeting)[b"K"]
        context = ssl.create_default_context(cafile=str(shim.ca))
        context.set_alpn_protocols(["postgresql"])
        with (
            socket.create_connection(("127.0.0.1", shim.port), timeout=20) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
        ):
            sock.sendall(encode_cancel(int.from_bytes(key[:4], "big"), key[4:]))
            assert sock.recv(1) == b""
    shim.wait_ended()
    assert not shim.refusals()


@pytest.mark.parametrize("value", ["true", "database", "on"])
def test_replication_is_refused(shim: Shim, value: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="replication connections are not supported"):
        psycopg.connect(shim.dsn(replication=value))
