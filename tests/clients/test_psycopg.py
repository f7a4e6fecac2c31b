"""psycopg 3 and psycopg2 through the gateway."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import psycopg2
import psycopg2.extras
import pytest

from tests.clients.lab import Lab


@pytest.fixture
def connection(each_lab: Lab) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(each_lab.dsn(), autocommit=True) as made:
        made.execute("DROP TABLE IF EXISTS cl_psycopg")
        made.execute("CREATE TABLE cl_psycopg (id int PRIMARY KEY, name text, data jsonb, blob bytea)")
        yield made


def test_pipeline_mode_and_an_error_in_the_middle(connection):
    with connection.pipeline() as pipeline:
        answers = [connection.execute("SELECT %s::int", [n]) for n in range(20)]
        pipeline.sync()
        assert [answer.fetchone()[0] for answer in answers] == list(range(20))
        broken = connection.execute("SELECT 1/0")
        with pytest.raises(psycopg.errors.DivisionByZero):
            broken.fetchone()
    assert connection.execute("SELECT 'after'").fetchone() == ("after",)


def test_server_cursors_fetch_scroll_and_hold(connection):
    with connection.transaction(), connection.cursor("c", scrollable=True) as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT g FROM generate_series(1, 50) g")
        assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
        cursor.scroll(40, mode="absolute")
        assert cursor.fetchone() == (41,)
        assert len(list(cursor)) == 9


@pytest.mark.parametrize("binary", [False, True])
def test_copy_both_ways(connection, binary):
    form = "(FORMAT binary)" if binary else ""
    rows = [(n, f"näme\t{n}", None, b"\0\xff") for n in range(500)]
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY cl_psycopg FROM STDIN {form}") as copy:
            copy.set_types(["int4", "text", "jsonb", "bytea"])
            for row in rows:
                copy.write_row(row)
        with cursor.copy(f"COPY cl_psycopg TO STDOUT {form}") as copy:
            copy.set_types(["int4", "text", "jsonb", "bytea"])
            assert list(copy.rows()) == rows


def test_a_copy_that_the_client_breaks_off_stores_nothing(connection):
    def broken() -> None:
        with connection.cursor().copy("COPY cl_psycopg FROM STDIN") as copy:
            copy.write_row((1, "a", None, None))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert connection.execute("SELECT count(*) FROM cl_psycopg").fetchone() == (0,)


VALUES = [1, 2**40, "text", b"\0\1", True, None, Decimal("12.50"), 1.5, dt.date(2026, 1, 2), UUID(int=7), [1, 2, 3]]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("value", VALUES, ids=str)
def test_parameters_and_results_in_both_formats(connection, value, binary):
    placeholder = "%b" if binary else "%t"
    cursor = connection.cursor(binary=binary)
    cast = "::text" if value is None else ""
    assert cursor.execute(f"SELECT {placeholder}{cast}", [value]).fetchone() == (value,)


def test_statements_are_prepared_after_the_threshold_and_deallocated(connection):
    connection.prepare_threshold = 2
    connection.prepared_max = 3
    for n in range(40):
        assert connection.execute(f"SELECT %s::int + {n % 5}", [n], prepare=True).fetchone() == (n + n % 5,)
    connection.execute("DEALLOCATE ALL")
    assert connection.execute("SELECT 7", prepare=True).fetchone() == (7,)


def test_notifications_reach_another_session(connection, each_lab):
    connection.execute("LISTEN builds")
    with psycopg.connect(each_lab.dsn(), autocommit=True) as other:
        other.execute("NOTIFY builds, 'green'")
    (note,) = connection.notifies(timeout=10, stop_after=1)
    assert (note.channel, note.payload) == ("builds", "green")


def test_transactions_savepoints_isolation_and_two_results(connection):
    with connection.transaction():
        connection.execute("INSERT INTO cl_psycopg (id) VALUES (1)")
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute("INSERT INTO cl_psycopg (id) VALUES (1)")
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    with connection.transaction():
        assert connection.execute("SELECT count(*) FROM cl_psycopg").fetchone() == (1,)
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO cl_psycopg (id) VALUES (%s) RETURNING id", [(5,), (6,)], returning=True)
    assert cursor.fetchone() == (5,)


async def test_async(each_lab):
    async with await psycopg.AsyncConnection.connect(each_lab.dsn(), autocommit=True) as connection:
        cursor = await connection.execute("SELECT g FROM generate_series(1, 3) g")
        assert await cursor.fetchall() == [(1,), (2,), (3,)]


def test_psycopg2(each_lab):
    connection = psycopg2.connect(each_lab.dsn())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS cl_psycopg2")
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE cl_psycopg2 (id int, name text)")
        with connection, connection.cursor() as cursor:
            psycopg2.extras.execute_values(cursor, "INSERT INTO cl_psycopg2 VALUES %s", [(n, "x") for n in range(50)])
            cursor.copy_expert("COPY cl_psycopg2 FROM STDIN CSV", io.StringIO("77,seven\n78,eight\n"))
            out = io.StringIO()
            cursor.copy_expert("COPY (SELECT * FROM cl_psycopg2 WHERE id > 70 ORDER BY id) TO STDOUT CSV", out)
            assert out.getvalue() == "77,seven\n78,eight\n"
        with connection, connection.cursor("named") as cursor:
            cursor.itersize = 10
            cursor.execute("SELECT id FROM cl_psycopg2 ORDER BY id")
            assert sum(1 for _ in cursor) == 52
    finally:
        connection.close()
