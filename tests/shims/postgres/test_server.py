"""The whole shim before a real PostgreSQL, with ordinary clients."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.postgres import PostgresPart
from onrecord.shims.postgres import backend
from onrecord.shims.postgres.link import Link
from onrecord.shims.postgres.messages import AUTHENTICATION_CLEARTEXT, SSL_REQUEST, encode_cancel, encode_startup
from onrecord.shims.postgres.upstream import Login
from onrecord.shims.postgres.wire import message
from tests.conftest import Shop
from tests.helpers import wait_until
from tests.shims.postgres.conftest import Shim, resource_of, start_shim
from tests.shims.postgres.raw import RawClient


def psql(shim: Shim, sql: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["psql", "-X", "-A", "-t", "-d", shim.dsn(**more), "-c", sql], capture_output=True, text=True, timeout=30
    )


def test_psql_gets_rows_and_the_record_has_identity_text_and_response(shim: Shim) -> None:
    done = psql(shim, "SELECT 41 + 1 AS answer")
    assert (done.stdout.strip(), done.returncode) == ("42", 0), done.stderr
    shim.wait_ended()
    ((text, verdict, outcome),) = shim.commands()
    assert (text, verdict) == ("SELECT 41 + 1 AS answer", "allow")
    assert outcome["status"] == "ok"
    assert outcome["tag"] == "SELECT 1"
    assert outcome["sample"] == {"columns": ["answer"], "rows": [["42"]]}
    (session,) = shim.of(Kind.SESSION)
    assert session["identity"]["subject"] == "devin"
    assert session["login"] == "devin"


def test_a_denied_statement_looks_native_and_never_runs(shim: Shim) -> None:
    done = psql(shim, "DELETE FROM orders")
    assert done.returncode == 1
    assert "ERROR:  onrecord: guard: destructive statements are not for agents" in done.stderr
    assert "HINT:  open a migration pull request" in done.stderr
    with shim.connect() as connection:
        assert connection.execute("SELECT count(*) > 0 FROM orders").fetchone() == (True,)
    assert shim.commands()[0][1] == "deny"
    with shim.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DROP TABLE orders")


def test_a_wrong_token_is_refused_and_recorded(shim: Shim) -> None:
    done = psql(shim, "SELECT 1", token="no.such.token")
    assert done.returncode == 2
    assert "the token was not accepted" in done.stderr
    assert shim.refusals()[0]["what"] == "onrecord:identity"


def test_psql_over_tls_verifies_the_listener_against_the_gateways_ca(shim: Shim) -> None:
    for more in ({"sslmode": "verify-full", "sslrootcert": str(shim.ca)},):
        done = psql(shim, "SELECT 'safe'", **more)
        assert done.stdout.strip() == "safe", done.stderr


def test_direct_tls_needs_alpn_and_works_with_it(shim: Shim) -> None:
    context = ssl.create_default_context(cafile=str(shim.ca))
    context.set_alpn_protocols(["postgresql"])
    with (
        socket.create_connection(("127.0.0.1", shim.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        tls.sendall(encode_startup({"user": "devin", "database": "orders"}))
        assert tls.recv(9) == AUTHENTICATION_CLEARTEXT
    context.set_alpn_protocols(["http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", shim.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        assert b"ALPN" in tls.recv(1000)


def test_bytes_in_clear_behind_an_ssl_request_are_an_attack(shim: Shim) -> None:
    with RawClient(shim, login=False) as client:
        client.send(SSL_REQUEST + encode_startup({"user": "devin", "database": "orders"}))
        ((kind, body),) = client.rest()
    assert kind == b"E"
    assert b"in clear" in body
    assert shim.refusals()[-1]["what"] == "onrecord:protocol"


def test_gss_encryption_is_declined_and_login_goes_on(shim: Shim) -> None:
    with RawClient(shim, login=False) as client:
        client.send((8).to_bytes(4, "big") + (80877104).to_bytes(4, "big"))
        assert client.sock.recv(1) == b"N"
        client.send(encode_startup({"user": "devin", "database": "orders"}))
        assert client.next() == (b"R", (3).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"replication": "database"}, b"replication"),
        ({"client_encoding": "LATIN1"}, b"client_encoding"),
        ({"search_path": "a,"}, b"search_path"),
        ({"options": "-c search_path=" + ",".join("abcdefghijklmnop")}, b"search_path"),
        ({"options": "-cstandard_conforming_strings=off"}, b"standard_conforming_strings"),
        ({"options": "--role=postgres"}, b"role"),
        ({"role": "postgres"}, b"role"),
        ({"session_preload_libraries": "x"}, b"session_preload_libraries"),
    ],
)
def test_startup_parameters_that_change_how_sql_reads_are_refused(
    shim: Shim, parameters: dict[str, str], expected: bytes
) -> None:
    with RawClient(shim, login=False) as client:
        client.send(encode_startup({"user": "devin", "database": "orders", **parameters}))
        ((kind, body),) = client.rest()
    assert (kind, expected in body) == (b"E", True)
    assert shim.refusals()


def test_harmless_startup_parameters_reach_the_server(shim: Shim) -> None:
    with shim.connect(options="-c statement_timeout=1234 -c timezone=UTC", application_name="tool") as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("1234ms",)
        assert connection.execute("SHOW application_name").fetchone() == ("tool",)


def test_newer_protocols_are_negotiated_down_and_have_long_cancel_keys(shim: Shim) -> None:
    with RawClient(shim, login=False) as client:
        packet = encode_startup({"user": "devin", "database": "orders", "_pq_.magic": "1"})
        client.send(packet[:4] + ((3 << 16) | 9).to_bytes(4, "big") + packet[8:])
        assert client.next() == (b"v", ((3 << 16) | 2).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"_pq_.magic\0")
        client.until(b"R")
        client.send(message(b"p", shim.token().encode() + b"\0"))
        greeting = dict(client.until(b"Z"))
    assert len(greeting[b"K"]) == 4 + 32


def test_unknown_and_forbidden_resources_are_told_alike(shim: Shim) -> None:
    texts = []
    for database, groups in (("nowhere", ("agents",)), ("orders", ("strangers",))):
        done = psql(shim, "SELECT 1", token=shim.token(*groups), database=database)
        assert done.returncode == 2
        texts.append(done.stderr.replace(database, "NAME").split("FATAL:")[1])
    assert texts[0] == texts[1]
    assert [refusal["text"] for refusal in shim.refusals()] == ["nowhere", "orders"]


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_cancel_reaches_the_running_statement_and_is_on_record(shim: Shim, sslmode: str) -> None:
    with shim.connect(sslmode=sslmode) as connection:

        def cancel() -> None:
            wait_until(lambda: shim.engine.asked)
            connection.cancel_safe(timeout=10)

        worker = threading.Thread(target=cancel)
        worker.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(30)")
        worker.join()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert "cancel requested" in {chunk.get("note") for chunk in shim.of(Kind.CHUNK)}


def test_a_cancel_request_with_a_wrong_key_does_nothing_and_is_recorded(shim: Shim) -> None:
    with RawClient(shim) as client:
        greeting = dict(client.greeting)
        pid = int.from_bytes(greeting[b"K"][:4], "big")
        with RawClient(shim, login=False) as other:
            other.send(encode_cancel(pid, b"1234"))
            assert other.rest() == []
    assert "unknown key" in shim.refusals()[-1]["reason"]


def test_the_session_ends_when_the_token_expires(shim: Shim) -> None:
    with RawClient(shim) as client:
        relay = next(iter(shim.server._relays))
        shim.on_loop(relay._expired)
        answers = client.rest()
    assert b"the token has expired" in answers[-1][1]
    shim.wait_ended()
    assert shim.of(Kind.SESSION_END)[-1]["reason"] == "the token has expired"


def test_a_lost_control_channel_refuses_new_sessions_and_commands(shim: Shim) -> None:
    with shim.connect() as connection:
        shim.control.refusal = "the recorder is silent"
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="the recorder is silent"):
            connection.execute("SELECT 1")
        assert "the recorder is silent" in psql(shim, "SELECT 1").stderr


def test_when_postgres_dies_the_client_is_told_and_the_command_is_aborted(shim: Shim, shop: Shop) -> None:
    with shim.connect() as connection:
        connection.execute("SELECT 1")
        (row,) = shop.server.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'svc_agent' LIMIT 1")
        worker = threading.Thread(
            target=lambda: (
                wait_until(lambda: len(shim.engine.asked) > 1),
                shop.server.sql(f"SELECT pg_terminate_backend({row[0]})"),
            )
        )
        worker.start()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(30)")
        worker.join()
    shim.wait_ended()
    assert shim.commands()[-1][2]["status"] in {"error", "aborted"}


def test_rows_of_many_megabytes_pass_in_bounded_memory_and_are_counted(shim: Shim) -> None:
    with shim.connect() as connection:
        row = connection.execute("SELECT repeat('x', 20000000), 5").fetchone()
        assert row is not None
        assert (len(row[0]), row[1]) == (20000000, 5)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        rows = connection.execute("SELECT i, md5(i::text) FROM generate_series(1, 60000) i").fetchall()
        assert len(rows) == 60000
    shim.wait_ended()
    big, _, many = [outcome for _, _, outcome in shim.commands()]
    assert (big["rows"], many["rows"]) == (1, 60000)
    assert big["size"] > 20000000
    assert many["sample"]["truncated"] is True
    chunks = shim.of(Kind.CHUNK)
    assert sum(chunk["size"] for chunk in chunks) <= big["size"] + many["size"]


def test_messages_over_the_limit_end_the_session_clearly(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(b"Q" + (17 * 1024 * 1024).to_bytes(4, "big"))
        assert b"C54000" in client.rest()[-1][1]


def test_half_open_connections_meet_a_timeout(tmp_path: Path, shop: Shop) -> None:
    options: dict[str, Any] = {"handshake_timeout": 0.2, "max_connections": 8}
    for shim in start_shim(tmp_path / "s", {"orders": resource_of(shop)}, {"SHOP_PASSWORD": shop.password}, **options):
        clients = [RawClient(shim, login=False) for _ in range(4)]
        endings = [client.rest() for client in clients]
        for client in clients:
            client.sock.close()
        assert any(b"too many" in body for ending in endings for _, body in ending)
        shim.wait_ended()
        assert psql(shim, "SELECT 1").stdout.strip() == "1"


def test_plaintext_is_refused_where_tls_is_required(tmp_path: Path, shop: Shop) -> None:
    for shim in start_shim(
        tmp_path / "s", {"orders": resource_of(shop)}, {"SHOP_PASSWORD": shop.password}, postgres_tls="require"
    ):
        assert "TLS only" in psql(shim, "SELECT 1").stderr
        assert psql(shim, "SELECT 1", sslmode="require").stdout.strip() == "1"


def test_upstream_tls_uses_scram_with_channel_binding(
    tmp_path: Path, tls_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins: list[Login] = []
    real = backend.Backend.connect

    async def connect(to: backend.Backend, parameters: dict[str, str]) -> tuple[Link, Login]:
        link, login = await real(to, parameters)
        logins.append(login)
        return link, login

    monkeypatch.setattr(backend.Backend, "connect", connect)
    for shim in start_shim(tmp_path / "s", {"orders": resource_of(tls_shop)}, {"SHOP_PASSWORD": tls_shop.password}):
        with shim.connect() as connection:
            assert connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
            assert logins[0].channel_binding


def test_upstream_certificates_are_verified_and_nothing_leaks(tmp_path: Path, tls_shop: Shop) -> None:
    for change in ({"ca": None}, {"host": "localhost.localdomain"}, {"password": None}):
        resource = resource_of(tls_shop, **change)
        for shim in start_shim(
            tmp_path / f"s{len(str(change))}", {"orders": resource}, {"SHOP_PASSWORD": tls_shop.password}
        ):
            done = psql(shim, "SELECT 1")
            assert done.returncode == 2
            assert "cannot be reached" in done.stderr
            assert tls_shop.password not in done.stderr


def test_md5_logins_work(tmp_path: Path) -> None:
    with PostgresPart(auth="md5", settings={"password_encryption": "md5"}) as server:
        password = server.create_shop()
        for shim in start_shim(
            tmp_path / "s", {"orders": resource_of(Shop(server, password))}, {"SHOP_PASSWORD": password}
        ):
            assert psql(shim, "SELECT 1").stdout.strip() == "1"


def test_every_test_that_the_enforcement_table_names_exists() -> None:
    folder = Path(__file__).parent
    for row in json.loads((folder / "enforcement_postgres.json").read_text()):
        if row["test"]:
            file, _, name = row["test"].partition("::")
            assert f"def {name}(" in (folder.parents[2] / file).read_text(), row
