"""Statements that wait for a human in PostgreSQL clients, through a running gateway."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading

import asyncpg
import psycopg
import pytest
from psycopg import pq

from tests.approvals.conftest import Desk, Running, psql_path
from tests.helpers import wait_until


def test_a_held_delete_in_psql_runs_once_when_it_is_approved_by_command(desk: Desk) -> None:
    token = desk.gateway.setup.mint("devin", on_behalf_of="bob@example.com")
    psql = subprocess.Popen(
        [psql_path(), "-X", "-c", f"DELETE FROM {desk.table} WHERE id <= 3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ
        | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(desk.gateway.setup.postgres_port),
            "PGDATABASE": "orders",
            "PGUSER": "agent",
            "PGPASSWORD": token,
            "PGSSLMODE": "disable",
        },
    )
    (waiting,) = desk.pending()
    assert desk.rows() == 10
    assert waiting["identity"]["subject"] == "devin"
    assert waiting["identity"]["on_behalf_of"] == "bob@example.com"
    assert waiting["text"] == f"DELETE FROM {desk.table} WHERE id <= 3"
    done = desk.onrecord("approve", waiting["id"], "--reason", "checked", token=desk.token())
    assert "granted" in done.stdout
    out, err = psql.communicate(timeout=60)
    assert psql.returncode == 0, err
    assert out.strip() == "DELETE 3"
    assert f"waiting for approval {waiting['id']} by dba: changes the shop" in err
    assert desk.rows() == 7
    desk.wait_for(waiting["id"], "used")


def test_a_refusal_names_the_approval_who_and_why(desk: Desk) -> None:
    with desk.connection() as connection:
        held = Running(connection, f"DELETE FROM {desk.table}")
        (waiting,) = desk.pending()
        desk.onrecord("deny", waiting["id"], "--reason", "not today", token=desk.token())
        error = held.join().error
        assert error is not None
        assert error.sqlstate == "42501"
        for words in (waiting["id"], "alice", "not today", "holds"):
            assert words in str(error)
        assert connection.execute("SELECT 1").fetchone() == (1,), "the session goes on"
    assert desk.rows() == 10


def test_a_cancel_takes_back_what_waits_and_nothing_runs(desk: Desk) -> None:
    with desk.connection() as connection:
        held = Running(connection, f"DELETE FROM {desk.table}")
        (waiting,) = desk.pending()
        connection.cancel_safe()
        error = held.join().error
        assert error is not None
        assert error.sqlstate == "57014"
        desk.wait_for(waiting["id"], "cancelled")
        late = desk.onrecord("approve", waiting["id"], token=desk.token(), check=False)
        assert late.returncode == 1
        assert "cancelled" in late.stderr
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert desk.rows() == 10


def test_a_client_that_leaves_cancels(desk: Desk) -> None:
    with desk.connection() as connection:
        Running(connection, f"DELETE FROM {desk.table}")
        (waiting,) = desk.pending()
        with socket.socket(fileno=os.dup(connection.fileno())) as raw:
            raw.shutdown(socket.SHUT_RDWR)
        desk.wait_for(waiting["id"], "cancelled")
    assert desk.rows() == 10


def test_other_sessions_go_on_while_one_waits(desk: Desk) -> None:
    with desk.connection() as one, desk.connection("other") as two:
        held = Running(one, f"DELETE FROM {desk.table} WHERE id = 1")
        (waiting,) = desk.pending()
        assert two.execute(f"SELECT count(*) FROM {desk.table}").fetchone() == (10,)
        desk.onrecord("approve", waiting["id"], token=desk.token())
        assert held.join().count == 1
    assert desk.rows() == 9


def test_what_nobody_decides_expires(desk: Desk) -> None:
    with desk.connection() as connection:
        error = Running(connection, f"DELETE FROM {desk.table} /*quick*/").join().error
        assert error is not None
        assert "was not decided in time" in str(error)
    assert desk.rows() == 10


def test_a_client_that_does_not_wait_repeats_the_command_and_gets_the_granted_one(desk: Desk) -> None:
    text = f"DELETE FROM {desk.table} WHERE id = 5 /*later*/"
    with desk.connection() as connection:
        first = Running(connection, text).join().error
        assert first is not None
        (waiting,) = desk.pending()
        assert waiting["id"] in str(first)
        again = Running(connection, text).join().error
        assert again is not None
        assert waiting["id"] in str(again), "still the same one"
        other = Running(connection, text.replace("= 5", "= 6")).join().error
        assert other is not None
        assert waiting["id"] not in str(other)
        desk.onrecord("approve", waiting["id"], token=desk.token())
        assert Running(connection, text).join().count == 1
        assert Running(connection, text).join().error is not None, "once"
    assert desk.rows() == 9


def test_a_grant_for_a_while_serves_the_same_command_again_and_no_other(desk: Desk) -> None:
    text = f"UPDATE {desk.table} SET note = 'x' WHERE id = 1 /*reuse*/"
    with desk.connection() as connection:
        held = Running(connection, text)
        (waiting,) = desk.pending()
        desk.onrecord("approve", waiting["id"], token=desk.token())
        assert held.join().count == 1
        assert Running(connection, text).join().count == 1
        other = Running(connection, text.replace("id = 1", "id = 2"))
        found = desk.pending()
        assert found[0]["id"] != waiting["id"]
        desk.onrecord("deny", found[0]["id"], token=desk.token())
        assert other.join().error is not None


def test_of_two_groups_one_each_must_agree_and_nobody_counts_twice(desk: Desk) -> None:
    with desk.connection() as connection:
        held = Running(connection, f"DELETE FROM {desk.table} /*twice*/ WHERE id = 2")
        (waiting,) = desk.pending()
        both = desk.token("carol", ("dba", "security"))
        assert "pending" in desk.onrecord("approve", waiting["id"], token=both).stdout
        again = desk.onrecord("approve", waiting["id"], token=both, check=False)
        assert again.returncode == 1
        assert desk.rows() == 10
        desk.onrecord("approve", waiting["id"], token=desk.token("dave", ("security",)))
        assert held.join().count == 1


def test_several_statements_of_one_message_run_all_or_not_at_all(desk: Desk) -> None:
    text = f"DELETE FROM {desk.table} WHERE id = 1; DELETE FROM {desk.table} WHERE id = 2"
    with desk.connection() as connection:
        held = Running(connection, text)
        first, second = desk.pending(2)
        desk.onrecord("approve", first["id"], token=desk.token())
        assert desk.rows() == 10
        desk.onrecord("deny", second["id"], token=desk.token())
        assert held.join().error is not None
        assert desk.rows() == 10
        desk.wait_for(first["id"], "cancelled")
        held = Running(connection, text)
        for one in desk.pending(2):
            desk.onrecord("approve", one["id"], token=desk.token())
        assert held.join().error is None
    assert desk.rows() == 8


def test_parameters_are_shown_and_bound(desk: Desk) -> None:
    with desk.connection() as connection:
        held = Running(connection, f"DELETE FROM {desk.table} WHERE id = %s", (4,))
        (waiting,) = desk.pending()
        assert waiting["detail"]["parameters"] == ["4"]
        desk.onrecord("approve", waiting["id"], token=desk.token())
        assert held.join().count == 1


def test_the_log_tells_who_decided(desk: Desk) -> None:
    with desk.connection() as connection:
        held = Running(connection, f"DELETE FROM {desk.table} WHERE id = 9")
        (waiting,) = desk.pending()
        desk.onrecord("approve", waiting["id"], "--reason", "fine", token=desk.token())
        held.join()
    (view,) = wait_until(lambda: [one for one in desk.log() if f"{desk.table} WHERE id = 9" in one["text"]])
    view_id = view["id"]
    assert view["verdict"]["type"] == "hold"
    assert view["outcome"]["status"] == "ok"
    told = wait_until(
        lambda: (view := json.loads(desk.onrecord("show", view_id, "--json").stdout)["approval"])["at"] and view
    )
    assert told == {
        "id": waiting["id"],
        "state": "used",
        "approvers": ["dba"],
        "decided_by": "alice",
        "at": told["at"],
        "reason": "fine",
    }
    recorded = json.loads(desk.onrecord("approvals", waiting["id"], "--recorded", "--json").stdout)
    assert [step["event"] for step in recorded["steps"] if step["event"] != "preview"] in (
        ["requested", "granted", "consumed", "used"],
        ["requested", "granted", "used", "consumed"],
    )
    assert desk.onrecord("verify").returncode == 0


def test_the_approver_sees_the_plan_and_how_many_rows_match(desk: Desk) -> None:
    with desk.connection() as connection:
        held = Running(connection, f"DELETE FROM {desk.table} WHERE id <= 4")
        (waiting,) = desk.pending()
        preview = wait_until(lambda: desk.view(waiting["id"])["preview"])
        assert preview["kind"] == "explain", preview["reason"]
        assert preview["matched"] == 4
        assert preview["rows"]
        assert f"Delete on {desk.table}" in preview["text"]
        assert "rows that match now: 4" in desk.onrecord("approvals", waiting["id"], token=desk.token()).stdout
        desk.onrecord("deny", waiting["id"], token=desk.token())
        held.join()
        held = Running(connection, f"UPDATE {desk.table} SET note = %s WHERE id > %s", ("it's", 7))
        (waiting,) = desk.pending()
        preview = wait_until(lambda: desk.view(waiting["id"])["preview"])
        assert preview["kind"] == "explain", preview["reason"]
        desk.onrecord("deny", waiting["id"], token=desk.token())
        held.join()
    assert desk.rows() == 10


def test_a_preview_never_runs_a_function_of_the_database(desk: Desk) -> None:
    server = desk.shop.server
    name = f"abs_{desk.table}"
    server.sql(
        f"CREATE FUNCTION {name}(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        f"$$ BEGIN PERFORM nextval('{desk.table}_seen'); RETURN 1; END $$",
        database="shop",
    )
    server.sql(f"CREATE SEQUENCE {desk.table}_seen", database="shop")
    server.sql(f"GRANT ALL ON SEQUENCE {desk.table}_seen TO {desk.shop.user}", database="shop")
    try:
        with desk.connection() as connection:
            held = Running(connection, f"DELETE FROM {desk.table} WHERE id = {name}(1)")
            error = None
            found = wait_until(lambda: desk.listed() or not held.thread.is_alive())
            if isinstance(found, list):
                preview = wait_until(lambda: desk.view(found[0]["id"])["preview"])
                assert preview["kind"] == "none"
                assert name in preview["reason"]
                desk.onrecord("deny", found[0]["id"], token=desk.token())
            error = held.join().error
            assert error is not None
        (seen,) = server.sql(f"SELECT is_called FROM {desk.table}_seen", database="shop")
        assert seen[0] in (False, "f")
    finally:
        server.sql(f"DROP FUNCTION {name}(int)", database="shop")
        server.sql(f"DROP SEQUENCE {desk.table}_seen", database="shop")


@pytest.mark.parametrize("parameters", [None, (100,)], ids=["simple", "extended"])
@pytest.mark.parametrize("transaction", [False, True], ids=["autocommit", "transaction"])
def test_more_rows_than_an_approval_allows_are_rolled_back(
    desk: Desk, parameters: tuple[int] | None, transaction: bool
) -> None:
    where = "%s > id" if parameters else "100 > id"
    with desk.connection() as connection:
        if transaction:
            connection.execute("BEGIN")
        held = Running(connection, f"DELETE FROM {desk.table} WHERE id <= 3 AND {where} /*rows*/", parameters)
        (waiting,) = desk.pending()
        assert waiting["max_rows"] == 2
        desk.onrecord("approve", waiting["id"], token=desk.token())
        error = held.join().error
        assert error is not None
        assert "2 rows at most" in str(error)
        if transaction:
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                connection.execute("SELECT 1")
            connection.execute("ROLLBACK")
        assert desk.rows() == 10
        assert connection.execute("SELECT 1").fetchone() == (1,), "the session goes on"
        held = Running(connection, f"DELETE FROM {desk.table} WHERE id <= 2 AND {where} /*rows*/", parameters)
        (waiting,) = desk.pending()
        desk.onrecord("approve", waiting["id"], token=desk.token())
        assert held.join().count == 2
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert desk.rows() == 8


def test_a_limit_of_rows_that_cannot_be_held_refuses(desk: Desk) -> None:
    with desk.connection() as connection:
        for text in (
            f"DELETE FROM {desk.table} RETURNING id /*rows*/",
            f"WITH d AS (DELETE FROM {desk.table} RETURNING 1) SELECT count(*) FROM d /*rows*/",
            f"DELETE FROM {desk.table}; DELETE FROM {desk.table} /*rows*/",
        ):
            error = Running(connection, text).join().error
            assert error is not None
            assert "max_rows" in str(error), text
    assert desk.rows() == 10


def test_a_limited_statement_that_fails_reads_as_its_own_error(desk: Desk) -> None:
    with desk.connection() as connection:
        held = Running(connection, f"UPDATE {desk.table} SET id = 1 /*rows*/")
        (waiting,) = desk.pending()
        desk.onrecord("approve", waiting["id"], token=desk.token())
        error = held.join().error
        assert isinstance(error, psycopg.errors.UniqueViolation)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_view_that_changes_while_its_statement_waits_takes_the_approval_with_it(desk: Desk) -> None:
    server, view = desk.shop.server, f"{desk.table}_view"
    server.sql(f"CREATE VIEW {view} AS SELECT * FROM {desk.table} WHERE id = 1", database="shop")
    server.sql(f"GRANT ALL ON {view} TO {desk.shop.user}", database="shop")
    try:
        with desk.connection() as connection:
            connection.execute(f"SELECT * FROM {view}")
            held = Running(connection, f"DELETE FROM {view}")
            (waiting,) = desk.pending()
            assert f"view public.{view}" in [one["name"] for one in waiting["rests_on"]]
            server.sql(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {desk.table} WHERE id > 0", database="shop")
            with desk.connection("other") as other:
                other.execute(f"SELECT * FROM {view} LIMIT 1")
                desk.onrecord("approve", waiting["id"], token=desk.token(), check=False)
                error = held.join().error
            assert error is not None
            assert "has changed" in str(error)
        assert desk.rows() == 10
    finally:
        server.sql(f"DROP VIEW {view}", database="shop")


def test_what_ran_with_a_limit_is_no_prepared_statement_afterwards(desk: Desk) -> None:
    """It goes to the server as an unnamed one, which a Bind would run again, without approval or limit."""
    with desk.connection() as connection:
        raw = connection.pgconn
        assert raw.prepare(b"", b"SELECT 1").status == pq.ExecStatus.COMMAND_OK
        held = Running(connection, f"DELETE FROM {desk.table} /*rows*/")
        (waiting,) = desk.pending()
        desk.onrecord("approve", waiting["id"], token=desk.token())
        assert held.join().error is not None
        again = raw.exec_prepared(b"", [])
        assert again.status == pq.ExecStatus.FATAL_ERROR
        assert again.error_field(pq.DiagnosticField.SQLSTATE) == b"26000"


def test_a_statement_that_is_only_prepared_waits_when_it_is_bound_and_once(desk: Desk) -> None:
    async def work() -> str:
        token = desk.gateway.setup.mint("devin", on_behalf_of="bob@example.com")
        connection = await asyncpg.connect(
            host="127.0.0.1", port=desk.gateway.setup.postgres_port, database="orders", user="agent", password=token,
            ssl=False,
        )  # fmt: skip
        try:
            statement = await connection.prepare(f"DELETE FROM {desk.table} WHERE id = $1 RETURNING id")
            assert not await asyncio.to_thread(desk.listed), "nothing runs yet"
            running = asyncio.create_task(statement.fetch(6))
            (waiting,) = await asyncio.to_thread(desk.pending)
            await asyncio.to_thread(desk.onrecord, "approve", waiting["id"], token=desk.token())
            rows = await running
            return str(rows[0]["id"])
        finally:
            await connection.close()

    assert asyncio.run(work()) == "6"
    assert desk.rows() == 9


def test_what_is_behind_a_held_statement_in_a_pipeline_waits_with_it(desk: Desk) -> None:
    with desk.connection() as connection:
        got: list[object] = []

        def work() -> None:
            with connection.pipeline():
                first = connection.execute(f"DELETE FROM {desk.table} WHERE id = %s", (1,))
                second = connection.execute(f"SELECT count(*) FROM {desk.table}")
                row = second.fetchone()
            got.extend((first.rowcount, row))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        (waiting,) = desk.pending()
        assert desk.rows() == 10
        desk.onrecord("approve", waiting["id"], token=desk.token())
        thread.join(60)
        assert got == [1, (9,)]


def test_a_refused_statement_in_a_pipeline_skips_what_is_behind_it(desk: Desk) -> None:
    with desk.connection() as connection:
        failed: list[str] = []

        def work() -> None:
            try:
                with connection.pipeline():
                    connection.execute(f"DELETE FROM {desk.table} WHERE id = %s", (1,))
                    connection.execute(f"INSERT INTO {desk.table} VALUES (99, 'x')")
            except psycopg.Error as error:
                failed.append(str(error))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        (waiting,) = desk.pending()
        desk.onrecord("deny", waiting["id"], token=desk.token())
        thread.join(60)
        assert waiting["id"] in failed[0]
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert desk.rows() == 10


def test_another_table_renamed_to_the_approved_name_is_not_the_approved_one(desk: Desk) -> None:
    server, junk = desk.shop.server, f"{desk.table}_junk"
    server.sql(f"CREATE TABLE {junk} AS SELECT * FROM {desk.table} LIMIT 1", database="shop")
    server.sql(f"GRANT ALL ON {junk} TO {desk.shop.user}", database="shop")
    try:
        with desk.connection() as connection:
            held = Running(connection, f"DELETE FROM {junk} WHERE id > 0")
            (waiting,) = desk.pending()
            assert f"table public.{junk}" in [one["name"] for one in waiting["rests_on"]]
            server.sql(f"ALTER TABLE {junk} RENAME TO {junk}_kept", database="shop")
            server.sql(f"ALTER TABLE {desk.table} RENAME TO {junk}", database="shop")
            desk.onrecord("approve", waiting["id"], token=desk.token(), check=False)
            error = held.join().error
            assert error is not None
            assert "has changed" in str(error)
    finally:
        server.sql(f"ALTER TABLE {junk} RENAME TO {desk.table}", database="shop")
        server.sql(f"DROP TABLE {junk}_kept", database="shop")
    assert desk.rows() == 10
