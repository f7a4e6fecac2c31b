"""The corpora of statements: what each one is, reads, writes and calls."""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.model import Identity, Resource, Run, Session, SqlCommand
from onrecord.policies.sql import SqlError, Statement, analyse, loses_data
from onrecord.policies.sql.analysis import MAX_STATEMENTS, _Cache
from onrecord.policies.sql.errors import SqlTooLarge

CORPORA = Path(__file__).parents[2] / "corpora" / "sql"


def rows(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (CORPORA / name).read_text(encoding="utf-8").splitlines()]


def one(sql: str, **options) -> Statement:
    (statement,) = analyse(sql, **options).statements
    return statement


@pytest.mark.parametrize("row", rows("statements.jsonl"), ids=lambda row: row["sql"][:60])
def test_statement_is_what_the_corpus_says(row):
    found = one(row["sql"])
    assert {
        "sql": row["sql"],
        "kind": found.kind,
        "action": found.action,
        "read": sorted(found.tables_read),
        "written": sorted(found.tables_written),
        "functions": sorted(found.functions),
        "has_where": found.has_where,
    } == row


@pytest.mark.parametrize(
    "row", rows("clients.jsonl"), ids=lambda row: f"{row['client']}-{crc32(row['sql'].encode()) % 10**6}"
)
def test_what_clients_ask_by_themselves_only_reads(row):
    for statement in analyse(row["sql"]).statements:
        assert (statement.action, statement.reasons) == ("read", ())


@pytest.mark.parametrize("sql", ["", "   ", ";;;", "-- nothing", "/* /* */ */"])
def test_blank_text_has_no_statements(sql):
    assert analyse(sql).statements == ()


@pytest.mark.parametrize("sql", ["SEL/**/ECT 1", "select 1 from", "'", "select\0 1", "select '\ud800'", "selec"])
def test_what_does_not_parse_is_an_sql_error(sql):
    with pytest.raises(SqlError):
        analyse(sql)


def test_each_statement_has_its_own_slice_in_bytes_that_are_not_characters():
    texts = [statement.text for statement in analyse("select 'é' ;; delete from ü; /* € */ select 1 -- end").statements]
    assert texts == ["select 'é'", "delete from ü", "/* € */ select 1 -- end"]


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("select email from customers", {"public.customers.email"}),
        ("select c.email from customers c, orders", {"public.customers.email"}),
        ("select * from customers", {"public.customers.*"}),
        ("select c from customers c", {"public.customers.*", "public.customers.c"}),
        ("select x.b from customers as x (a, b)", {"public.customers.*", "public.customers.b"}),
        ("select email from (select 1) x", {"*.email"}),
        (
            "with x as (select email from customers) select * from x, orders",
            {"public.customers.email", "public.orders.*"},
        ),
        ("copy customers to stdout", {"public.customers.*"}),
        ("delete from customers where email = 'x'", {"public.customers.email"}),
        ("select count(*) from customers", set()),
    ],
)
def test_columns_carry_their_relation(sql, columns):
    assert set(one(sql).columns_read) == columns


def test_a_bare_name_stands_for_each_schema_of_the_search_path():
    assert set(one("select * from orders", search_path=("a", "b")).tables_read) == {"a.orders", "b.orders"}
    assert "orders" in one("select * from orders", search_path=("a",)).tables_read


def test_a_search_path_that_puts_a_schema_before_the_catalog_makes_built_ins_unknown():
    assert one("select lower('X')", search_path=("evil", "pg_catalog")).action == "unknown"
    assert one("select 1 + 1", search_path=("evil", "pg_catalog")).action == "unknown"
    assert one("select lower('X')", search_path=("pg_catalog", "public")).action == "read"


@pytest.mark.parametrize(
    ("sql", "settings"),
    [
        ("set role x", (("role", "x"),)),
        ("set local SEARCH_PATH to a, b", (("search_path", "a, b"),)),
        ("set names 'latin1'", (("client_encoding", "latin1"),)),
        ("reset role", (("role", None),)),
        ("set standard_conforming_strings to default", (("standard_conforming_strings", None),)),
        ("reset all", (("*", None),)),
        ("discard all", (("*", None),)),
        ("select set_config('ROLE', 'x', true)", (("role", "x"),)),
        ("select set_config($1, 'x', true)", (("?", None),)),
        ("select set_config('search_path', $1, true)", (("search_path", "?"),)),
        ("select set_config('search_path', null, true)", (("search_path", "?"),)),
        ("alter role x set row_security = off", (("row_security", "off"),)),
        ("set transaction read write", (("transaction_read_only", "0"),)),
        ("with x as (select set_config('search_path', 'evil', false)) select * from x", (("search_path", "evil"),)),
    ],
)
def test_settings_are_reported_however_they_change(sql, settings):
    assert one(sql).settings == settings


@pytest.mark.parametrize(
    ("sql", "transaction"),
    [
        ("begin", "begin"),
        ("start transaction read only", "begin"),
        ("end", "commit"),
        ("abort", "rollback"),
        ("savepoint a", "savepoint"),
        ("release a", "release"),
        ("rollback to a", "rollback to"),
        ("prepare transaction 'a'", "prepare"),
        ("commit prepared 'a'", "commit prepared"),
        ("select 1", ""),
    ],
)
def test_transaction_words(sql, transaction):
    assert one(sql).transaction == transaction


def test_sql_level_prepared_statements_name_themselves():
    assert one("prepare p as select $1::int + $3").prepares == "p"
    assert one("prepare p as select $1::int + $3").parameters == 3
    assert one("execute p (1)").executes == "p"
    assert one("explain analyze execute p").executes == "p"
    assert one("create table x as execute p").executes == "p"
    assert one("deallocate p").deallocates == "p"
    assert one("deallocate all").deallocates == "*"


@pytest.mark.parametrize(
    ("sql", "mode"),
    [
        ("copy t from stdin", "in"),
        ("copy t to stdout", "out"),
        ("copy t to '/x'", "file"),
        ("copy t from program 'x'", "program"),
        ("select 1", ""),
    ],
)
def test_copy_says_where_the_data_goes(sql, mode):
    assert one(sql).copy == mode


def test_alter_that_drops_a_column_loses_data():
    assert loses_data("alter table orders add x int, drop column note")
    assert not loses_data("alter table orders add x int")
    assert loses_data("not sql")


def test_a_part_that_is_unknown_hides_no_part_that_is_admin():
    assert one("select evil(), pg_read_file('x')").action == "unknown"
    for text in ("select evil(), pg_read_file('x')", "explain select pg_read_file('x'), evil()"):
        assert {"admin", "unknown"} <= one(text).actions


@pytest.mark.parametrize("using", ["note", "note::int", "orders.note::int::text"])
def test_a_column_cast_to_its_new_type_keeps_its_data(using):
    assert not loses_data(f"alter table orders alter note type text using {using}")


@pytest.mark.parametrize("using", ["''", "null", "other", "left(note, 0)", "note::varchar(1)"])
def test_a_column_whose_values_are_replaced_loses_data(using):
    assert loses_data(f"alter table orders alter note type text using {using}")


def test_analysis_is_shared_and_cannot_be_changed():
    statement = one("select 1")
    assert one("select 1") is statement
    with pytest.raises(AttributeError):
        statement.kind = "DELETE"  # type: ignore[misc]


def test_detail_json_is_what_the_command_records():
    statement = one("delete from orders where id = 1 returning now()")
    session = Session(
        id="s",
        run=Run("r"),
        identity=Identity(issuer="i", subject="s"),
        resource=Resource(name="orders", type="postgres"),
        protocol="postgres",
        client="",
        started_at=0,
    )
    command = SqlCommand(
        session=session,
        action=statement.action,
        text=statement.text,
        kind=statement.kind,
        tables_read=statement.tables_read,
        tables_written=statement.tables_written,
        columns_read=statement.columns_read,
        functions=statement.functions,
        has_where=statement.has_where,
    )
    assert msgspec.json.decode(statement.detail_json) == command.detail()
    assert statement.detail_json is statement.detail_json


def test_the_cache_forgets_the_least_recently_used():
    cache = _Cache(2, 10**6)
    empty = analyse("")
    for text in "abc":
        cache.put((text, (), 0), empty)
        cache.get(("a", (), 0))
    assert cache.get(("b", (), 0)) is None
    assert cache.get(("a", (), 0)) is empty


def test_the_cache_is_bounded_by_bytes():
    cache = _Cache(1000, 10_000)
    for number in range(100):
        cache.put((str(number), (), 0), analyse("select 1; select 2"))
    assert len(cache) < 5


def test_a_letter_that_looks_like_space_stays_in_the_text():
    assert one("select 1 as \u00a0").text == "select 1 as \u00a0"


def test_an_object_on_pg_settings_is_admin():
    assert one("create view v as select * from pg_settings").action == "admin"


_WORDS = (
    "select delete from orders where id = 1 ( ) , ; ' \" $$ $a$ -- /* */ \n E' U&\" with x as insert into values "
    "* . :: [ ] + null true update set é 😀 \\ returning copy to stdout explain analyze prepare p"
)
_FRAGMENTS = st.sampled_from(_WORDS.split(" "))


@given(st.lists(_FRAGMENTS, max_size=30).map(" ".join) | st.text(max_size=60))
def test_junk_raises_only_sql_errors(sql):
    try:
        analysis = analyse(sql)
    except SqlError:
        return
    for statement in analysis.statements:
        assert statement.detail_json


_STATEMENTS = st.sampled_from(
    ["select 1", "select 'é;'", "delete from ü", "select $$;$$", 'select ";" from t', "begin"]
)


@given(st.lists(_STATEMENTS, min_size=1, max_size=6), st.sampled_from([";", " ; ", ";\n-- c\n;", "; /* é */ "]))
def test_slices_of_a_text_are_its_statements(statements, separator):
    found = analyse(separator.join(statements)).statements
    assert len(found) == len(statements)
    for part, statement in zip(statements, found, strict=True):
        assert statement.text.endswith(part)
        assert one(statement.text).kind == statement.kind


def test_a_text_of_more_statements_than_can_be_decided_at_once_is_too_large():
    assert len(analyse("SELECT 1;" * MAX_STATEMENTS).statements) == MAX_STATEMENTS
    with pytest.raises(SqlTooLarge, match="takes at most 2000"):
        analyse("SELECT 1;" * (MAX_STATEMENTS + 1))
