"""What a statement creates, alters, renames or drops."""

from __future__ import annotations

import pytest

from onrecord.policies.sql import Statement, analyse
from onrecord.policies.sql.definitions import _FIELDS, _NONE, EVERYTHING
from onrecord.policies.sql.nodes import STATEMENTS


def one(sql: str) -> Statement:
    (statement,) = analyse(sql).statements
    return statement


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("create table s.t (a int)", "t"),
        ("create table p partition of t for values in (1)", "p t"),
        ("create table c () inherits (t)", "c t"),
        ("create table t as select 1", "t"),
        ("create table t as execute p", "t"),
        ("select 1 into t", "t"),
        ("create view v as select 1", "v"),
        ("create materialized view v as select 1", "v"),
        ("create index i on t (a)", "t i"),
        ("create sequence s.q", "q"),
        ("alter sequence q cycle", "q"),
        ("create foreign table f (a int) server s", "f"),
        ("create domain s.d as int", "d"),
        ("alter domain s.d drop not null", "d"),
        ("create type s.t as (a int)", "t"),
        ("create type s.t as enum ('a')", "t"),
        ("alter type s.t add value 'x'", "t"),
        ("create type r as range (subtype = int4, multirange_type_name = m)", "r m"),
        ("create type int_range as range (subtype = int4)", "int_range int_multirange int_range_multirange"),
        ("create type t (input = a, output = b)", "t"),
        ("create function s.f() returns int language sql as 'select 1'", "f"),
        ("create procedure s.p() language sql as 'select 1'", "p"),
        ("create aggregate s.a (int) (sfunc = f, stype = int)", "a"),
        ("create operator s.=== (function = f, leftarg = int)", "==="),
        ("alter operator s.=== (int, int) set schema x", "=== x"),
        ("alter operator s.=== (int, int) owner to x", "==="),
        ("create schema s create table t (a int) create view v as select 1", "s t v"),
        ("create schema authorization s", "s"),
        ("create rule r as on insert to t do also delete from u", "t"),
        ("create trigger g before insert on t for each row execute function f()", "t"),
        ("create policy p on t using (true)", "t"),
        ("alter policy p on t using (true)", "t"),
        ("alter table t add a int", "t"),
        ("alter table t add foreign key (a) references u", "t u"),
        ("alter table t attach partition s.p for values in (1)", "t p"),
        ("alter table t detach partition p", "t p"),
        ("alter table t inherit u", "t u"),
        ("alter table t rename to u", "t u"),
        ("alter table t rename a to b", "t b"),
        ("alter table t set schema s", "t s"),
        ("alter view v owner to x", "v"),
        ("alter function f(int) rename to g", "f g"),
        ("alter function f(int) set schema s", "f s"),
        ("alter function f(int) security definer", "f"),
        ("alter function f(int) owner to x", "f"),
        ("alter procedure p() depends on extension e", "p"),
        ("alter type s.t rename to u", "t u"),
        ("alter schema s rename to t", "s t *"),
        ("drop table a.b, c", "b c"),
        ("drop table b cascade", "* b"),
        ("drop function s.f(int), g", "f g"),
        ("drop aggregate a(int)", "a"),
        ("drop operator s.=== (int, int)", "==="),
        ("drop type s.t, u", "t u"),
        ("drop trigger g on s.t", "t g"),
        ("drop schema s", "* s"),
        ("drop extension e", "* e"),
        ("drop cast (int as text)", "* int4 text"),
        ("drop owned by x", "*"),
        ("create extension e", "*"),
        ("create cast (int as text) with function f(int)", "*"),
        ("import foreign schema a from server s into b", "*"),
        ("do 'x'", "*"),
        ("call p()", "*"),
        ("select evil()", "*"),
        ("with x as (select evil()) insert into t select * from x", "*"),
        ("explain analyze create table t as select 1", "t"),
        ("alter table all in tablespace a set tablespace b", "*"),
    ],
)
def test_names_that_change(sql, names):
    found = one(sql)
    assert found.ddl
    assert set(names.split()) <= set(found.creates)
    assert (EVERYTHING in found.creates) == (EVERYTHING in names.split())
    assert set(found.creates) - {EVERYTHING} <= found.mentions
    assert EVERYTHING not in found.mentions or "*" in sql


@pytest.mark.parametrize(
    "sql",
    [
        "select * from t",
        "insert into t values (1)",
        "copy t from stdin",
        "truncate t",
        "refresh materialized view v",
        "comment on table t is 'x'",
        "grant select on t to x",
        "execute p",
        "prepare p as select 1",
        "explain create table t as select 1",
        "discard all",
        "create role x",
        "set search_path = a",
        "vacuum t",
    ],
)
def test_what_leaves_the_catalog_as_it_is(sql):
    assert not one(sql).ddl
    assert one(sql).creates == ()


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("create temp table t (a int)", ("t",)),
        ("create table pg_temp.t (a int)", ("t",)),
        ("create temp view v as select 1", ("v",)),
        ("select 1 into temp t", ("t",)),
        ("create temp table t as select 1", ("t",)),
        ("create temp sequence q", ("q",)),
        ("create function pg_temp.f() returns int language sql as 'select 1'", ("f",)),
        ("drop table pg_temp.t", ("t",)),
        ("select * from pg_temp.t", ()),
        ("discard temp", ()),
        ("discard all", ()),
    ],
)
def test_temporary_objects(sql, names):
    assert one(sql).temporary
    assert one(sql).creates == names


def test_other_objects_are_not_temporary():
    assert not one("create table t (a int)").temporary
    assert not one("discard plans").temporary


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("select a.b, f(c) from s.t a join u using (id) where x === y", {"t", "u", "f", "==="}),
        ("select x::s.mood", {"mood"}),
        ("select (x).f", {"f"}),
        ("select x.f from lower('a') x", {"f", "lower"}),
        ("create view v as select * from t", {"v", "t"}),
        ("create trigger g before insert on t for each row execute function s.f()", {"t", "f"}),
        ("explain select f() from t", {"t", "f"}),
        ("copy (select * from t) to stdout", {"t"}),
        ("declare c cursor for select f()", {"f"}),
    ],
)
def test_names_that_are_mentioned(sql, names):
    assert names <= one(sql).mentions


def test_every_statement_of_the_grammar_is_decided():
    """A node that is in neither table defines everything: those are named here."""

    assert STATEMENTS.keys() - _FIELDS.keys() - _NONE == {
        "AlterExtensionContentsStmt",
        "AlterExtensionStmt",
        "AlterTableMoveAllStmt",
        "CallStmt",
        "CreateCastStmt",
        "CreateExtensionStmt",
        "CreateTransformStmt",
        "DoStmt",
        "DropOwnedStmt",
        "DropStmt",
        "ImportForeignSchemaStmt",
        "LoadStmt",
        "PLAssignStmt",
        "ReassignOwnedStmt",
    }
