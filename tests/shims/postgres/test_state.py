"""What a session has done to itself: paths, roles, names that it touched. Each test is a transcript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from onrecord.policies.sql import Statement, analyse
from onrecord.shims.postgres.settings import PathError
from onrecord.shims.postgres.state import Before, SessionState


@dataclass
class Names:
    """In the place of a CatalogSource."""

    changes: int = 0
    doubts: int = 0
    unsettled: Counter[str] = field(default_factory=Counter)

    def announce(self, names: Iterable[str]) -> None:
        self.unsettled.update(names)

    def withdraw(self, names: Iterable[str]) -> None:
        self.unsettled.subtract(names)
        self.unsettled = +self.unsettled

    def changed(self) -> None:
        self.changes += 1

    def may_have_changed(self) -> None:
        self.doubts += 1


def statements(text: str) -> tuple[Statement, ...]:
    return analyse(text).statements


class Session:
    """A state and a server that does what it is told."""

    def __init__(self, names: Names | None = None) -> None:
        self.names = names or Names()
        self.state = SessionState("svc", self.names)
        self.segment = 0
        self.status = "I"

    def send(self, text: str) -> None:
        self.state.sending(statements(text), self.segment)

    def does(self, text: str, status: str | None = None, tag: str = "") -> None:
        """One Query, answered at once."""
        self.send(text)
        for statement in statements(text):
            self.state.completed((statement,), tag or statement.kind)
        self.answers(status or self.status)

    def answers(self, status: str) -> None:
        self.status = status
        self.state.ready(status, self.segment)
        self.segment += 1

    def fails(self, text: str, status: str = "I") -> None:
        self.send(text)
        self.state.failed()
        self.answers(status)

    def why(self, text: str) -> str:
        *before, last = statements(text)
        return self.state.uncertain(last, Before(before))


def test_paths_add_up():
    session = Session()
    session.does("SET search_path = a, b")
    session.does("RESET search_path")
    session.does("SELECT set_config('search_path', 'c', false)")
    assert session.state.path == ("public", "a", "b", "c")


def test_pg_catalog_behind_another_schema_stays_in_the_union():
    session = Session()
    session.does("SET search_path = pg_catalog, a")
    assert "pg_catalog" not in session.state.path
    session.does("SET search_path = a, pg_catalog")
    assert session.state.path.index("pg_catalog") > 0


def test_the_user_of_a_path_is_the_login_and_every_role_that_was_set():
    session = Session()
    session.does('SET search_path = "$user"')
    assert ",".join(session.state.path) == "public,svc"
    session.does("SET ROLE other")
    assert ",".join(session.state.path) == "public,svc,other"


def test_too_many_schemas_are_an_error():
    with pytest.raises(PathError):
        Session().state.extended([tuple(f"s{i}" for i in range(20))])


def test_what_is_created_means_nothing_until_the_transaction_ends():
    session = Session()
    session.does("BEGIN", "T")
    session.does("CREATE TABLE fresh (a int)", "T")
    assert "fresh" in session.why("SELECT * FROM fresh")
    assert not session.why("SELECT * FROM other")
    session.does("COMMIT", "I")
    assert session.names.changes
    assert not session.why("SELECT * FROM fresh")


def test_what_is_rolled_back_is_forgotten():
    session = Session()
    session.does("BEGIN", "T")
    session.does("CREATE TABLE fresh (a int)", "T")
    session.does("ROLLBACK", "I", "ROLLBACK")
    assert not session.why("SELECT * FROM fresh")


def test_an_earlier_answer_does_not_settle_what_was_sent_later():
    session = Session()
    session.send("SELECT 1")
    session.state.sending(statements("CREATE TABLE fresh (a int)"), 1)  # pipelined
    session.answers("I")
    assert session.why("SELECT * FROM fresh")
    session.answers("I")
    assert not session.why("SELECT * FROM fresh")


def test_temporary_objects_stay_unknown_until_discard():
    session = Session()
    session.does("CREATE TEMP TABLE t (a int)")
    assert "temporary" in session.why("SELECT * FROM t")
    session.does("DROP TABLE t")
    assert session.why("SELECT * FROM t")
    session.does("DISCARD ALL")
    assert not session.why("SELECT * FROM t")


def test_a_discard_in_front_of_a_new_temporary_object_does_not_forget_it():
    session = Session()
    session.does("DISCARD TEMP; CREATE TEMP TABLE t (a int)")
    assert session.why("SELECT * FROM t")


def test_with_pg_temp_in_a_path_every_new_object_may_be_temporary():
    session = Session()
    session.does("SET search_path = pg_temp, public")
    session.does("CREATE TABLE t (a int)")
    assert "temporary" in session.why("SELECT * FROM t")


def test_a_statement_behind_ddl_in_one_text_is_uncertain():
    assert Session().why("CREATE TABLE fresh (a int); SELECT * FROM fresh")
    assert Session().why("SET standard_conforming_strings = off; SELECT 1")
    assert not Session().why("CREATE TABLE fresh (a int); SELECT * FROM other")


def test_what_another_session_is_committing_is_uncertain_here():
    names = Names()
    one, other = Session(names), Session(names)
    one.does("BEGIN", "T")
    one.does("CREATE TABLE fresh (a int)", "T")
    assert not other.why("SELECT * FROM fresh")  # nobody else sees it
    (reading,) = statements("SELECT * FROM fresh")
    assert not other.state.contested(reading)
    one.send("COMMIT")
    assert other.state.contested(reading) == "fresh"
    one.answers("I")
    assert not other.state.contested(reading)


def test_a_call_of_an_unknown_function_makes_the_catalog_suspect_and_a_do_block_distrusted():
    session = Session()
    session.does("SELECT nobody_knows()")
    assert (session.names.changes, session.names.doubts) == (0, 1)
    session.does("DO 'x'")
    assert session.names.changes == 1


def test_an_index_changes_no_tables_meaning():
    session = Session()
    session.does("BEGIN", "T")
    session.does("CREATE INDEX ON t (a)", "T")
    assert not session.why("SELECT * FROM t")


def test_a_session_that_ends_while_its_ddl_runs_tells_the_others():
    names = Names()
    one = Session(names)
    one.send("CREATE TABLE fresh (a int)")
    one.state.close()
    assert names.changes == 1
    assert not names.unsettled


def test_once_sql_may_read_in_another_way_everything_is_uncertain():
    session = Session()
    session.does("SET backslash_quote = on")
    assert "backslash_quote" in session.why("SELECT 1")
    session.does("SET backslash_quote = safe_encoding")
    assert session.why("SELECT 1")  # what ran meanwhile may have done anything


def test_the_role_is_known_when_it_is_settled():
    session = Session()
    session.send("SET ROLE other")
    assert session.state.role == "?"
    session.state.completed(statements("SET ROLE other"), "SET")
    session.answers("I")
    assert session.state.role == "other"
    session.does("RESET ROLE")
    assert session.state.role == "svc"


def test_a_role_that_was_rolled_back_is_the_old_one():
    session = Session()
    session.does("BEGIN", "T")
    session.does("SET ROLE other", "T")
    assert session.state.role == "?"
    session.does("ROLLBACK", "I", "ROLLBACK")
    assert session.state.role == "svc"


def test_a_failed_set_role_changes_nothing():
    session = Session()
    session.fails("SET ROLE nobody")
    assert session.state.role == "svc"


@pytest.mark.parametrize(
    "text", ["SELECT set_config('role', 'x', false)", "SET SESSION AUTHORIZATION x", "SET LOCAL ROLE x"]
)
def test_other_ways_to_a_role_leave_it_unknown(text: str):
    session = Session()
    session.does(text)
    assert session.state.role == "?"


def test_after_another_session_user_reset_role_is_not_the_login():
    session = Session()
    session.does("SET SESSION AUTHORIZATION x")
    session.does("RESET ROLE")
    assert session.state.role == "?"
    session.does("DISCARD ALL")
    assert session.state.role == "svc"


def test_every_change_has_a_version_of_its_own():
    session = Session()
    seen = [session.state.version]
    for text in ("SET search_path = a", "CREATE TEMP TABLE t (a int)", "SET ROLE x", "SET client_encoding = 'SJIS'"):
        session.does(text)
        seen.append(session.state.version)
    assert sorted(set(seen)) == seen


def test_before_15_a_number_that_ends_in_a_name_is_unknown():
    """There NOT (SELECT 0x1)::bool is NOT (SELECT 0 AS x1)::bool, which is true."""
    state = SessionState("svc")
    (statement,) = analyse("DELETE FROM orders WHERE NOT (SELECT 0x1)::bool").statements
    assert state.uncertain(statement) == ""
    state.old_numbers = True
    assert "before PostgreSQL 15" in state.uncertain(statement)
    assert state.uncertain(analyse("DELETE FROM orders WHERE id = 1").statements[0]) == ""
