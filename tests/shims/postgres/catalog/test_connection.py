"""The side connection against real servers: what it reads, and how it logs in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from onrecord.policies.secrets import Secrets
from onrecord.policies.sql.catalog import Catalog
from onrecord.shims.postgres.catalog.connection import SideConnection
from onrecord.shims.postgres.catalog.decode import CatalogError
from tests.conftest import Shop
from tests.shims.postgres.conftest import resource_of

DDL = """
CREATE TABLE p (a int, b text) PARTITION BY RANGE (a);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (a);
CREATE TABLE p2 PARTITION OF p1 FOR VALUES FROM (0) TO (5);
CREATE TABLE log (a int);
ALTER TABLE p ADD COLUMN gone int;
ALTER TABLE p DROP COLUMN gone;
CREATE VIEW v AS SELECT b FROM p;
CREATE MATERIALIZED VIEW m AS SELECT a FROM p;
CREATE FUNCTION plain(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT $1';
CREATE FUNCTION atomic(x int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT x + 1; END;
CREATE FUNCTION pathed() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = a, "B c" AS 'SELECT 1';
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION tf();
CREATE RULE r AS ON DELETE TO log DO ALSO INSERT INTO p VALUES (plain(1), '');
CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int);
CREATE TYPE pair AS (one int, two text);
CREATE DOMAIN short AS text;
CREATE FUNCTION to_pair(text) RETURNS pair LANGUAGE sql AS 'SELECT 1, $1';
CREATE CAST (text AS pair) WITH FUNCTION to_pair(text)
"""


@pytest.fixture(scope="module")
def database(shop: Shop) -> str:
    name = f"side_{uuid.uuid4().hex[:12]}"
    shop.server.sql(f"CREATE DATABASE {name} OWNER {shop.user}")
    with psycopg.connect(shop.server.dsn(shop.user, shop.password, name), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA s; SET search_path = s")
        for statement in DDL.split(";\n"):
            connection.execute(statement)
        connection.execute("CREATE TEMP TABLE mine (a int)")
    return name


@pytest.fixture(scope="module")
def catalog(shop: Shop, database: str) -> Iterator[Catalog]:
    side = SideConnection(resource_of(shop, database=database), Secrets({"SHOP_PASSWORD": shop.password}))
    yield side.read()
    side.close()


def test_columns_have_their_types_and_dropped_ones_are_gone(catalog: Catalog):
    columns = catalog.by_name["s.p"].columns
    assert [(column.name, column.number, column.type) for column in columns] == [
        ("a", 1, "pg_catalog.int4"),
        ("b", 2, "pg_catalog.text"),
    ]


def test_ancestors_and_descendants_are_all_there_nearest_first(catalog: Catalog):
    assert catalog.by_name["s.p2"].parents == ("s.p1", "s.p")
    assert catalog.by_name["s.p"].children == ("s.p1", "s.p2")


def test_a_view_has_its_definition_and_what_it_reads(catalog: Catalog):
    view = catalog.by_name["s.v"]
    assert (view.kind, view.reads) == ("v", ("s.p",))
    assert "FROM s.p" in view.definition
    assert catalog.by_name["s.m"].kind == "m"


def test_rules_and_triggers_are_told(catalog: Catalog):
    log = catalog.by_name["s.log"]
    assert log.rule_tables == ("s.p",)
    assert log.trigger_functions == ("s.plain", "s.tf")


def test_functions_have_bodies_where_they_can_be_read(catalog: Catalog):
    functions = {function.name: function for function in catalog.functions}
    assert (functions["plain"].volatility, functions["plain"].body) == ("s", "SELECT $1")
    assert functions["plain"].arguments == ("pg_catalog.int4",)
    assert "x + 1" in functions["atomic"].body
    assert functions["pathed"].search_path == ("a", "B c")
    assert functions["pathed"].security_definer
    assert (functions["tf"].language, functions["tf"].body) == ("plpgsql", "")


def test_operators_casts_and_types_are_told(catalog: Catalog):
    assert [(one.name, one.function) for one in catalog.operators] == [("===", "pg_catalog.int4eq")]
    assert catalog.cast_functions == ("s.to_pair",)
    assert catalog.types_by_name["s.pair"].fields == (("one", 23), ("two", 25))
    assert catalog.types_by_name["s.short"].base == 25
    assert catalog.types_by_name["s._pair"].element == catalog.types_by_name["s.pair"].oid
    assert "s.pair" not in catalog.by_name


def test_neither_temporary_nor_built_in_relations_are_in_it(catalog: Catalog):
    schemas = {relation.schema for relation in catalog.relations}
    assert schemas == {"s"}
    assert set(catalog.schemas) == {"s", "public"}


def test_a_lock_of_a_migration_does_not_keep_the_rest_from_being_read(shop: Shop, database: str):
    side = SideConnection(resource_of(shop, database=database), Secrets({"SHOP_PASSWORD": shop.password}))
    with psycopg.connect(shop.server.dsn(shop.user, shop.password, database)) as migration:
        migration.execute("LOCK TABLE s.p")
        catalog = side.read()
        assert catalog.by_name["s.v"].definition == ""
        assert catalog.by_name["s.v"].reads == ("s.p",)
    assert side.read().by_name["s.v"].definition
    side.close()


def test_the_connection_can_write_nothing(shop: Shop):
    side = SideConnection(resource_of(shop), Secrets({"SHOP_PASSWORD": shop.password}))
    side.read()
    with pytest.raises(Exception, match="read-only"):
        side._open.run("CREATE TABLE public.x (a int)")
    side.close()


def test_a_wrong_password_is_told_without_it(shop: Shop):
    side = SideConnection(resource_of(shop), Secrets({"SHOP_PASSWORD": "wrong-password-here"}))
    with pytest.raises(CatalogError, match="28P01") as caught:
        side.read()
    assert "wrong-password-here" not in str(caught.value)


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(shop: Shop):
    resource = resource_of(shop, sslmode="require")
    with pytest.raises(CatalogError, match="SSL"):
        SideConnection(resource, Secrets({"SHOP_PASSWORD": shop.password})).read()


def test_tls_is_checked_as_for_sessions(tls_shop: Shop):
    secrets = Secrets({"SHOP_PASSWORD": tls_shop.password})
    side = SideConnection(resource_of(tls_shop), secrets)
    assert side.read().by_name["public.customers"]
    side.close()
    with pytest.raises(CatalogError):
        SideConnection(resource_of(tls_shop, ca=None), secrets).read()  # its CA is not known
    with pytest.raises(CatalogError):
        SideConnection(resource_of(tls_shop, sslmode="disable", ca=None), secrets).read()
