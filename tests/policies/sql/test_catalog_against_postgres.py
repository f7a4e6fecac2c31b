"""Analysis with a catalog against a real PostgreSQL: what its views depend on is the oracle of what a query reads."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from onrecord.policies.sql import analyse
from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.wordlists import words
from onrecord.scripts.parts.postgres import PostgresPart
from onrecord.shims.postgres.catalog import queries
from onrecord.shims.postgres.catalog.decode import decode_catalog, decode_texts
from tests.policies.sql.test_against_postgres import connect

DATABASE = "catalog_analysis"
OBJECTS = """
CREATE SCHEMA audit;
CREATE TABLE customers (id int PRIMARY KEY, name text, email text);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, total numeric, note text);
CREATE TABLE payments (id int PRIMARY KEY, order_id int REFERENCES orders ON DELETE CASCADE);
CREATE TABLE audit.log (id int, what text);
CREATE TABLE audit.orders (id int, what text);
CREATE TABLE events (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE VIEW buyers AS SELECT c.id, c.name FROM customers c JOIN orders o ON o.customer_id = c.id;
CREATE VIEW again AS SELECT b.id, l.what AS name FROM buyers b, audit.log l;
CREATE MATERIALIZED VIEW frozen AS SELECT id, count(*) AS name FROM again GROUP BY id;
CREATE FUNCTION purge() RETURNS bigint LANGUAGE sql
    AS 'DELETE FROM customers WHERE id > 10; SELECT count(*) FROM orders';
CREATE FUNCTION noted() RETURNS bigint LANGUAGE sql BEGIN ATOMIC
    INSERT INTO audit.log VALUES (1, 'x'); SELECT count(*) FROM again; END;
CREATE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE SET search_path = audit AS 'SELECT count(*) FROM orders';
CREATE FUNCTION hidden() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE FUNCTION double(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 * 2; END';
CREATE FUNCTION adder(bigint, int) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN $1; END';
CREATE AGGREGATE evil_sum(int) (SFUNC = adder, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE good_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamped BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE RULE logged AS ON DELETE TO customers DO ALSO INSERT INTO audit.log VALUES (old.id, 'gone');
CREATE PROCEDURE sweep() LANGUAGE sql AS 'TRUNCATE audit.log';
CREATE FUNCTION differs(int, text) RETURNS bool LANGUAGE sql AS 'DELETE FROM audit.log; SELECT true';
CREATE OPERATOR === (FUNCTION = differs, LEFTARG = int, RIGHTARG = text);
CREATE TYPE mood AS (word text);
CREATE FUNCTION say(mood) RETURNS text LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE CAST (mood AS text) WITH FUNCTION say(mood);
"""
DEPENDS = """
WITH RECURSIVE needed AS (
    SELECT d.refobjid AS oid FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    WHERE r.ev_class = %(view)s::regclass AND d.classid = 'pg_rewrite'::regclass
      AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    UNION
    SELECT d.refobjid FROM needed n JOIN pg_rewrite r ON r.ev_class = n.oid JOIN pg_depend d ON d.objid = r.oid
    WHERE r.ev_type = '1' AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid <> r.ev_class
)
SELECT DISTINCT n.nspname || '.' || c.relname FROM needed JOIN pg_class c USING (oid)
JOIN pg_namespace n ON n.oid = c.relnamespace
"""


def read_catalog(connection: psycopg.Connection) -> Catalog:
    """As the side connection reads it: under an empty search_path."""
    connection.execute("SET search_path = ''")
    answers = {name: _text(connection, text) for name, text in queries.FACTS.items()}
    views, bodies = (decode_texts(_text(connection, text)) for text in (queries.VIEWS, queries.BODIES))
    connection.execute("RESET search_path")
    return decode_catalog(answers, views, bodies)


def _text(connection: psycopg.Connection, sql: str) -> str:
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    assert row is not None
    return row[0] if isinstance(row[0], str) else json.dumps(row[0])


@pytest.fixture(scope="module")
def connection(postgres: PostgresPart) -> Iterator[psycopg.Connection]:
    postgres.sql(f"CREATE DATABASE {DATABASE}")
    with connect(postgres, DATABASE) as made:
        made.execute(OBJECTS)
        yield made
    postgres.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@pytest.fixture(scope="module")
def catalog(connection: psycopg.Connection) -> Catalog:
    return read_catalog(connection)


@pytest.mark.parametrize(
    ("sql", "action", "written"),
    [
        ("select purge()", "write", {"public.customers", "audit.log"}),
        ("select noted()", "write", {"audit.log"}),
        ("select total()", "read", set()),
        ("select double(1)", "read", set()),
        ("select hidden()", "unknown", set()),
        ("select evil_sum(id) from orders", "unknown", set()),
        ("select good_sum(id) from orders", "read", set()),
        ("insert into orders values (1)", "write", {"public.orders"}),
        ("delete from customers where id = 1", "write", {"public.customers", "audit.log"}),
        ("delete from orders where id = 1", "write", {"public.orders", "public.payments"}),
        ("truncate orders cascade", "write", {"public.orders", "public.payments"}),
        ("call sweep()", "write", {"audit.log"}),
        ("select 1 === 'x'", "write", {"audit.log"}),
        ("select row('x')::mood::text", "unknown", set()),
        ("select 1::text", "read", set()),
        ("delete from events where id = 1", "write", {"public.events", "public.events_1"}),
        ("update buyers set name = 'x'", "write", {"public.buyers"}),
    ],
)
def test_a_real_catalog_decides(catalog, sql, action, written):
    (found,) = analyse(sql, catalog=catalog).statements
    assert (found.action, set(found.tables_written)) == (action, written)


def test_functions_with_a_path_of_their_own_read_there(catalog):
    (found,) = analyse("select total()", catalog=catalog).statements
    assert set(found.tables_read) == {"audit.orders"}


_RELATIONS = ["customers", "orders", "audit.log", "audit.orders", "events", "events_1", "buyers", "again", "frozen"]


def _query(pick: random.Random, depth: int = 0) -> str:
    """A random SELECT of one column `id`."""
    relation = f"{pick.choice(_RELATIONS)} r{depth}"
    form = pick.randrange(10) if depth < 3 else pick.randrange(3)
    inner = lambda: _query(pick, depth + 1)  # noqa: E731
    return [
        lambda: f"SELECT r{depth}.id FROM {relation}",
        lambda: f"SELECT count(r{depth})::int AS id FROM {relation}",
        lambda: f"SELECT r{depth}.id FROM {relation} WHERE r{depth}.id > 3",
        lambda: f"SELECT r{depth}.id FROM {relation} WHERE r{depth}.id IN ({inner()})",
        lambda: f"SELECT x.id FROM ({inner()}) x JOIN {relation} USING (id)",
        lambda: f"WITH orders AS ({inner()}) SELECT orders.id FROM orders",
        lambda: f"WITH w AS MATERIALIZED ({inner()}), orders AS (SELECT * FROM w) SELECT id FROM orders",
        lambda: f"({inner()}) UNION ALL ({inner()})",
        lambda: f"SELECT (SELECT max(y.id) FROM ({inner()}) y) AS id FROM {relation}",
        lambda: f"SELECT z.id FROM {relation}, LATERAL ({inner()}) z WHERE EXISTS ({inner()})",
    ][form]()


def test_every_table_that_postgresql_says_a_query_depends_on_is_named(connection, catalog):
    pick = random.Random(20)  # noqa: S311 - the same queries each time
    for _ in range(150):
        sql = _query(pick)
        connection.execute("BEGIN")
        try:
            connection.execute(f"CREATE VIEW oracle AS SELECT * FROM ({sql}) q")
            rows = connection.execute(DEPENDS, {"view": "oracle"}).fetchall()
        finally:
            connection.execute("ROLLBACK")
        (found,) = analyse(sql, catalog=catalog).statements
        expected = {name for (name,) in rows}
        assert expected <= set(found.tables_read), sql
        assert found.action == "read"
        unneeded = set(found.tables_read) - expected - {"public.events", "public.events_1"}
        assert not unneeded, sql


# psql's own questions

# Without \\deu+ and \\dRs+, which show passwords for other servers and are admin.
_COMMANDS = words(
    "d d+ dS da dA dAc dAf dAo dAp db db+ dc dc+ dC dC+ dd dD dD+ ddp dE dE+ des des+ det det+ deu dew dew+ "
    "df df+ dF dF+ dFd dFd+ dFp dFp+ dFt dFt+ dg dg+ di di+ dl dl+ dL dL+ dm dm+ dn dn+ do do+ dO dO+ dp dP dP+ drds "
    "drg dRp dRp+ dRs ds ds+ dt dt+ dT dT+ du du+ dv dv+ dx dx+ dX dy dy+ l l+ z lo_list dconfig"
)
_ARGUMENTS = ("customers", "orders", "buyers", "frozen", "events", "orders_pkey", "p*", "audit.*")


def test_what_psql_asks_for_its_backslash_commands_only_reads(postgres, catalog, tmp_path: Path):
    program = shutil.which("psql")
    assert program is not None, "psql is missing: scripts/setup-debian installs it"
    lines = [f"\\{command}" for command in sorted(_COMMANDS)]
    lines += [f"\\{command} {argument}" for command in ("d", "d+", "dt", "dp", "df+", "dn+") for argument in _ARGUMENTS]
    lines += [r"\sf purge()", r"\sf total", r"\sv buyers", r"\conninfo", r"\encoding", r"\crosstabview"]
    script = tmp_path / "commands.sql"
    script.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [program, "-X", "-E", "-q", "-f", str(script)],
        env={
            "PGHOST": postgres.host,
            "PGPORT": str(postgres.port),
            "PGUSER": postgres.superuser,
            "PGPASSWORD": postgres.password,
            "PGDATABASE": DATABASE,
            "PGSSLMODE": "disable",
            "PAGER": "cat",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    parts = done.stdout.split("********* QUERY **********")[1:]
    asked = {part.split("**************************")[0] for part in parts}
    assert len(asked) > 90
    refused = {}
    for sql in asked:
        for known in (None, catalog):
            for statement in analyse(sql, catalog=known).statements:
                if (statement.action, statement.reasons) != ("read", ()):
                    refused[sql] = (statement.action, statement.reasons)
    assert not refused
