"""The tables that lineage is tried on: the SQL that makes them, and the catalog snapshot of them."""

from __future__ import annotations

import psycopg

from onrecord.policies.sql.catalog import Catalog, CatalogColumn, Function, Operator, Relation

WORLD = """
CREATE TABLE customers (id int PRIMARY KEY, name text, email text UNIQUE, data jsonb, tags text[], gone text);
ALTER TABLE customers DROP COLUMN gone;
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, note text, total int);
CREATE TABLE events (id int, kind text, body text) PARTITION BY LIST (kind);
CREATE TABLE events_a PARTITION OF events FOR VALUES IN ('a');
CREATE TABLE events_b PARTITION OF events DEFAULT;
CREATE TABLE animals (id int, label text);
CREATE TABLE dogs (bark text) INHERITS (animals);
CREATE TABLE copies (id serial, a text, b text DEFAULT 'none', UNIQUE (a));
INSERT INTO customers SELECT n, 'xqname' || n || 'q', 'xqemail' || n || 'q',
  jsonb_build_object('k', 'xqdata' || n || 'q', 'n', n), ARRAY['xqtags' || n || 'q', 't'] FROM generate_series(1, 4) n;
INSERT INTO orders SELECT n, 1 + n % 4, 'xqnote' || n || 'q', n * 10 FROM generate_series(1, 6) n;
INSERT INTO events SELECT n, CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END, 'xqbody' || n || 'q' FROM generate_series(1, 4) n;
INSERT INTO animals VALUES (1, 'xqlabel1q');
INSERT INTO dogs VALUES (2, 'xqlabel2q', 'xqbark2q');
CREATE VIEW people AS SELECT id AS pid, name AS who, email AS mail FROM customers WHERE name IS NOT NULL;
CREATE VIEW shouted (pid, loud, n) AS
  SELECT p.pid, upper(p.mail), (SELECT count(*) FROM orders o WHERE o.note <> p.who) FROM people p;
CREATE VIEW rows_of AS SELECT c AS whole, c.id FROM customers c;
CREATE MATERIALIZED VIEW kept AS SELECT id, email AS kept_email, note FROM customers JOIN orders USING (id);
CREATE FUNCTION calm(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE FUNCTION peek(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM customers WHERE id = $1';
CREATE FUNCTION stir(int) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT email FROM customers WHERE id = $1';
CREATE FUNCTION mail_of(customers) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1.email';
CREATE OPERATOR ### (RIGHTARG = int, FUNCTION = peek);
"""

_RELATIONS = """
SELECT c.oid::int, n.nspname, c.relname, c.relkind::text,
  CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) ELSE '' END,
  (WITH RECURSIVE up AS (SELECT inhparent AS o FROM pg_inherits WHERE inhrelid = c.oid
    UNION SELECT inhparent FROM pg_inherits JOIN up ON inhrelid = up.o) SELECT array_agg(o::int) FROM up),
  (WITH RECURSIVE down AS (SELECT inhrelid AS o FROM pg_inherits WHERE inhparent = c.oid
    UNION SELECT inhrelid FROM pg_inherits JOIN down ON inhparent = down.o) SELECT array_agg(o::int) FROM down)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND n.nspname = 'public' ORDER BY c.oid
"""
_COLUMNS = """
SELECT attrelid::int, attname, attnum, atttypid::int, format_type(atttypid, NULL) FROM pg_attribute
WHERE attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum
"""
_FUNCTIONS = """
SELECT p.oid::int, n.nspname, proname, provolatile::text, prosecdef, lanname, prokind::text, proretset
FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace JOIN pg_language l ON l.oid = prolang
WHERE n.nspname = 'public'
"""
_OPERATORS = """
SELECT n.nspname, oprname, 'public.' || p.proname FROM pg_operator o JOIN pg_namespace n ON n.oid = oprnamespace
JOIN pg_proc p ON p.oid = oprcode WHERE n.nspname = 'public'
"""


def snapshot(connection: psycopg.Connection) -> Catalog:
    """The catalog of schema public."""
    columns: dict[int, list[CatalogColumn]] = {}
    for relation, name, number, oid, type_name in connection.execute(_COLUMNS):
        columns.setdefault(relation, []).append(CatalogColumn(name, number, oid, f"pg_catalog.{type_name}"))
    rows = connection.execute(_RELATIONS).fetchall()
    names = {row[0]: f"{row[1]}.{row[2]}" for row in rows}
    return Catalog(
        relations=tuple(
            Relation(
                oid=oid,
                schema=schema,
                name=name,
                kind=kind,
                columns=tuple(columns.get(oid, [])),
                definition=definition,
                parents=tuple(names[parent] for parent in parents or []),
                children=tuple(names[child] for child in children or []),
            )
            for oid, schema, name, kind, definition, parents, children in rows
        ),
        functions=tuple(
            Function(
                oid=oid,
                schema=schema,
                name=name,
                volatility=volatility,
                security_definer=definer,
                language=language,
                kind=kind,
                returns_set=returns_set,
            )
            for oid, schema, name, volatility, definer, language, kind, returns_set in connection.execute(_FUNCTIONS)
        ),
        operators=tuple(Operator(*row) for row in connection.execute(_OPERATORS)),
    )


# The same, written down, for tests without a server.


def _relation(
    name: str, columns: str, kind: str = "r", *, definition: str = "", parents: str = "", children: str = ""
) -> Relation:
    listed = tuple(
        CatalogColumn(column, number, 25, "pg_catalog.text") for number, column in enumerate(columns.split(), 1)
    )
    return Relation(
        oid=1,
        schema="public",
        name=name,
        kind=kind,
        columns=listed,
        definition=definition,
        parents=tuple(parents.split()),
        children=tuple(children.split()),
    )


def _function(name: str, volatility: str) -> Function:
    return Function(oid=1, schema="public", name=name, volatility=volatility, security_definer=False, language="sql")


CATALOG = Catalog(
    relations=(
        _relation("customers", "id name email data tags"),
        _relation("orders", "id customer_id note total"),
        _relation("events", "id kind body", "p", children="public.events_a public.events_b"),
        _relation("events_a", "id kind body", parents="public.events"),
        _relation("events_b", "id kind body", parents="public.events"),
        _relation("animals", "id label", children="public.dogs"),
        _relation("dogs", "id label bark", parents="public.animals"),
        _relation("copies", "id a b"),
        _relation(
            "people",
            "pid who mail",
            "v",
            definition="SELECT id AS pid, name AS who, email AS mail FROM customers WHERE name IS NOT NULL;",
        ),
        _relation(
            "shouted",
            "pid loud n",
            "v",
            definition="SELECT pid, upper(mail) AS loud, ( SELECT count(*) AS count FROM orders o"
            " WHERE (o.note <> p.who)) AS n FROM people p;",
        ),
        _relation("rows_of", "whole id", "v", definition="SELECT c.*::customers AS whole, id FROM customers c;"),
        _relation(
            "kept",
            "id kept_email note",
            "m",
            definition="SELECT customers.id, customers.email AS kept_email, orders.note"
            " FROM (customers JOIN orders USING (id));",
        ),
    ),
    functions=(_function("calm", "i"), _function("peek", "s"), _function("stir", "v"), _function("mail_of", "s")),
    operators=(Operator("public", "###", "public.peek"),),
)
