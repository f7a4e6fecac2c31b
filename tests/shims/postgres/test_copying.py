"""COPY through the gateway, both ways, with real clients; and everything that can go wrong in the middle of one."""

from __future__ import annotations

import asyncio
import hmac
import io
import subprocess
from collections.abc import Iterator
from typing import Any

import asyncpg
import psycopg
import pytest

from onrecord.policies.model import Command, SqlCommand
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.recordings.frames import Kind
from onrecord.shims.postgres.messages import encode_query
from onrecord.shims.postgres.wire import message
from tests.helpers import wait_until
from tests.shims.postgres.conftest import Shim
from tests.shims.postgres.raw import Answer, RawClient
from tests.shims.postgres.test_exchange import SYNC, bind, errors, execute, parse, tags

DONE = message(b"c")


def data(text: bytes) -> bytes:
    return message(b"d", text)


def kinds(answers: list[Answer]) -> str:
    return b"".join(kind for kind, _ in answers).decode()


@pytest.fixture
def client(shim: Shim) -> Iterator[RawClient]:
    """Logged in; `t` is an empty table of one integer."""
    with RawClient(shim) as raw:
        raw.send(encode_query("CREATE TEMP TABLE t (a int PRIMARY KEY)"))
        raw.until(b"Z")
        yield raw


def count(client: RawClient) -> bytes:
    client.send(encode_query("SELECT count(*) FROM t"))
    return client.until(b"Z")[1][1][6:]


def outcome_of(shim: Shim, start: str) -> dict[str, Any]:
    (found,) = [outcome for text, _, outcome in shim.commands() if text.startswith(start)]
    return found


def keyed(shim: Shim, content: bytes) -> str:
    key = bytes.fromhex(shim.of(Kind.SESSION)[0]["digest_key"])
    return hmac.digest(key, content, "sha256").hex()


def test_copy_to_stdout_is_counted_sampled_and_digested_as_the_file_it_makes(shim: Shim) -> None:
    with shim.connect() as connection, connection.cursor() as cursor:
        with cursor.copy("COPY (SELECT a, 'x' || a FROM generate_series(1, 3) AS a) TO STDOUT") as copy:
            rows = [tuple(row) for row in copy.rows()]
        assert rows == [("1", "x1"), ("2", "x2"), ("3", "x3")]
        assert cursor.execute("SELECT 1").fetchone() == (1,)
    shim.wait_ended()
    outcome = outcome_of(shim, "COPY")
    assert (outcome["status"], outcome["rows"], outcome["size"]) == ("ok", 3, 15)
    assert outcome["sample"] == {"columns": ["COPY"], "rows": [["1\tx1"], ["2\tx2"], ["3\tx3"]]}
    assert outcome["digest"] == keyed(shim, b"1\tx1\n2\tx2\n3\tx3\n")


def test_copy_from_stdin_is_recorded_before_it_is_passed_on(shim: Shim) -> None:
    with shim.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (a int, b text)")
        with cursor.copy("COPY t FROM STDIN") as copy:
            copy.write_row((1, "häh"))
            copy.write_row((2, None))
        assert cursor.execute("SELECT * FROM t ORDER BY a").fetchall() == [(1, "häh"), (2, None)]
    shim.wait_ended()
    outcome = outcome_of(shim, "COPY")
    content = "1\thäh\n2\t\\N\n".encode()
    assert (outcome["status"], outcome["rows"], outcome["tag"]) == ("ok", 2, "COPY 2")
    assert outcome["sample"]["rows"] == [["1\thäh"], ["2\t\\N"]]
    assert outcome["digest"] == keyed(shim, content)
    chunks = [chunk for chunk in shim.of(Kind.CHUNK) if chunk["direction"] == "to_upstream"]
    assert sum(chunk["size"] for chunk in chunks) == outcome["size"] == len(content)


def test_binary_copy_both_ways_with_psycopg_and_asyncpg(shim: Shim) -> None:
    with shim.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (a int, b text)")
        with cursor.copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((7, "x"))
        with cursor.copy("COPY t TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == [(7, "x")]

    async def main() -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=shim.port, user="devin", password=shim.token(), database="orders", ssl=False
        )
        try:
            await connection.execute("CREATE TEMP TABLE t (a int, b text)")
            tag = await connection.copy_records_to_table("t", records=[(i, str(i)) for i in range(1000)])
            assert tag == "COPY 1000"
            out = io.BytesIO()
            assert await connection.copy_from_query("SELECT * FROM t", output=out, format="csv") == "COPY 1000"
            assert len(out.getvalue().splitlines()) == 1000
        finally:
            await connection.close()

    asyncio.run(main())
    shim.wait_ended()
    assert all(outcome["status"] == "ok" for _, _, outcome in shim.commands())


def test_psql_copies_both_ways(shim: Shim, tmp_path: Any) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("1,a\n2,b\n")
    script = f"CREATE TEMP TABLE t (a int, b text);\n\\copy t FROM {source} csv\n\\copy t TO {target} csv\nTABLE t;\n"
    done = subprocess.run(["psql", "-X", "-At", shim.dsn()], input=script, capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines()[-2:], done.stderr) == (["1|a", "2|b"], "")
    assert target.read_text() == source.read_text()


def test_a_refused_copy_swallows_the_data_that_come_anyway(shim: Shim, client: RawClient) -> None:
    shim.engine.rule = lambda command: (
        Ruling(Deny("no COPY"), "guard") if getattr(command, "kind", "") == "COPY" else Ruling(Allow(), "guard")
    )
    client.send(encode_query("COPY t FROM STDIN") + data(b"1\n") + DONE + encode_query("SELECT 5"))
    assert b"42501" in errors(client.until(b"Z"))
    assert tags(client.until(b"Z")) == [b"SELECT 1"]
    client.send(parse("", "COPY t FROM STDIN") + bind("", "") + execute("") + data(b"1\n") + DONE + SYNC)
    assert b"42501" in errors(client.until(b"Z"))
    assert count(client) == b"0"


def test_data_pipelined_before_the_server_has_agreed_are_held_back_and_then_passed(client: RawClient) -> None:
    client.send(encode_query("COPY t FROM STDIN") + data(b"1\n2") + data(b"\n") + DONE + encode_query("SELECT 5"))
    assert kinds(client.until(b"Z")) == "GCZ"
    assert tags(client.until(b"Z")) == [b"SELECT 1"]
    client.send(parse("", "COPY t FROM STDIN") + bind("", "") + execute("") + SYNC + data(b"3\n") + DONE + SYNC)
    assert kinds(client.until(b"Z")) == "12GCZ"
    assert count(client) == b"3"


def test_several_copies_in_one_query_and_statements_around_them(client: RawClient) -> None:
    client.send(encode_query("COPY t FROM STDIN; SELECT 1; COPY t FROM STDIN; COPY t TO STDOUT"))
    client.send(data(b"1\n") + DONE + data(b"2\n") + DONE)
    answers = client.until(b"Z")
    assert kinds(answers) == "GCTDCGCHddcCZ"
    assert tags(answers) == [b"COPY 1", b"SELECT 1", b"COPY 1", b"COPY 2"]


def test_a_copy_that_the_server_refuses_leaves_client_and_server_in_step(shim: Shim, client: RawClient) -> None:
    client.send(encode_query("COPY nowhere FROM STDIN") + data(b"1\n") + DONE + encode_query("SELECT 5"))
    assert b"42P01" in errors(client.until(b"Z"))
    assert tags(client.until(b"Z")) == [b"SELECT 1"]
    client.send(parse("", "COPY t FROM STDIN") + bind("", "") + execute("") + data(b"x\n") + DONE + SYNC)
    assert b"22P02" in errors(client.until(b"Z"))
    assert count(client) == b"0"


def test_an_error_in_the_middle_of_the_data_ends_the_copy_on_record(shim: Shim, client: RawClient) -> None:
    client.send(encode_query("COPY t FROM STDIN"))
    client.until(b"G")
    client.send(data(b"1\n") + data(b"x\n") + DONE)
    assert b"22P02" in errors(client.until(b"Z"))
    for _ in range(3):
        client.send(data(b"9\n"))  # a client that has not read the error yet
    client.send(message(b"f", b"late\0"))
    assert count(client) == b"0"
    client.sock.close()
    shim.wait_ended()
    assert outcome_of(shim, "COPY")["code"] == "22P02"


@pytest.mark.parametrize("extended", [False, True])
def test_copy_fail_takes_everything_back(shim: Shim, client: RawClient, extended: bool) -> None:
    start = (
        parse("", "COPY t FROM STDIN") + bind("", "") + execute("") if extended else encode_query("COPY t FROM STDIN")
    )
    client.send(start + data(b"1\n") + message(b"f", b"changed my mind\0") + (SYNC if extended else b""))
    answers = client.until(b"Z")
    assert b"57014" in errors(answers)
    assert b"changed my mind" in errors(answers)
    assert count(client) == b"0"
    client.sock.close()
    shim.wait_ended()
    assert (outcome_of(shim, "COPY")["status"], outcome_of(shim, "COPY")["code"]) == ("error", "57014")


ROW = b"999999\tmarker\tx@example.com\tUlm\t2020-01-01\n"
COPY = "COPY customers (id, name, email, city, created_at) FROM STDIN"


def nothing_stays(shim: Shim, owner: psycopg.Connection) -> None:
    """The session has ended, and so has the server's COPY, without a row."""
    wait_until(lambda: shim.on_loop(lambda: shim.server._connections) == 1, what="the session to end")
    gone = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY customers%' AND state = 'active'"
    wait_until(lambda: owner.execute(gone).fetchone() == (0,), what="the server to end the COPY")
    assert owner.execute("SELECT count(*) FROM customers WHERE id >= 999999").fetchone() == (0,)


@pytest.mark.parametrize("wrong", [encode_query("SELECT 1"), parse("", "SELECT 1"), execute(""), message(b"X")])
def test_another_message_in_the_middle_of_the_data_costs_the_connection_and_nothing_stays(
    shim: Shim, wrong: bytes
) -> None:
    with shim.connect() as owner:
        with RawClient(shim) as client:
            client.send(encode_query(COPY) + data(ROW) + wrong)
            client.rest()
        nothing_stays(shim, owner)
    shim.wait_ended()
    assert outcome_of(shim, "COPY")["status"] in ("aborted", "error")


def ending(shim: Shim, how: str, client: RawClient) -> None:
    if how == "client":
        client.sock.close()
        return
    (relay,) = shim.on_loop(lambda: [one for one in shim.server._relays if one.busy])
    shim.on_loop(relay._expired if how == "token" else relay._upstream.abort)


@pytest.mark.parametrize("middle", [False, True], ids=["between messages", "within a message"])
@pytest.mark.parametrize("how", ["client", "token", "server"])
def test_a_session_that_ends_in_the_middle_of_the_data_leaves_nothing(shim: Shim, how: str, middle: bool) -> None:
    with shim.connect() as owner:
        client = RawClient(shim)
        client.send(encode_query(COPY))
        client.until(b"G")
        client.send(data(ROW))
        if middle:
            client.send(data(ROW * 20_000)[:-3])
        wait_until(lambda: any(c["note"] == "copy" for c in shim.of(Kind.CHUNK)), what="the data on record")
        ending(shim, how, client)
        client.sock.close()
        nothing_stays(shim, owner)
    shim.wait_ended()
    assert outcome_of(shim, "COPY")["status"] == "aborted"


def test_copy_of_files_and_programs_is_an_admin_action_and_not_refused_by_the_gateway_itself(shim: Shim) -> None:
    seen: list[str] = []

    def rule(command: Command) -> Ruling:
        if isinstance(command, SqlCommand) and command.kind == "COPY":
            seen.append(command.action)
            return Ruling(Deny("no"), "mine")
        return Ruling(Allow(), "mine")

    shim.engine.rule = rule
    with shim.connect() as connection:
        for text in ("COPY orders FROM PROGRAM 'id'", "COPY orders TO '/tmp/x'"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="mine"):
                connection.execute(text)
    assert seen == ["admin", "admin"]


def test_a_row_larger_than_any_buffer_streams_both_ways(shim: Shim) -> None:
    value = "x" * 3_000_000
    with shim.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (a text)")
        with cursor.copy("COPY t FROM STDIN") as copy:
            copy.write(value.encode() + b"\n" + value.encode() + b"\n")
        with cursor.copy("COPY t TO STDOUT") as copy:
            assert b"".join(copy) == f"{value}\n{value}\n".encode()
    shim.wait_ended()
    content = f"{value}\n{value}\n".encode()
    for outcome in [outcome for text, _, outcome in shim.commands() if text.startswith("COPY")]:
        assert (outcome["size"], outcome["digest"]) == (len(content), keyed(shim, content))
        assert outcome["sample"]["truncated"] is True
