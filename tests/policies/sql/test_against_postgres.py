"""What analysis says, against what a real PostgreSQL does: a read changes nothing, and every locked table was named.

The corpora run always; in the opt-in tier so does PostgreSQL's own regression suite (some 45,000 statements, two
minutes), as scripts/setup-conformance fetches it.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from psycopg.pq import TransactionStatus

from onrecord.policies.sql import SqlError, Statement, analyse
from onrecord.policies.sql.lexer import tokens
from onrecord.scripts.parts.postgres import PostgresPart
from tests.conformance.suite import suite_folder

CORPORA = Path(__file__).parents[2] / "corpora" / "sql"
DATABASE = "analysis"
TABLES = """
CREATE SCHEMA audit;
CREATE TABLE customers (id int PRIMARY KEY, name text, email text, gone bool);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, total numeric, note text, paid bool, at timestamptz);
CREATE TABLE payments (id int PRIMARY KEY, order_id int, amount numeric);
CREATE TABLE staging (id int PRIMARY KEY, customer_id int, total numeric, note text, paid bool, at timestamptz);
CREATE TABLE audit.log (id int, at timestamptz, what text);
CREATE TABLE users (id int PRIMARY KEY, name text UNIQUE, password text);
CREATE SEQUENCE orders_id_seq;
INSERT INTO orders SELECT n, n, n, CASE WHEN n % 2 = 0 THEN 'n' END, true, now() FROM generate_series(1, 20) n;
CREATE FUNCTION delete_customer(int) RETURNS int LANGUAGE sql AS 'DELETE FROM customers WHERE id = $1 RETURNING 1';
"""
LOCKS = """
SELECT n.nspname || '.' || c.relname, l.mode FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
_WRITING = frozenset({"RowExclusiveLock", "AccessExclusiveLock", "ExclusiveLock"})


def connect(server: PostgresPart, database: str) -> psycopg.Connection:
    connection = psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.superuser,
        password=server.password,
        dbname=database,
        sslmode="disable",
        autocommit=True,
    )
    connection.prepare_threshold = None
    connection.execute("SET statement_timeout = '2s'; SET lock_timeout = '1s'")
    return connection


@pytest.fixture(scope="module")
def connection(postgres: PostgresPart) -> Iterator[psycopg.Connection]:
    postgres.sql(f"CREATE DATABASE {DATABASE}")
    with connect(postgres, DATABASE) as made:
        made.execute(TABLES)
        yield made
    postgres.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def rows(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (CORPORA / name).read_text(encoding="utf-8").splitlines()]


CORPUS = [str(row["sql"]) for name in ("statements.jsonl", "clients.jsonl") for row in rows(name)]


def faults(connection: psycopg.Connection, sql: str, statement: Statement) -> list[str]:
    """Where PostgreSQL and the analysis of the one statement `sql` differ; the statement is rolled back."""
    found: list[str] = []
    if statement.action == "read":
        try:
            connection.execute("BEGIN READ ONLY")
            connection.execute(sql)
        except errors.ReadOnlySqlTransaction as error:
            found.append(f"called a read: {error}")
        except psycopg.Error:
            pass
        finally:
            connection.execute("ROLLBACK")
    try:
        connection.execute("BEGIN")
        connection.execute(sql)
        for relation, mode in connection.execute(LOCKS).fetchall():
            found += _unnamed(sql, statement, relation, mode)
    except psycopg.Error:
        pass
    finally:
        connection.execute("ROLLBACK")
    return found


def _unnamed(sql: str, statement: Statement, relation: str, mode: str) -> list[str]:
    """A table that the statement itself names and locks, and that the analysis leaves out (views name others)."""
    name = relation.split(".", 1)[1]
    if name.lower() not in {sql[token.start : token.end].strip('"').lower() for token in tokens(sql)}:
        return []
    if mode == "AccessShareLock" and name not in statement.tables_read and name not in statement.tables_written:
        return [f"reads {relation} unnamed"]
    if mode in _WRITING and statement.action == "read" and statement.node != "ExplainStmt":
        return [f"a read locks {relation} in {mode}"]
    if (
        mode in _WRITING
        and statement.node not in {"ExplainStmt", "RenameStmt"}
        and name not in statement.tables_written
    ):
        return [f"writes {relation} unnamed"]
    return []


def judged(sql: str) -> Statement | None:
    """The analysis of a text of one statement that can run inside a transaction and be rolled back."""
    try:
        found = analyse(sql).statements
    except SqlError:
        return None
    return found[0] if len(found) == 1 and not found[0].transaction and not found[0].copy else None


def test_the_corpora_do_what_analysis_says(connection):
    found, reads = {}, 0
    for sql in CORPUS:
        statement = judged(sql)
        # Statements that end sessions, stop the server or reach its files are not tried.
        if statement is None or statement.action in {"admin", "unknown"} or "pg_sleep" in sql:
            continue
        reads += statement.action == "read"
        if differences := faults(connection, sql, statement):
            found[sql] = differences
    assert not found
    assert reads > 150


NOTATION = [
    "('{file}'::text).pg_read_file",
    "(array['{file}'])[1].pg_read_file",
    "f.pg_read_file from lower('{file}') f",
]


@pytest.mark.parametrize("form", NOTATION)
def test_a_function_in_the_notation_of_a_field_really_runs_and_is_no_read(connection, form):
    (path,) = connection.execute("SHOW config_file").fetchone()
    sql = "SELECT " + form.format(file=path)
    assert "PostgreSQL" in connection.execute(sql).fetchone()[0]
    assert analyse(sql).statements[0].action == "admin"


# docs/howto/library-policies.md says that these count as conditions.
UNPROVEN = ["id > 0", "id <> -1", "id between 1 and 1000000", "id is not null", "id in (select generate_series(1, 99))"]
VACUOUS = [
    "id + 0 = id",
    "not (id <> id)",
    "1 is distinct from 2",
    "'01'::int = '1'::int",
    "id > 5 or id < 10",
    "ctid is not null",
    "id = any (array(select id from orders))",
    "exists (select 1 from orders o where o.id = orders.id)",
    "id <> all ('{}')",
]


@pytest.mark.parametrize("condition", UNPROVEN + VACUOUS)
def test_a_condition_that_takes_every_row_is_vacuous_where_the_text_proves_it(connection, condition):
    sql = f"DELETE FROM orders WHERE {condition}"
    connection.execute("BEGIN")
    try:
        assert connection.execute(sql).rowcount == 20
    finally:
        connection.execute("ROLLBACK")
    assert analyse(sql).statements[0].has_where == (condition in UNPROVEN)


# PostgreSQL's own suite


def split(text: str) -> list[str]:
    """The statements of a psql script, without its meta-commands and COPY data."""
    kept: list[str] = []
    data = False
    for line in text.split("\n"):
        if data:
            data = line != "\\."
        elif not re.match(r"\s*\\", line):
            kept.append(re.sub(r"\s\\\w+.*$", ";", line))
            data = re.match(r"(?i)\s*copy\b.*from\s+stdin.*;", line) is not None
    script = "\n".join(kept)
    found: list[str] = []
    start = depth = atomic = 0
    before = ""
    for token in tokens(script):
        word = script[token.start : token.end].lower()
        if word in {"(", ")"}:
            depth += 1 if word == "(" else -1
        elif word == ";" and depth <= 0 and not atomic:
            found.append(script[start : token.start].strip())
            start, depth = token.end, 0
        elif token.kind == "word":
            atomic += (word == "atomic" and before == "begin") or (atomic > 0 and word == "case")
            atomic -= atomic > 0 and word == "end"
            before = word
    return [statement for statement in found if statement]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_regression_suite_does_what_analysis_says(postgres):
    folder = suite_folder() / "sql"
    found: dict[str, list[str]] = {}
    postgres.sql("CREATE DATABASE regression")
    try:
        for script in sorted(folder.glob("*.sql"), key=lambda path: (path.stem != "test_setup", path.stem)):
            connection = connect(postgres, "regression")
            for sql in split(script.read_text(encoding="utf-8", errors="replace")):
                if connection.closed:
                    connection = connect(postgres, "regression")
                statement = judged(sql)
                idle = connection.info.transaction_status == TransactionStatus.IDLE
                if statement is not None and idle and statement.action == "read":
                    try:
                        differences = faults(connection, sql, statement)
                    except psycopg.Error:
                        connection.close()
                        continue
                    # Views, partitions and functions lock what the text does not name: only writes are told here.
                    if any(difference.startswith(("called a read", "a read locks")) for difference in differences):
                        found[sql] = differences
                with contextlib.suppress(psycopg.Error):
                    connection.execute(sql)
                if connection.info.transaction_status == TransactionStatus.ACTIVE:
                    connection.close()
            connection.close()
    finally:
        postgres.sql("DROP DATABASE regression WITH (FORCE)")
    assert not found
