"""Lineage of statements over world.WORLD, one by one: data/statements.txt says what each must give.

A block is the statement, then `= outputs`, `? predicates`, `> flows` where there are any. An output is
`name:source+source`, with `=` behind it where it is plain and `!` where it is unsure; `*` for a result whose columns
are not known. `!` among predicates or flows: others may be among them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.sql.catalog import Catalog, Function
from onrecord.policies.sql.lineage import UNSURE, Lineage, Output, trace
from onrecord.policies.sql.lineage.trace import Cache

from .world import CATALOG

BLOCKS = (Path(__file__).parent / "data" / "statements.txt").read_text(encoding="utf-8").strip().split("\n\n")
STATEMENTS = [block.split("\n", 1)[0] for block in BLOCKS]


def traced(sql: str, catalog: Catalog | None = CATALOG, path: tuple[str, ...] = ("public",)) -> Lineage:
    (lineage,) = trace(sql, search_path=path, catalog=catalog)
    return lineage


def written(sources: frozenset[str]) -> list[str]:
    return sorted(source.removeprefix("public.") for source in sources)


def output(found: Output) -> str:
    return f"{found.name}:{'+'.join(written(found.sources))}{'=' if found.plain else ''}{'!' if found.unsure else ''}"


def block(sql: str, lineage: Lineage) -> str:
    """The statement and its lineage as data/statements.txt has them."""
    lines = [sql]
    if lineage.outputs is None or lineage.outputs:
        lines.append("= " + ("*" if lineage.outputs is None else " ".join(map(output, lineage.outputs))))
    for sign, names, unsure in (
        ("?", lineage.predicates, lineage.unsure_predicates),
        (">", lineage.flows, lineage.unsure_flows),
    ):
        if names or unsure:
            lines.append(" ".join([sign, *written(names), *["!"][: int(unsure)]]))
    return "\n".join(lines)


@pytest.mark.parametrize("expected", BLOCKS, ids=STATEMENTS)
def test_a_statement_has_the_lineage_that_is_written_down(expected):
    sql = expected.split("\n", 1)[0]
    assert block(sql, traced(sql)) == expected


WORDS = sorted({word for statement in STATEMENTS for word in statement.split()})


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=40))
def test_no_text_raises(sql):
    for lineage in trace(sql, search_path=("public",), catalog=CATALOG):
        assert lineage.outputs is None or all(isinstance(found.sources, frozenset) for found in lineage.outputs)


@given(st.sampled_from(STATEMENTS), st.sampled_from(STATEMENTS), st.data())
def test_no_half_of_one_statement_with_half_of_another_raises(first, second, data):
    left, right = first.split(), second.split()
    cut, begin = data.draw(st.integers(0, len(left))), data.draw(st.integers(0, len(right)))
    trace(" ".join([*left[:cut], *right[begin:]]), search_path=("public",), catalog=CATALOG)


def test_there_are_enough_statements():
    assert len(set(STATEMENTS)) == len(STATEMENTS) > 340


def test_a_text_of_several_statements_gives_one_lineage_each():
    several = trace("SELECT email FROM customers; SELECT 1", search_path=("public",), catalog=CATALOG)
    assert [len(lineage.outputs or ()) for lineage in several] == [1, 1]


def test_what_does_not_parse_is_unsure():
    assert trace("SELEC", search_path=("public",), catalog=CATALOG) == (UNSURE,)
    assert trace("SELECT \0", search_path=("public",), catalog=CATALOG) == (UNSURE,)


def test_a_text_that_nests_too_deeply_is_unsure():
    sql = "SELECT * FROM (" * 400 + "SELECT email FROM customers" + ") s" * 400
    assert traced(sql) == UNSURE


def test_a_long_chain_of_operators_is_traced():
    (found,) = traced("SELECT " + " || ".join(["email"] * 2000) + " FROM customers").outputs or ()
    assert found.sources == {"public.customers.email"}
    assert not found.unsure


def test_recursive_queries_inside_each_other_end():
    sql = "SELECT email AS a FROM customers"
    for depth in range(24):
        sql = (
            f"WITH RECURSIVE w{depth}(a) AS (SELECT name FROM customers UNION ALL SELECT x.a FROM w{depth}, ({sql}) x)"
        )
        sql += f" SELECT a FROM w{depth}"
    lineage = traced(sql)
    assert lineage == UNSURE or "public.customers.email" in (lineage.outputs or ())[0].sources


def test_columns_that_double_with_every_level_end():
    steps = ", ".join(f"w{n} AS (SELECT a.*, b.* FROM w{n - 1} a, w{n - 1} b)" for n in range(1, 40))
    assert traced(f"WITH w0 AS (SELECT * FROM customers), {steps} SELECT * FROM w39") == UNSURE


def test_without_a_catalog_names_are_taken_from_the_text_for_every_schema():
    lineage = traced("SELECT c.email FROM customers c WHERE name = 'x'", None, ("app", "public"))
    assert lineage.outputs == (
        Output("email", frozenset({"app.customers.email", "public.customers.email"}), unsure=True),
    )
    assert lineage.predicates == {"app.customers.name", "public.customers.name"}
    assert lineage.unsure_predicates


def test_without_a_catalog_a_star_has_no_known_number_of_columns():
    assert traced("SELECT * FROM customers", None).outputs is None


def test_a_bare_name_is_every_relation_of_the_path_that_has_it():
    other = CATALOG.relations[0].__class__(
        oid=2, schema="app", name="customers", kind="r", columns=CATALOG.relations[0].columns
    )
    both = Catalog(relations=(*CATALOG.relations, other))
    (found,) = traced("SELECT email FROM customers", both, ("app", "public")).outputs or ()
    assert found.sources == {"app.customers.email", "public.customers.email"}
    (found,) = traced("SELECT email FROM public.customers", both, ("app", "public")).outputs or ()
    assert found.sources == {"public.customers.email"}


def test_a_new_catalog_gives_a_new_answer():
    sql = "SELECT email FROM customers"
    assert (traced(sql).outputs or ())[0].plain
    assert (traced(sql, Catalog()).outputs or ())[0].unsure


def test_prepared_statements_and_cursors_carry_what_they_will_return():
    for sql, use, name in (
        ("PREPARE p AS SELECT email FROM customers", "prepares", "p"),
        ("DECLARE k CURSOR FOR SELECT email FROM customers", "declares", "k"),
    ):
        lineage = traced(sql)
        assert (lineage.outputs, lineage.use, lineage.name) == ((), use, name)
        assert lineage.inner == traced("SELECT email FROM customers")


@pytest.mark.parametrize(
    ("sql", "use", "name"),
    [
        ("EXECUTE p(1)", "executes", "p"),
        ("FETCH 3 FROM k", "fetches", "k"),
        ("EXPLAIN EXECUTE p", "executes", "p"),
        ("CREATE TABLE t AS EXECUTE p", "executes", "p"),
    ],
)
def test_who_uses_a_prepared_statement_or_a_cursor_says_which(sql, use, name):
    lineage = traced(sql)
    assert (lineage.use, lineage.name) == (use, name)
    assert lineage.unsure_flows


def test_a_view_that_cannot_be_read_is_unsure_under_its_own_names():
    broken = CATALOG.relations[8]
    broken = broken.__class__(
        oid=1, schema="public", name="people", kind="v", columns=broken.columns, definition="no select"
    )
    (found,) = traced("SELECT mail FROM people", Catalog(relations=(broken,))).outputs or ()
    assert found == Output("mail", frozenset({"public.people.mail"}), unsure=True)


def test_views_that_refer_to_each_other_end():
    def view(name: str, other: str):
        relation = CATALOG.relations[8]
        return relation.__class__(
            oid=1, schema="public", name=name, kind="v", columns=relation.columns, definition=f"SELECT * FROM {other}"
        )

    lineage = traced("SELECT mail FROM a", Catalog(relations=(view("a", "b"), view("b", "a"))))
    assert (lineage.outputs or ())[0].unsure


def test_the_cache_forgets_the_oldest():
    cache = Cache(entries=2)
    for name in "abc":
        cache.put((name, (), 0), (UNSURE,))
    assert len(cache) == 2
    assert cache.get(("a", (), 0)) is None
    assert cache.get(("c", (), 0)) == (UNSURE,)
    small = Cache(size=10)
    small.put(("a", (), 0), (UNSURE,))
    assert len(small) == 0


def test_what_newer_servers_read_as_syntax_may_return_what_a_function_of_the_database_does():
    own = Function(
        oid=1, schema="public", name="json_value", volatility="s", security_definer=False, language="plpgsql"
    )
    catalog = Catalog(relations=CATALOG.relations, functions=(own,))
    (value, query) = traced("SELECT json_value(note, '$'), json_query(note, '$') FROM orders", catalog).outputs or ()
    assert value.unsure
    assert value.sources == query.sources == {"public.orders.note"}
    assert not query.unsure
