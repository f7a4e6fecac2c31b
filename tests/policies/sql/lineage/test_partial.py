"""What partial.py calls total never fails, whatever the value is: every function and operator of it on a real server.

For each signature in pg_proc and pg_operator the other arguments are constants that work for one value; then every
hostile value of the type stands at each place that partial.py leaves free, and none may fail.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest

from onrecord.policies.sql.lineage import trace
from onrecord.policies.sql.lineage.partial import _OPERATORS, _PATTERNS, _PLACES, free, total
from onrecord.scripts.parts.postgres import PostgresPart

from .world import CATALOG

TEXTS = [
    "",
    "a",
    "Z",
    "\\",
    "%",
    "a\\",
    "(",
    "[",
    "{",
    "}",
    "'",
    '"',
    "ü",
    "\u4e2d",
    "\t\n",
    "1",
    "-1",
    "9" * 40,
    "x" * 5000,
]
BIG = ["0", "1", "-1", "2147483647", "-2147483648"]
MOMENTS = ["'2000-01-01'", "'infinity'", "'-infinity'", "'4713-01-01 BC'", "'9999-12-31'"]
VALUES: dict[str, list[str]] = {
    "text": ["'" + text.replace("'", "''") + "'" for text in TEXTS],
    "integer": BIG,
    "bigint": [*BIG, "9223372036854775807", "(-9223372036854775807)"],
    "numeric": [*BIG, "'NaN'", "'Infinity'", "1e100", "1e-100"],
    "double precision": [*BIG, "'NaN'", "'-Infinity'", "1e300"],
    "boolean": ["true", "false"],
    "bytea": ["''", "'\\x00'", "'\\xff00'"],
    "json": ["'{}'", "'[]'", "'1'", "'null'", "'\"x\"'", "'{\"a\":[1]}'"],
    "jsonb": ["'{}'", "'[]'", "'1'", "'null'", "'\"x\"'", "'{\"a\":[1]}'"],
    "date": MOMENTS,
    "timestamp without time zone": MOMENTS,
    "timestamp with time zone": MOMENTS,
    "interval": ["'0'", "'1 month'", "'-5 years 3 days'"],
    "inet": ["'10.0.0.1'", "'::1'", "'0.0.0.0/0'"],
    "text[]": ["'{}'", "'{a,NULL}'", "'{{a},{b}}'"],
    "integer[]": ["'{}'", "'{1,NULL}'", "'{{1},{2}}'"],
    "int4range": ["'empty'", "'[1,2)'", "'(,)'"],
}
ALIASES = {
    "anyelement": "text", "anyarray": "text[]", "anycompatible": "text", "anycompatiblearray": "text[]", "any": "text",
    "anynonarray": "text", "anyrange": "int4range", '"any"': "text", "character": "text", "character varying": "text",
    "name": "text", "smallint": "integer", "real": "double precision", "regconfig": "", "record": "", "cidr": "",
}  # fmt: skip
# What works beside nearly any value.
CONSTANTS: dict[str, list[str]] = {
    "text": ["'a'", "'hex'", "'day'", "'%s'", "'9'"],
    "integer": ["1"],
    "bigint": ["1"],
}


@pytest.fixture(scope="module")
def connection(postgres: PostgresPart) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        host=postgres.host, port=postgres.port, user=postgres.superuser, password=postgres.password,
        dbname="postgres", sslmode="disable", autocommit=True,
    ) as made:  # fmt: skip
        made.execute("SET standard_conforming_strings = on")
        yield made


def kind(name: str) -> str:
    return name if name in VALUES else ALIASES.get(name, "")


def works(connection: psycopg.Connection, sql: str) -> str:
    """ "" or the SQLSTATE."""
    try:
        connection.execute(sql.encode(), prepare=False)
    except psycopg.Error as error:
        return error.sqlstate or "?"
    return ""


def signatures(connection: psycopg.Connection) -> list[tuple[str, str, list[str]]]:
    names = sorted(_PLACES)
    rows = connection.execute(
        "SELECT proname, prokind::text, array(SELECT format_type(t, NULL) FROM unnest(proargtypes) t),"
        " provariadic <> 0 FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY(%s)",
        [names],
    ).fetchall()
    found = []
    for name, what, types, variadic in rows:
        kinds = [kind(one) for one in types]
        if variadic:
            kinds = [*kinds[:-1], "text", "text"] if kinds[-1] in ("text", "text[]") else kinds
        if kinds and all(kinds):
            found.append((name, what, kinds))
    return found


def call(name: str, what: str, kinds: list[str], values: list[str]) -> str:
    arguments = ", ".join(f"v{n}" for n in range(len(kinds)))
    columns = ", ".join(
        f"CAST({value} AS {of}) AS v{n}" for n, (of, value) in enumerate(zip(kinds, values, strict=True))
    )
    over = " OVER ()" if what == "w" else ""
    # OFFSET 0: the values are no constants to the planner, as a column's are not.
    return f"SELECT pg_catalog.{name}({arguments}){over} FROM (SELECT {columns} OFFSET 0) v"


def test_no_value_makes_a_listed_function_fail(connection):
    failed, tried = [], set()
    for name, what, kinds in signatures(connection):
        others = [CONSTANTS.get(of, VALUES[of][:2]) for of in kinds]
        fitting = next(
            (list(c) for c in itertools.product(*others) if not works(connection, call(name, what, kinds, list(c)))),
            None,
        )
        if fitting is None:
            continue
        for place, of in enumerate(kinds):
            if not free(name, place, {"ColumnRef": {}}) or (name == "array_agg" and of.endswith("[]")):
                continue
            for value in [*VALUES[of], "NULL"]:
                sql = call(name, what, kinds, [*fitting[:place], value, *fitting[place + 1 :]])
                tried.add(name)
                if state := works(connection, sql):
                    failed.append((state, sql[:200]))
    assert not failed
    missing = sorted(set(_PLACES) - tried)
    assert len(tried) > 0.8 * len(_PLACES), missing


def test_no_value_makes_a_listed_operator_fail(connection):
    rows = connection.execute(
        "SELECT oprname, format_type(oprleft, NULL), format_type(oprright, NULL) FROM pg_operator"
        " WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprname = ANY(%s)",
        [sorted(_OPERATORS | _PATTERNS)],
    ).fetchall()
    failed, tried = [], set()
    for name, left, right in rows:
        if left not in VALUES or right not in VALUES:
            continue
        for side in ("left", "right"):
            if not total(name, left=side == "left"):
                continue
            for value in VALUES[left if side == "left" else right]:
                pair = (value, VALUES[right][1]) if side == "left" else (VALUES[left][1], value)
                sql = (
                    f"SELECT a OPERATOR(pg_catalog.{name}) b"
                    f" FROM (SELECT CAST({pair[0]} AS {left}) AS a, CAST({pair[1]} AS {right}) AS b OFFSET 0) v"
                )
                tried.add(name)
                if state := works(connection, sql):
                    failed.append((state, sql[:200]))
    assert not failed
    assert len(tried) > 20, sorted(tried)


@pytest.mark.parametrize(
    "expression",
    [
        "1 / (length(email) - 4)",
        "1 / (email LIKE 'a%')::int",
        "CASE WHEN email LIKE 'a%' THEN 1 / (id - id) END",
        "CASE email WHEN 'a' THEN 1 / (id - id) END",
        "email LIKE 'a%' AND 1 / (id - id) > 0",
        "NOT (email LIKE 'a%' OR 1 / (id - id) > 0)",
        "coalesce(nullif(email, 'a'), (1 / (id - id))::text)",
        "substr('abc', 1, ascii(email) - 98)",
        "chr(ascii(email))",
        "lower(repeat(email, 1000000))",
        "upper(my_own(email))",
        "'x' ~ email",
        "email::starts_with_a",
        "substr(email, 1, 1)::int",
        "count(*) FILTER (WHERE email LIKE 'a%')",
        "xmlparse(content email)",
        "json_value(email::jsonb, 'strict $.a' ERROR ON ERROR)",
        "(SELECT 1 / (ascii(email) - 97))",
        "ARRAY[1 / (ascii(email) - 97)]",
        "greatest(1, 1 / ascii(email))",
    ],
)
def test_what_can_fail_for_some_values_is_a_choice_by_them(expression):
    (lineage,) = trace(f"SELECT {expression} FROM customers", search_path=("public",), catalog=CATALOG)
    assert "public.customers.email" in lineage.predicates


@pytest.mark.parametrize(
    "expression",
    [
        "email",
        "upper(email)",
        "email || ''",
        "substr(email, 2)",
        "email::text::varchar(3)",
        "c::text",
        "row_to_json(c)",
        "format('%s <%s>', name, email)",
        "coalesce(email, 'none')",
        "string_agg(email, ',')",
        "email IS NULL",
        "email = 'a'",
        "CASE WHEN id = 3 THEN email END",
        "jsonb_build_object('email', email)",
        "greatest(email, name)",
        "ARRAY[email]",
        "ROW(email, 1)",
        "(SELECT email)",
        "lag(email, 1, name) OVER (ORDER BY id)",
    ],
)
def test_showing_a_column_is_no_choice(expression):
    (lineage,) = trace(f"SELECT {expression} FROM customers c", search_path=("public",), catalog=CATALOG)
    assert not {name for name in lineage.predicates if name.endswith(("email", "*"))}
    assert not lineage.unsure_predicates
