"""Lineage against a real PostgreSQL: a column that changes the result was named, and what is plain is the column.

Each query runs on the tables as they are and once for each column after that column's values were changed. Where the
result differs, lineage must have said that it may.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.types.json import set_json_loads

from onrecord.policies.sql.lineage import Lineage, trace
from onrecord.scripts.parts.postgres import PostgresPart

from .generator import Generator
from .test_trace import STATEMENTS
from .world import CATALOG, WORLD, snapshot

DATABASE = "lineage"
COUNT = int(os.environ.get("ONRECORD_LINEAGE_QUERIES", "250"))
FIRST = int(os.environ.get("ONRECORD_LINEAGE_SEED", "0"))

# Columns and what changes their values: order, equality and length alike.
CHANGES = {
    "public.customers.name": "UPDATE customers SET name = CASE id % 2 WHEN 0 THEN 'zz' || id ELSE 'same' END",
    "public.customers.email": "UPDATE customers SET email = 'a' || repeat('2', 5 - id)",
    "public.customers.data": """UPDATE customers SET data = '{"k": "other", "n": 5, "m": 2}'""",
    "public.customers.tags": "UPDATE customers SET tags = '{u,v,w}'",
    "public.orders.note": "UPDATE orders SET note = CASE id % 2 WHEN 0 THEN 'zz' || id ELSE 'same' END",
    "public.events.body": "UPDATE events SET body = CASE id % 2 WHEN 0 THEN 'zz' || id ELSE 'same' END",
    "public.dogs.label": "UPDATE dogs SET label = 'a22'",
    "public.dogs.bark": "UPDATE dogs SET bark = 'a22'",
    "public.animals.label": "UPDATE ONLY animals SET label = 'a22'",
}


@pytest.fixture(scope="module")
def connection(postgres: PostgresPart) -> Iterator[psycopg.Connection]:
    postgres.sql(f"CREATE DATABASE {DATABASE}")
    made = psycopg.connect(
        host=postgres.host,
        port=postgres.port,
        user=postgres.superuser,
        password=postgres.password,
        dbname=DATABASE,
        sslmode="disable",
        autocommit=True,
    )
    with made:
        made.prepare_threshold = None
        set_json_loads(lambda data: data, made)
        made.execute(WORLD)
        made.execute("SET statement_timeout = '300ms'")
        yield made
    postgres.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def run(connection: psycopg.Connection, sql: str):
    """(names, rows as text); the SQLSTATE where PostgreSQL refuses; None where it takes or is too long to compare."""
    try:
        with connection.transaction():
            cursor = connection.execute(sql)
            if cursor.description is None:
                return [], []
            names = [column.name for column in cursor.description]
            rows = [tuple(str(cell) for cell in row) for row in cursor.fetchmany(2000)]
            return (names, rows) if cursor.rownumber == cursor.rowcount else None
    except psycopg.Error as error:
        return None if error.sqlstate in (None, "57014") else error.sqlstate


def reaches(sources: frozenset[str], column: str) -> bool:
    return column in sources or f"{column.rsplit('.', 1)[0]}.*" in sources


def faults(connection: psycopg.Connection, sql: str, lineage: Lineage, *, all_rows: bool) -> list[str] | None:
    """What lineage left out; None where PostgreSQL refuses the query. With `all_rows` no predicate excuses a value."""
    with connection.transaction(force_rollback=True):
        before = run(connection, sql)
    if before is None or isinstance(before, str):
        return None
    found = _shape(before[0], lineage) + _markers(before[1], lineage)
    if found:
        return found
    for column, change in CHANGES.items():
        with connection.transaction(force_rollback=True):
            connection.execute(change)
            after = run(connection, sql)
        if isinstance(after, str):
            if not lineage.unsure_predicates and not reaches(lineage.predicates, column):
                found.append(f"{column} decides that it fails: {after}")
        elif after is not None:
            found += _differences(before[1], after[1], lineage, column, all_rows)
    return found


def _shape(names: list[str], lineage: Lineage) -> list[str]:
    if lineage.outputs is None:
        return []
    outputs = [output.name for output in lineage.outputs]
    return [] if outputs == names else [f"columns are {names}, not {outputs}"]


def _markers(rows, lineage: Lineage) -> list[str]:
    """Every value holds its column's name: where it stands in a cell, however turned, the column is a source."""
    found = []
    for place, output in enumerate(lineage.outputs or ()):
        text = "\n".join({row[place] for row in rows}).lower()
        text += text[::-1]
        shown = [column for column in CHANGES if f"xq{column.rsplit('.', 1)[1]}" in text]
        lost = [column for column in shown if not output.unsure and not _named(output.sources, column)]
        found += [f"{column} stands in {place + 1} ({output.name})" for column in lost]
    return found


def _named(sources: frozenset[str], column: str) -> bool:
    """Animals and dogs share their markers."""
    same = ["public.dogs.label", "public.animals.label"] if column.endswith(".label") else [column]
    return any(reaches(sources, name) for name in same)


def _differences(before, after, lineage: Lineage, column: str, all_rows: bool) -> list[str]:
    if not all_rows and (lineage.unsure_predicates or reaches(lineage.predicates, column)):
        return []
    if len(before) != len(after):
        return [f"{column} decides the number of rows"]
    found = []
    for place, output in enumerate(lineage.outputs or ()):
        if output.unsure or reaches(output.sources, column):
            continue
        old, new = (collections.Counter(row[place] for row in rows) for rows in (before, after))
        if old != new:
            found.append(f"{column} shows in {place + 1} ({output.name})")
    return found


def test_whatever_a_column_changes_in_a_result_lineage_said(connection):
    catalog = snapshot(connection)
    found, ran, sure = {}, 0, 0
    for seed in range(FIRST, FIRST + COUNT):
        all_rows = seed % 2 == 1
        sql = Generator(seed).expressions() if all_rows else Generator(seed).statement()
        (lineage,) = trace(sql, search_path=("public",), catalog=catalog)
        differences = faults(connection, sql, lineage, all_rows=all_rows)
        if differences is None:
            continue
        ran += 1
        sure += lineage.outputs is not None and not any(output.unsure for output in lineage.outputs)
        if differences:
            found[seed, sql] = differences
    assert not found, "\n".join(f"{key}: {what}" for key, what in list(found.items())[:12])
    # Were all refused, or all unsure, the test would say nothing.
    assert ran > COUNT * 0.6
    assert sure > ran * 0.8


def test_the_written_catalog_is_what_the_server_says(connection):
    def shape(catalog):
        return {
            relation.full_name: (
                relation.kind, [column.name for column in relation.columns], relation.parents, relation.children
            )
            for relation in catalog.relations
            if relation.kind != "S"
        }  # fmt: skip

    assert shape(snapshot(connection)) == shape(CATALOG)


def test_the_columns_of_every_written_statement_are_those_of_the_server(connection):
    catalog = snapshot(connection)
    found, ran = {}, 0
    for sql in STATEMENTS:
        if sql.startswith(("COPY", "COMMIT", "BEGIN", "SELECT pg_sleep", "EXECUTE", "FETCH")):
            continue
        (lineage,) = trace(sql, search_path=("public",), catalog=catalog)
        with connection.transaction(force_rollback=True):
            result = run(connection, sql)
        if isinstance(result, tuple) and (differences := _shape(result[0], lineage) + _markers(result[1], lineage)):
            found[sql] = differences
        ran += isinstance(result, tuple)
    assert not found
    assert ran > 200


def test_a_name_further_out_is_not_mistaken_for_a_system_column(connection):
    catalog = snapshot(connection)
    for column, inner in (("ctid", "people"), ("oid", "orders"), ("xmin", "shouted")):
        sql = f"SELECT (SELECT {column} FROM {inner} LIMIT 1) FROM (SELECT email AS {column} FROM customers) s"
        (lineage,) = trace(sql, search_path=("public",), catalog=catalog)
        result = run(connection, sql)
        assert isinstance(result, tuple)
        assert "xqemail1q" in {row[0] for row in result[1]}
        assert not _markers(result[1], lineage)


def test_how_many_rows_a_built_in_returns_is_decided_by_its_arguments(connection):
    """Every set-returning function of the server that takes arguments, and that lineage does not refuse anyway."""
    names = connection.execute(
        "SELECT DISTINCT proname FROM pg_proc WHERE proretset AND pronargs > 0 AND oid < 16384"
    ).fetchall()
    passed = []
    for (name,) in names:
        (lineage,) = trace(f"SELECT {name}(email) FROM customers", search_path=("public",), catalog=CATALOG)
        if "public.customers.email" not in lineage.predicates:
            passed.append(name)
    assert not passed
    assert len(names) > 40
