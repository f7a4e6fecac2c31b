"""What names stand for under a catalog: views, partitions, rules, triggers, functions, operators, casts."""

from __future__ import annotations

import msgspec
import pytest

from onrecord.policies.sql import Statement, analyse
from onrecord.policies.sql.catalog import Catalog, Operator, TypeInfo
from onrecord.policies.sql.known import known
from tests.policies.sql.snapshots import TABLES, function, relation, snapshot, view


def one(sql: str, catalog: Catalog, *path: str) -> Statement:
    (statement,) = analyse(sql, search_path=path or ("public",), catalog=catalog).statements
    return statement


def action(sql: str, *things, casts: str = "") -> str:
    return one(sql, snapshot(*TABLES, *things, casts=casts)).action


# Relations

VIEWS = snapshot(
    *TABLES,
    view(
        "public.buyers",
        " SELECT customers.id,\n    customers.name\n   FROM public.customers\n  WHERE gone;",
        "public.customers",
    ),
    view("public.again", "SELECT id FROM public.buyers;", "public.buyers"),
    view(
        "public.sums",
        "SELECT sum(total) AS id FROM public.orders JOIN public.payments USING (id)",
        "public.orders public.payments",
    ),
    view("public.frozen", "SELECT public.wipe() AS id FROM public.orders", "public.orders", kind="m"),
    view("public.wiping", "SELECT public.wipe() AS id"),
    view("public.lost", "", "public.customers"),
    view("public.who", "SELECT usename AS id FROM pg_shadow"),
    function("public.wipe", "DELETE FROM customers; SELECT 1"),
)


def test_a_view_reads_itself_and_what_its_definition_reads_to_any_depth():
    assert set(one("select * from again", VIEWS).tables_read) == {"public.again", "public.buyers", "public.customers"}
    assert {"public.buyers.id", "public.customers.name", "public.customers.gone"} <= one(
        "select * from again", VIEWS
    ).columns_read


def test_a_view_that_calls_a_function_does_what_the_function_does_under_the_path_of_the_session():
    found = one("select * from wiping", VIEWS)
    assert (found.action, found.kind, set(found.tables_written)) == ("write", "DELETE", {"public.customers"})
    assert not found.has_where


def test_a_materialised_view_reads_its_tables_and_calls_nothing():
    found = one("select * from frozen", VIEWS)
    assert (found.action, set(found.tables_read)) == ("read", {"public.frozen", "public.orders"})
    assert one("refresh materialized view frozen", VIEWS).tables_written >= {"public.frozen", "public.customers"}


def test_a_view_whose_definition_is_missing_is_unknown_and_names_what_it_depends_on():
    found = one("select * from lost", VIEWS)
    assert (found.action, "customers" in found.tables_read) == ("unknown", True)


def test_a_view_on_password_hashes_is_admin():
    assert one("select * from who", VIEWS).action == "admin"


def test_changing_a_simple_view_changes_its_table_and_changing_another_reads_its_tables():
    assert set(one("delete from again where id = 1", VIEWS).tables_written) == {
        "public.again",
        "public.buyers",
        "public.customers",
    }
    found = one("update sums set id = 1", VIEWS)
    assert set(found.tables_written) == {"public.sums"}
    assert {"public.orders", "public.payments"} <= found.tables_read


def test_a_definition_of_a_view_does_not_change_its_tables():
    assert set(one("drop view buyers", VIEWS).tables_written) == {"public.buyers"}


TREE = snapshot(
    *TABLES,
    relation("public.events", children=("public.events_1", "public.far")),
    relation("public.events_1", parents=("public.events",), trigger_functions=("audit.note",)),
    relation("public.far", kind="f", parents=("public.events",)),
)


def test_a_table_stands_for_its_descendants_and_a_child_for_its_ancestors():
    found = one("select * from events", TREE)
    assert set(found.tables_read) == {"public.events", "public.events_1", "public.far"}
    assert set(found.foreign_tables) == {"public.far"}
    assert set(one("select * from only events", TREE).tables_read) == {"public.events"}
    found = one("select id from events_1", TREE)
    assert set(found.tables_read) == {"public.events", "public.events_1"}
    assert set(found.columns_read) == {"public.events.id", "public.events_1.id"}


@pytest.mark.parametrize(
    "sql", ["delete from events", "truncate events", "copy events from stdin", "drop table events"]
)
def test_a_change_of_a_parent_is_one_of_its_children(sql):
    assert {"public.events", "public.events_1", "public.far"} <= one(sql, TREE).tables_written


def test_triggers_and_rules_stand_in_functions_tables_and_reasons():
    catalog = snapshot(*TABLES, relation("public.ruled", rule_tables=("audit.log",), trigger_functions=("audit.note",)))
    found = one("insert into ruled values (1)", catalog)
    assert (found.action, set(found.tables_written)) == ("write", {"public.ruled", "audit.log"})
    assert "audit.note" in found.functions
    assert found.reasons == ("write: audit.note runs by a trigger or a rule on public.ruled",)
    assert one("select * from ruled", catalog).functions == frozenset()
    assert "audit.note" in one("delete from events", TREE).functions


def test_tables_whose_foreign_keys_cascade_change_too():
    catalog = snapshot(
        relation("public.a", referenced_by=("public.b", "public.d"), cascades=("public.b",)),
        relation("public.b", referenced_by=("public.a", "public.c"), cascades=("public.a", "public.c")),
        relation("public.c", trigger_functions=("audit.note",)),
        relation("public.d"),
        view("public.v", "SELECT id FROM public.a", "public.a"),
    )
    for sql in ("delete from a where id = 1", "update a set id = 2", "delete from v"):
        found = one(sql, catalog)
        assert {"public.a", "public.b", "public.c"} <= found.tables_written
        assert "d" not in found.tables_written
        assert "audit.note" in found.functions
    assert set(one("insert into a values (1)", catalog).tables_written) == {"public.a"}
    assert set(one("truncate a", catalog).tables_written) == {"public.a"}
    assert "public.d" in one("truncate a cascade", catalog).tables_written


def test_what_the_catalog_does_not_have_is_unknown_with_a_reason_and_plants_nothing():
    found = one("select * from nope", VIEWS)
    assert (found.action, found.ddl) == ("unknown", False)
    assert found.reasons == ("unknown: relation nope is not in the catalog: it is new, temporary or not there",)
    assert one("select * from pg_temp.x", VIEWS).action == "unknown"
    assert one("select * from pg_catalog.nope", VIEWS).action == "unknown"
    assert one("insert into nope values (1)", VIEWS).action == "unknown"
    found = one("select nope()", VIEWS)
    assert (found.action, found.ddl, found.creates) == ("unknown", True, ("*",))


@pytest.mark.parametrize(
    "sql",
    [
        "create table fresh (id int references customers, up int references fresh)",
        "create view fresh as select * from customers",
        "drop index some_index",
        "create table fresh (like customers)",
        "alter table if exists nope add x int",
    ],
)
def test_what_a_definition_makes_need_not_be_there(sql):
    assert one(sql, VIEWS).action == "write"


def test_a_bare_name_is_what_the_schemas_of_the_path_really_have():
    catalog = snapshot(*TABLES, relation("other.orders"), relation("third.orders"))
    assert set(one("select * from orders", catalog, "other", "public", "fourth").tables_read) == {
        "other.orders",
        "public.orders",
    }
    assert set(one("select * from customers", catalog, "other", "public").tables_read) == {"public.customers"}
    assert set(one("select * from pg_class", catalog, "other").tables_read) == {"pg_catalog.pg_class"}
    assert one("select * from information_schema.tables", catalog).action == "read"
    assert one("select * from tables", catalog, "information_schema").action == "read"


def test_a_relation_before_the_catalog_in_the_path_stands_beside_the_built_in():
    catalog = snapshot(*TABLES, relation("public.pg_class"))
    found = one("select * from pg_class", catalog, "public", "pg_catalog")
    assert set(found.tables_read) == {"public.pg_class", "pg_catalog.pg_class"}


def test_columns_belong_to_the_relations_that_have_them():
    assert set(one("select name, total from customers, orders", VIEWS).columns_read) == {
        "public.customers.name",
        "public.orders.total",
    }
    assert "public.customers.*" in one("select c.to_json from customers c", VIEWS).columns_read


# Functions

PURGE = function("public.purge", "DELETE FROM customers; SELECT 1")


def test_a_select_that_calls_a_function_which_deletes_is_no_read():
    found = one("select purge()", snapshot(*TABLES, PURGE))
    assert (found.action, found.kind, found.has_where) == ("write", "DELETE", False)
    assert set(found.tables_written) == {"public.customers"}
    assert set(found.functions) == {"public.purge"}
    careful = function("public.purge", "DELETE FROM customers WHERE id = $1")
    assert one("select purge(1)", snapshot(*TABLES, careful)).has_where


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (function("public.f", volatility="i"), "read"),
        (function("public.f", volatility="i", language="c"), "read"),
        (function("public.f", volatility="i", definer=True), "unknown"),
        (function("public.f", volatility="s"), "unknown"),
        (function("public.f", volatility="s", language="c"), "unknown"),
        (function("public.f", volatility="s", language="c", extension="postgis"), "read"),
        (function("public.f", volatility="s", language="c", extension="tablefunc"), "unknown"),
        (function("public.f", volatility="v"), "unknown"),
        (function("public.f", volatility="v", language="c", extension="postgis"), "unknown"),
        (function("public.f", "SELECT 1"), "read"),
        (function("public.f", "SELECT count(*) FROM customers", volatility="s"), "read"),
        (function("public.f", "SELECT pg_read_file('x')"), "admin"),
        (function("public.f", "no sql at all"), "unknown"),
        (function("public.f", "", language="sql"), "unknown"),
        (function("public.f", "BEGIN ATOMIC\n INSERT INTO audit.log DEFAULT VALUES;\n SELECT 1;\nEND"), "write"),
        (function("public.f", "RETURN (SELECT max(id) FROM public.orders)"), "read"),
        (function("public.f", "COMMIT"), "unknown"),
        (function("public.f", "CREATE ROLE x"), "admin"),
        (function("public.f", "EXECUTE p"), "unknown"),
        (function("public.f", kind="a", volatility="i", language="internal"), "unknown"),
        (function("public.f", kind="a", volatility="i", language="internal", extension="postgis"), "read"),
        (function("public.f", kind="a", volatility="i", support=("pg_catalog.int4pl",)), "read"),
        (function("public.f", kind="a", volatility="i", support=("public.purge",)), "write"),
        (function("public.f", kind="a", volatility="i", support=("public.gone",)), "unknown"),
        (function("public.f", kind="w", volatility="v", language="c"), "unknown"),
    ],
)
@pytest.mark.parametrize("call", ["select f(1)", "select public.f(1)", "select f(id) over () from orders"])
def test_a_function_is_what_its_volatility_and_body_say(made, expected, call):
    assert action(call, made, PURGE) == expected


@pytest.mark.parametrize(
    ("name", "extension", "expected"),
    [
        ("uuid_generate_v4", "uuid-ossp", "read"),
        ("gen_salt", "pgcrypto", "read"),
        ("gen_salt", "other", "unknown"),
        ("dblink", "dblink", "unknown"),
        ("pg_file_write", "adminpack", "admin"),
        ("set_limit", "pg_trgm", "unknown"),
    ],
)
def test_functions_of_extensions(name, extension, expected):
    made = function(f"public.{name}", language="c", extension=extension)
    assert action(f"select {name}('x')", made) == expected


def test_a_function_that_runs_with_its_owners_rights_says_so():
    made = function("public.f", "SELECT id FROM customers", definer=True)
    found = one("select f()", snapshot(*TABLES, made))
    assert (found.action, "customers" in found.tables_read) == ("read", True)
    assert found.reasons == ("read: function public.f runs with the rights of its owner",)


def test_a_function_runs_under_its_own_path_or_else_that_of_the_session():
    catalog = snapshot(
        *TABLES,
        relation("mine.customers"),
        function("public.own", "DELETE FROM customers", search_path=("mine",)),
        function("public.callers", "DELETE FROM customers"),
        function("public.users", "DELETE FROM customers", search_path=("$user", "audit")),
    )
    assert set(one("select public.own()", catalog, "public").tables_written) == {"mine.customers"}
    assert set(one("select public.callers()", catalog, "mine").tables_written) == {"mine.customers"}
    assert set(one("select public.users()", catalog, "mine").tables_written) == {"mine.customers"}


def test_functions_that_call_each_other_end():
    catalog = snapshot(
        *TABLES,
        function("public.a", "SELECT public.b(); DELETE FROM orders"),
        function("public.b", "SELECT public.a(), count(*) FROM customers"),
    )
    for name in ("b", "a"):
        found = one(f"select {name}()", catalog)
        assert (set(found.tables_written), "customers" in found.tables_read) == ({"public.orders"}, True)


def test_a_long_chain_of_functions_is_unknown_and_not_an_error():
    chain = [function(f"public.f{n}", f"SELECT public.f{n + 1}()") for n in range(400)]
    catalog = snapshot(*chain, function("public.f400", "SELECT 1"))
    assert one("select f0()", catalog).action == "unknown"
    assert one("select f399()", catalog).action == "read"


def test_a_function_that_runs_much_else_is_followed_within_bounds():
    wide = [
        function(f"public.f{n}", "".join(f"SELECT public.f{n + 1}({k}), public.g{k}();" for k in range(5)))
        for n in range(12)
    ]
    catalog = snapshot(
        *wide, function("public.f12", "SELECT 1"), *(function(f"public.g{k}", "SELECT 1") for k in range(5))
    )
    assert one("select f0()", catalog).action == "read"


def test_all_overloads_count_and_those_of_a_built_in_name_too():
    catalog = snapshot(*TABLES, function("public.lower"), function("public.f", "SELECT 1"), function("public.f"))
    assert one("select lower('x')", catalog).action == "unknown"
    assert set(one("select lower('x')", catalog).functions) == {"lower", "public.lower"}
    assert one("select pg_catalog.lower('x')", catalog).action == "read"
    assert one("select lower('x')", catalog, "audit").action == "read"
    assert one("select f()", catalog).action == "unknown"


def test_a_procedure_is_what_it_does():
    catalog = snapshot(*TABLES, function("public.p", "TRUNCATE orders", kind="p"), function("public.q", kind="p"))
    found = one("call p()", catalog)
    assert (found.action, found.kind, set(found.tables_written)) == ("write", "TRUNCATE", {"public.orders"})
    assert one("call q()", catalog).action == "unknown"
    assert one("call nope()", catalog).action == "unknown"
    assert one("do 'x'", catalog).action == "unknown"


def test_settings_that_a_function_changes_are_the_statements():
    catalog = snapshot(function("public.f", "SELECT set_config('search_path', 'evil', false)"))
    assert one("select f()", catalog).settings == (("search_path", "evil"),)


def test_what_a_function_defines_the_statement_defines():
    catalog = snapshot(*TABLES, function("public.f", "CREATE TABLE fresh (); ALTER TABLE orders DROP COLUMN note"))
    found = one("select f()", catalog)
    assert (found.ddl, set(found.creates), found.kind) == (True, {"fresh", "orders"}, "DROP")


FIELD = [
    "select ('x'::text).f",
    "select o.f from orders o",
    "select orders.f from orders",
    "select x.f from (select 1 as id) x",
    "with x as (select 1 as id) select x.f from x",
    "select x.f from lower('x') x",
    "select (orders).f from orders",
]


@pytest.mark.parametrize("sql", FIELD)
def test_a_function_in_the_notation_of_a_field_is_called(sql):
    made = function("public.f", arguments=("public.orders",))
    assert action(sql, made) == "unknown"
    assert action(sql, function("public.g", arguments=("public.orders",))) == "read"


def test_a_column_is_no_call():
    made = function("public.note", arguments=("public.orders",))
    assert action("select o.note from orders o", made) == "read"


def test_without_a_catalog_a_function_of_another_schema_is_unknown():
    assert analyse("select public.purge()").statements[0].action == "unknown"
    assert analyse("call purge()").statements[0].action == "unknown"


# Operators and casts

EVIL = function("public.evil", arguments=("pg_catalog.int4", "pg_catalog.int4"))


@pytest.mark.parametrize(
    ("name", "sql"),
    [
        ("+++~", "select 1 +++~ 2"),
        ("+", "select 1 + 2"),
        ("+", "select 1 operator(public.+) 2"),
        ("=", "select id = 1 from orders"),
        ("=", "select id in (1, 2) from orders"),
        ("=", "select * from orders natural join payments"),
        ("=", "select case id when 1 then 2 end from orders"),
        (">=", "select id between 1 and 2 from orders"),
        ("~~", "select note like 'x' from orders"),
        ("=", "select id = any (select 1) from orders"),
        ("<", "select id from orders order by id using <"),
    ],
)
def test_an_operator_is_what_its_function_is(name, sql):
    assert action(sql, EVIL, Operator("public", name, "public.evil")) == "unknown"
    harmless = function("public.evil", volatility="i")
    assert action(sql, harmless, Operator("public", name, "public.evil")) == "read"
    if name != "+++~" and "operator(" not in sql:
        assert action(sql, EVIL, Operator("audit", name, "public.evil")) == "read"


def test_an_operator_that_nobody_knows_is_unknown():
    assert action("select 1 +++~ 2") == "unknown"


MOOD = TypeInfo(oid=90_001, schema="public", name="mood", kind="e")
TO_TEXT = function("public.to_text", arguments=("public.mood",), returns="pg_catalog.text")


def moody(name: str):
    made = relation(name)
    column = msgspec.structs.replace(made.columns[0], type="public.mood", type_oid=90_001)
    return msgspec.structs.replace(made, columns=(column,))


@pytest.mark.parametrize(
    "sql",
    [
        "select 'x'::mood",
        "select cast('x' as public.mood)",
        "select id::text from moods",
        "insert into moods values ('x')",
        "select lower(id) from moods",
        "select $1::text",
        "select give()",
    ],
)
def test_a_cast_of_a_type_that_is_not_built_in_calls_its_function(sql):
    things = (moody("public.moods"), MOOD, function("public.give", "SELECT 1", returns="public.mood"))
    assert action(sql, *things, TO_TEXT, casts="public.to_text") == "unknown"
    harmless = function("public.to_text", volatility="i", arguments=("public.mood",), returns="pg_catalog.text")
    assert action(sql, *things, harmless, casts="public.to_text") in {"read", "write"}


def test_a_cast_between_other_types_does_not_matter():
    assert action("select id::text from orders", MOOD, TO_TEXT, casts="public.to_text") == "read"
    built_in = function("public.to_int", arguments=("pg_catalog.text",), returns="pg_catalog.int4")
    assert action("select 1", built_in, casts="public.to_int") == "unknown"


def test_a_type_in_the_notation_of_a_function_is_a_cast():
    assert action("select mood('x')", MOOD) == "read"
    assert action("select public.mood('x')", MOOD) == "read"
    assert action("select mood('x')", MOOD, TO_TEXT, casts="public.to_text") == "unknown"


# Bounds


def test_answers_are_kept_with_the_catalog_and_bounded():
    catalog = snapshot(*TABLES)
    assert known(catalog, ("a",)) is known(catalog, ("a",))
    for number in range(200):
        known(catalog, (str(number),))
    assert len(catalog.__dict__["known"]) <= 64


def test_two_catalogs_never_share_an_analysis():
    sql = "select id from thing where id = 1"
    assert action(sql, relation("public.thing")) == "read"
    assert action(sql) == "unknown"
    assert action(sql, relation("public.thing", kind="f")) == "read"
    assert analyse(sql).statements[0].action == "read"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("json", "json('x')"),
        ("json_scalar", "json_scalar('x')"),
        ("json_serialize", "json_serialize('x')"),
        ("json_value", "json_value('a', '$')"),
        ("json_query", "json_query('a', '$')"),
        ("json_exists", "json_exists('a', '$')"),
        ("json_array", "json_array('a', 'b')"),
        ("json_array", "json_array(SELECT 1)"),
        ("json_object", "json_object(1, 2)"),
        ("json_object", "json_object('a': 1)"),
        ("json_arrayagg", "json_arrayagg('a')"),
        ("json_objectagg", "json_objectagg('a': 1)"),
        ("merge_action", "merge_action()"),
    ],
)
def test_what_newer_servers_read_as_syntax_may_be_a_function_of_the_database(name: str, call: str):
    """PostgreSQL 15 calls the function that was made for compatibility, and that may do anything."""
    assert action(f"SELECT {call}") == "read"
    wipes = function(f"public.{name}", "DELETE FROM customers; SELECT 1")
    found = one(f"SELECT {call}", snapshot(*TABLES, wipes))
    assert (found.action, found.kind, set(found.tables_written)) == ("write", "DELETE", {"public.customers"})
    assert name in found.mentions
