"""What the catalog changes for real sessions: views, functions, DDL of this session and of others, a dead catalog."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from onrecord.policies.config import SecretRef
from onrecord.policies.model import Command, SqlCommand
from onrecord.policies.verdict import Allow, Deny, Ruling
from tests.conftest import Shop
from tests.helpers import wait_until
from tests.shims.postgres.conftest import Shim, resource_of, start_shim

DDL = """
CREATE TABLE secrets (id int, note text);
CREATE TABLE things (id int, name text);
INSERT INTO secrets VALUES (1, 'hush');
CREATE VIEW harmless AS SELECT note FROM secrets;
CREATE FUNCTION purge() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM things';
"""


def rule(command: Command) -> Ruling:
    assert isinstance(command, SqlCommand)
    if "secrets" in command.tables_read:
        return Ruling(Deny("secrets are not for agents"), "guard")
    if command.action == "unknown":
        return Ruling(Deny("cannot be understood"), "onrecord:unknown")
    return Ruling(Allow(), "guard")


@pytest.fixture
def database(shop: Shop) -> str:
    """A database of its own, which the gateway's login owns."""
    name = f"catalog_{uuid.uuid4().hex[:12]}"
    shop.server.sql(f"CREATE DATABASE {name} OWNER {shop.user}")
    with psycopg.connect(shop.server.dsn(shop.user, shop.password, name), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA app")
        connection.execute("SET search_path = app")
        for statement in DDL.strip().split(";\n"):
            connection.execute(statement)
    return name


@pytest.fixture
def gate(tmp_path: Path, shop: Shop, database: str) -> Iterator[Shim]:
    resource = resource_of(shop, catalog="auto", database=database)
    for started in start_shim(tmp_path / "state", {"orders": resource}, {"SHOP_PASSWORD": shop.password}):
        started.engine.rule = rule
        yield started


@pytest.fixture
def session(gate: Shim) -> Iterator[psycopg.Connection]:
    with gate.connect(options="-c search_path=app") as connection:
        yield connection


def beside(shop: Shop, database: str, text: str) -> None:
    """DDL by somebody who does not come through the gateway."""
    with psycopg.connect(shop.server.dsn(shop.user, shop.password, database), autocommit=True) as connection:
        connection.execute(text)


def test_a_view_over_a_denied_table_is_denied(session: psycopg.Connection):
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="secrets are not for agents"):
        session.execute("SELECT * FROM harmless")
    assert session.execute("SELECT count(*) FROM things").fetchone() == (0,)


def test_a_select_of_a_function_that_deletes_is_no_read(gate: Shim, session: psycopg.Connection):
    gate.engine.rule = lambda command: Ruling(Allow() if command.action == "read" else Deny("reads only"), "guard")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("SELECT purge()")


def test_a_table_made_by_this_session_is_known_once_it_is_committed(session: psycopg.Connection):
    session.execute("CREATE TABLE fresh (a int)")
    assert session.execute("SELECT count(*) FROM fresh").fetchone() == (0,)


def test_a_table_made_in_an_open_transaction_is_unknown_until_commit(session: psycopg.Connection):
    with session.transaction():
        session.execute("CREATE TABLE fresh (a int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
            session.execute("SELECT * FROM fresh")
    assert session.execute("SELECT * FROM fresh").fetchall() == []


def test_a_view_replaced_in_an_open_transaction_says_nothing_of_its_tables(session: psycopg.Connection):
    session.execute("CREATE VIEW plain AS SELECT name FROM things")
    assert session.execute("SELECT * FROM plain").fetchall() == []
    session.execute("BEGIN")
    session.execute("CREATE OR REPLACE VIEW plain AS SELECT 'x'::text AS name")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="plain"):
        session.execute("SELECT * FROM plain")
    session.execute("ROLLBACK")
    assert session.execute("SELECT * FROM plain").fetchall() == []


def test_a_text_that_creates_and_uses_is_unknown(session: psycopg.Connection):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("CREATE TABLE fresh (a int); SELECT * FROM fresh")


def test_a_temporary_table_is_unknown_until_discard(session: psycopg.Connection):
    session.execute("CREATE TEMP TABLE things (a int)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="temporary"):
        session.execute("SELECT * FROM things")
    session.execute("DISCARD ALL")
    assert session.execute("SELECT * FROM app.things").fetchall() == []


def test_ddl_of_others_is_found_when_a_name_is_missed(
    gate: Shim, session: psycopg.Connection, shop: Shop, database: str
):
    session.execute("SELECT * FROM things")
    gate.on_loop(lambda: setattr(gate.server._catalogs["orders"], "_began", float("-inf")))  # it is old enough
    beside(shop, database, "CREATE TABLE app.later (a int)")
    assert session.execute("SELECT * FROM later").fetchall() == []


def test_ddl_of_another_session_counts_at_once(gate: Shim, session: psycopg.Connection):
    session.execute("CREATE VIEW window_to AS SELECT name FROM things")
    with gate.connect(options="-c search_path=app") as other:
        assert other.execute("SELECT * FROM window_to").fetchall() == []
        session.execute("DROP VIEW window_to")
        gate.engine.rule = lambda command: Ruling(Allow(), "guard")
        session.execute("CREATE VIEW window_to AS SELECT note FROM secrets")
        gate.engine.rule = rule
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="secrets"):
            other.execute("SELECT * FROM window_to")


def test_a_prepared_statement_means_what_it_means_now(gate: Shim, session: psycopg.Connection):
    session.execute("CREATE VIEW window_to AS SELECT name FROM things")
    assert session.execute("SELECT * FROM window_to", prepare=True).fetchall() == []
    gate.engine.rule = lambda command: Ruling(Allow(), "guard")
    with gate.connect(options="-c search_path=app") as other:
        other.execute("CREATE OR REPLACE VIEW window_to AS SELECT note AS name FROM secrets")
    gate.engine.rule = rule
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="secrets"):
        session.execute("SELECT * FROM window_to", prepare=True)


def test_search_path_may_change_and_every_schema_of_it_counts(session: psycopg.Connection):
    session.execute("SET search_path = public")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="secrets"):
        session.execute("SET search_path = app; SELECT * FROM secrets")
    session.execute("SELECT set_config('search_path', 'app', false)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="secrets"):
        session.execute("SELECT * FROM secrets")
    assert session.execute("SHOW search_path").fetchone() == ("app",)


def test_a_search_path_that_the_text_does_not_tell_is_refused(session: psycopg.Connection):
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="search_path"):
        session.execute("SELECT set_config('search_path', 'a' || 'pp', false)")


def test_a_killed_side_connection_is_replaced(gate: Shim, session: psycopg.Connection, shop: Shop, database: str):
    session.execute("SELECT * FROM things")
    shop.server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE application_name = 'onrecord catalog' AND datname = '{database}'"
    )
    session.execute("CREATE TABLE fresh (a int)")
    assert session.execute("SELECT * FROM fresh").fetchall() == []


def test_without_a_readable_catalog_only_built_ins_are_known(tmp_path: Path, shop: Shop, database: str):
    resource = resource_of(shop, catalog="auto", database=database, catalog_user="nobody_such")
    for gate in start_shim(tmp_path / "strict", {"orders": resource}, {"SHOP_PASSWORD": shop.password}):
        gate.engine.rule = rule
        with gate.connect(options="-c search_path=app") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            connection.execute("SELECT relname FROM pg_catalog.pg_class LIMIT 1")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="the catalog cannot be read"):
                connection.execute("SELECT * FROM things")


def test_a_fetch_is_decided_as_the_query_of_its_cursor(gate: Shim, session: psycopg.Connection):
    gate.engine.rule = lambda command: Ruling(Allow(), "guard")
    with session.transaction():
        session.execute("DECLARE c CURSOR FOR SELECT * FROM secrets")
        session.execute("FETCH 1 FROM c")
    last = next(command for command in reversed(gate.engine.asked) if command.text.startswith("FETCH"))
    assert isinstance(last, SqlCommand)
    assert "secrets" in last.tables_read


def test_a_login_without_any_right_reads_the_catalog(tmp_path: Path, shop: Shop, database: str):
    name = f"reader_{uuid.uuid4().hex[:8]}"
    shop.server.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret-enough'")
    reference = SecretRef("env", "READER")
    resource = resource_of(shop, catalog="auto", database=database, catalog_user=name, catalog_password=reference)
    env = {"SHOP_PASSWORD": shop.password, "READER": "secret-enough"}
    for gate in start_shim(tmp_path / "reader", {"orders": resource}, env):
        gate.engine.rule = rule
        denied = pytest.raises(psycopg.errors.InsufficientPrivilege, match="secrets")
        with gate.connect(options="-c search_path=app") as connection, denied:
            connection.execute("SELECT * FROM harmless")
    shop.server.sql(f"DROP ROLE {name}")


def test_sql_that_reads_in_another_way_makes_the_rest_unknown(tmp_path: Path, shop: Shop, database: str):
    resource = resource_of(shop, catalog="auto", database=database, unknown="allow")
    for gate in start_shim(tmp_path / "lax", {"orders": resource}, {"SHOP_PASSWORD": shop.password}):
        gate.engine.rule = lambda command: Ruling(Allow(), "guard")
        with gate.connect() as connection:
            connection.execute("SET standard_conforming_strings = off")
            connection.execute("SELECT 1")
        assert [command.action for command in gate.engine.asked][-2:] == ["unknown", "unknown"]


def test_texts_of_another_encoding_pass_as_unknown_and_are_on_record(tmp_path: Path, shop: Shop, database: str):
    resource = resource_of(shop, catalog="auto", database=database, unknown="allow")
    for gate in start_shim(tmp_path / "lax", {"orders": resource}, {"SHOP_PASSWORD": shop.password}):
        gate.engine.rule = lambda command: Ruling(Allow(), "guard")
        with gate.connect() as connection:
            connection.execute("SET client_encoding = 'LATIN1'")
            assert connection.execute("SELECT 'é'").fetchone() == ("é",)
            assert connection.execute("SELECT 'é' || %s", ["x"]).fetchone() == ("éx",)
        assert "\\xe9" in gate.engine.asked[-1].text


def test_an_end_of_all_sessions_leaves_nothing_running(gate: Shim, session: psycopg.Connection):
    session.execute("SELECT 1")
    session.close()
    gate.wait_ended()
    wait_until(lambda: gate.on_loop(lambda: gate.server._catalogs["orders"]._keeper is None), what="the keeper to end")


def test_the_schema_of_the_login_is_found_as_the_server_finds_it_by_default(gate: Shim, shop: Shop, database: str):
    with psycopg.connect(shop.server.dsn(shop.user, shop.password, database), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {shop.user}")
        connection.execute(f"CREATE VIEW {shop.user}.mine AS SELECT note FROM app.secrets")
        connection.execute(f"CREATE TABLE {shop.user}.own AS SELECT 1 AS id")
    with gate.connect() as connection:
        assert connection.execute("SELECT id FROM own").fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="secrets"):
            connection.execute("SELECT * FROM mine")


def test_a_relation_that_is_nowhere_is_reported_by_the_server(gate: Shim):
    with gate.connect() as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM nowhere_at_all")
