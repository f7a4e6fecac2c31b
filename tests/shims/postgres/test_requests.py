"""Extended protocol, prepared statements, settings: with real clients against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import decimal
import socket
from typing import Any

import asyncpg
import pg8000.native
import psycopg
import pytest

from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.shims.postgres.messages import encode_query
from onrecord.shims.postgres.wire import message
from tests.shims.postgres.conftest import Shim, guard
from tests.shims.postgres.raw import RawClient


def test_bind_parameters_are_decoded_on_the_record_and_given_to_policies(shim: Shim) -> None:
    with shim.connect() as connection:
        row = connection.execute("SELECT %s::int + 1, %s::text, %b::int4", [41, "häh", 7]).fetchone()
    assert row == (42, "häh", 7)
    shim.wait_ended()
    assert [command.parameters for command in shim.engine.asked] == [("41", "häh", "7")]  # type: ignore[union-attr]
    ((_, _, outcome),) = shim.commands()
    assert outcome["sample"]["rows"] == [["42", "häh", "7"]]


def test_binary_results_are_decoded_in_the_sample(shim: Shim) -> None:
    with shim.connect() as connection, connection.cursor(binary=True) as cursor:
        cursor.execute("SELECT 5::int8, 1.50::numeric, true, 'x'::text, '\\x00ff'::bytea, NULL::int, 2.5::float8")
        assert cursor.fetchone() == (5, decimal.Decimal("1.50"), True, "x", b"\0\xff", None, 2.5)
    shim.wait_ended()
    ((_, _, outcome),) = shim.commands()
    assert outcome["sample"]["rows"] == [["5", "1.50", "true", "x", "\\x00ff", None, "2.5"]]


def test_a_denied_statement_in_the_middle_of_a_pipeline_stops_what_follows_and_nothing_else(shim: Shim) -> None:
    with shim.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline() as pipeline:  # noqa: PT012
            connection.execute("INSERT INTO t VALUES (%s)", [1])
            pipeline.sync()
            connection.execute("INSERT INTO t VALUES (%s)", [2])
            connection.execute("DELETE FROM t")
            connection.execute("INSERT INTO t VALUES (%s)", [3])
            pipeline.sync()
        assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]
    shim.wait_ended()
    states = [(text.split()[0], verdict, outcome["status"]) for text, verdict, outcome in shim.commands()]
    assert ("DELETE", "deny", "refused") in states
    assert states[-1] == ("SELECT", "allow", "ok")
    assert all(outcome for _, _, outcome in shim.commands())


def test_a_denial_aborts_the_transaction_as_an_error_does(shim: Shim) -> None:
    with psycopg.connect(shim.dsn()) as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="guard"):
            connection.execute("TRUNCATE t")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_several_statements_in_one_query_run_all_or_none(shim: Shim) -> None:
    with shim.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO t VALUES (1); DROP TABLE t; INSERT INTO t VALUES (2)")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        cursor = connection.execute("SELECT 1 AS a; SELECT 2 AS b; INSERT INTO t VALUES (5)")
        assert cursor.fetchall() == [(1,)]
    shim.wait_ended()
    outcomes = {text: outcome for text, _, outcome in shim.commands()}
    assert outcomes["INSERT INTO t VALUES (1)"]["status"] == "aborted"
    assert outcomes["INSERT INTO t VALUES (5)"]["tag"] == "INSERT 0 1"
    assert outcomes["SELECT 2 AS b"]["sample"]["columns"] == ["b"]


def test_a_server_error_is_on_record_and_the_rest_of_the_message_did_not_run(shim: Shim) -> None:
    with shim.connect() as connection, pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1; SELECT 1/0; SELECT 2")
    shim.wait_ended()
    assert [(outcome["status"], outcome.get("code", "")) for _, _, outcome in shim.commands()] == [
        ("ok", "00000"),
        ("error", "22012"),
        ("aborted", ""),
    ]


def test_an_empty_query_passes(shim: Shim) -> None:
    with shim.connect() as connection:
        connection.execute("-- nothing")
    shim.wait_ended()
    assert shim.commands()[0][2]["status"] == "ok"


def test_asyncpg_works_unchanged(shim: Shim) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=shim.port, user="devin", password=shim.token(), database="orders", ssl=False
        )
        try:
            assert await connection.fetchval("SELECT $1::int + 1", 4) == 5
            with pytest.raises(asyncpg.InsufficientPrivilegeError) as caught:
                await connection.execute("DROP TABLE orders")
            assert getattr(caught.value, "hint", "") == "open a migration pull request"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("DELETE FROM orders RETURNING $1::int", 1)
            async with connection.transaction():
                rows = [row[0] async for row in connection.cursor("SELECT * FROM generate_series(1, 120)")]
            assert rows == list(range(1, 121))
            await connection.executemany("SELECT $1::int", [(1,), (2,)])
            await connection.reset()
        finally:
            await connection.close()

    asyncio.run(main())
    shim.wait_ended()
    assert all(outcome for _, _, outcome in shim.commands())


def test_pg8000_works_unchanged(shim: Shim) -> None:
    options: dict[str, Any] = {"host": "127.0.0.1", "port": shim.port, "database": "orders", "password": shim.token()}
    connection = pg8000.native.Connection("devin", **options)
    try:
        assert connection.run("SELECT CAST(:a AS int) * 2", a=21) == [[42]]
        with pytest.raises(pg8000.native.DatabaseError, match="guard"):
            connection.run("DROP TABLE orders")
        assert connection.run("SELECT 1") == [[1]]
    finally:
        connection.close()


def test_server_side_cursors_work_and_each_fetch_is_on_record(shim: Shim) -> None:
    with psycopg.connect(shim.dsn()) as connection, connection.cursor("c") as cursor:
        cursor.itersize = 40
        cursor.execute("SELECT * FROM generate_series(1, 100)")
        assert len(cursor.fetchall()) == 100
    shim.wait_ended()
    assert "FETCH" in {getattr(command, "kind", "") for command in shim.engine.asked}


def test_execute_is_decided_as_what_was_prepared(shim: Shim) -> None:
    shim.engine.rule = lambda command: (
        Ruling(Deny("no"), "p")
        if "EXECUTE" in command.text and getattr(command, "kind", "") == "DELETE"
        else allow(command)
    )
    with shim.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        connection.execute("PREPARE p AS DELETE FROM t")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("EXECUTE p")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("EXPLAIN ANALYZE EXECUTE p")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DEALLOCATE p; PREPARE q AS DELETE FROM t; EXECUTE q")
        connection.execute("DEALLOCATE p")
        connection.execute("PREPARE p AS SELECT 7")
        assert connection.execute("EXECUTE p").fetchone() == (7,)


def allow(_: Command) -> Ruling:
    return Ruling(Allow(), "p")


def test_execute_of_an_unknown_name_fails_as_in_postgresql(shim: Shim) -> None:
    with shim.connect() as connection, pytest.raises(psycopg.errors.InvalidSqlStatementName, match="onrecord:protocol"):
        connection.execute("EXECUTE nobody")


def test_a_name_whose_change_was_skipped_by_the_server_keeps_its_meaning(shim: Shim) -> None:
    """Parse of `p` behind an error never happened: the Bind that follows still runs the old statement."""
    shim.engine.rule = allow
    with RawClient(shim) as client:
        client.send(_parse("p", "DELETE FROM orders") + message(b"S"))
        client.until(b"Z")
        shim.engine.rule = guard
        client.send(
            _parse("x", "SELECT nonsense_column")
            + message(b"C", b"Sp\0")
            + _parse("p", "SELECT 1")
            + message(b"S")
            + _bind("", "p")
            + message(b"E", b"\0" + bytes(4))
            + message(b"S")
        )
        first, second = client.until(b"Z"), client.until(b"Z")
    assert [kind for kind, _ in first] == [b"E", b"Z"]
    assert [kind for kind, _ in second] == [b"E", b"Z"]
    assert b"42501" in second[0][1]
    with shim.connect() as connection:
        assert connection.execute("SELECT count(*) > 0 FROM orders").fetchone() == (True,)


def test_a_statement_cannot_be_swapped_between_bind_and_execute(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.send(encode_query("PREPARE p AS SELECT 1"))
        client.until(b"Z")
        client.send(encode_query("BEGIN"))
        client.until(b"Z")
        client.send(_parse("s", "EXECUTE p") + _bind("portal", "s") + message(b"S"))
        answers = client.until(b"Z")
    errors = [body for kind, body in answers if kind == b"E"]
    assert len(errors) == 1
    assert b"bind it to the unnamed portal" in errors[0]


@pytest.mark.parametrize(
    "sql",
    [
        "SET standard_conforming_strings = off",
        "SET client_encoding = 'LATIN1'",
        "SET NAMES 'SJIS'",
        "SELECT set_config('standard_conforming_strings', 'off', true)",
        "SELECT set_config('search_' || 'path', 'evil', false)",
        "SET backslash_quote = on",
    ],
)
def test_settings_that_change_how_sql_reads_are_unknown(shim: Shim, sql: str) -> None:
    with shim.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege, match="onrecord:unknown"):
        connection.execute(sql)


@pytest.mark.parametrize("sql", ["SET ROLE postgres", "SET SESSION AUTHORIZATION postgres"])
def test_a_change_of_the_role_is_admin(shim: Shim, sql: str) -> None:
    with shim.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(sql)
    assert shim.engine.asked[-1].action == "admin"


def test_settings_may_go_back_to_what_the_gateway_chose(shim: Shim) -> None:
    with shim.connect() as connection:
        for sql in ("RESET search_path", "SET search_path = public", "SET client_encoding TO 'UTF8'", "DISCARD ALL"):
            connection.execute(sql)
        assert connection.execute("SHOW search_path").fetchone() == ("public",)


def test_text_that_does_not_parse_is_refused_whatever_policies_say(shim: Shim) -> None:
    shim.engine.rule = allow
    with shim.connect() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="cannot be analysed"):
            connection.execute("SELEC 1")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_bind_of_an_unknown_statement_is_refused(shim: Shim) -> None:
    shim.engine.rule = allow
    with RawClient(shim) as client:
        client.send(_bind("", "nobody") + message(b"E", b"\0" + bytes(4)) + message(b"S"))
        answers = client.until(b"Z")
    assert [kind for kind, _ in answers] == [b"E", b"Z"]
    assert b"26000" in answers[0][1]


@pytest.mark.parametrize("junk", [b"\0\0\0\0\0\0", b"d\0\0\0\3", b"Q\xff\xff\xff\xff", b"p\0\0\0\5x", b"Q\0\0\0\5x"])
def test_junk_ends_this_session_with_a_protocol_error_and_no_other(shim: Shim, junk: bytes) -> None:
    with shim.connect() as other, RawClient(shim) as client:
        client.send(junk)
        answers = client.rest()
        assert b"FATAL" in answers[-1][1]
        assert other.execute("SELECT 1").fetchone() == (1,)
    shim.wait_ended()
    assert shim.refusals()[-1]["what"] == "onrecord:protocol"


def test_a_policy_that_waits_holds_this_session_only_and_keeps_the_order(shim: Shim) -> None:
    async def slow(command: Command) -> Ruling:
        await asyncio.sleep(0.05)
        return guard(command)

    shim.engine.rule = slow
    with shim.connect() as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        with connection.pipeline():
            for number in range(5):
                connection.execute("INSERT INTO t VALUES (%s)", [number])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM t")
        assert [row[0] for row in connection.execute("SELECT a FROM t")] == list(range(5))
    shim.wait_ended()
    assert all(outcome for _, _, outcome in shim.commands())


def test_a_client_that_sends_byte_by_byte_is_served(shim: Shim) -> None:
    with RawClient(shim) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in encode_query("SELECT 'slow'"):
            client.send(bytes([byte]))
        assert [kind for kind, _ in client.until(b"Z")] == [b"T", b"D", b"C", b"Z"]


def _parse(name: str, text: str) -> bytes:
    return message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def _bind(portal: str, statement: str) -> bytes:
    return message(b"B", portal.encode() + b"\0" + statement.encode() + b"\0" + bytes(6))
