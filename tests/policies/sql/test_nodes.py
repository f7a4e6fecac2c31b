"""The table of statements is complete, and what is not in it is unknown."""

from __future__ import annotations

import re
from pathlib import Path

import pgparse  # type: ignore[import-not-found]
import pytest

from onrecord.policies.sql.analysis import analyse
from onrecord.policies.sql.nodes import ALTER_TABLE_ADMIN, ALTER_TABLE_WRITE, STATEMENTS
from onrecord.policies.sql.walker import HANDLERS, UTILITY, Walker

# Nodes that exist in PostgreSQL's sources but are never the root of a raw parse tree.
_INTERNAL = {"RawStmt", "PlannedStmt", "SetOperationStmt", "XactStmt"}


def grammar_words(pattern: bytes) -> set[str]:
    """Names compiled into the parser itself."""
    return {name.decode() for name in re.findall(pattern, Path(pgparse.__file__).read_bytes())}


def test_every_statement_of_the_grammar_has_an_entry():
    names = grammar_words(rb"(?<=[\0.])([A-Z][A-Za-z]+Stmt)(?=\0)") - _INTERNAL
    assert len(names) > 100
    assert names - set(STATEMENTS) == set()


def test_every_alter_table_subcommand_is_write_or_admin():
    names = grammar_words(rb"(?<=\0)(AT_[A-Z][A-Za-z]+)(?=\0)")
    assert len(names) > 50
    assert names - ALTER_TABLE_WRITE - ALTER_TABLE_ADMIN == set()


def test_a_statement_that_is_not_in_the_table_is_unknown():
    walker = Walker(("public",))
    walker.run("FutureStmt", {"relation": {"relname": "orders"}})
    assert (walker.action, walker.kind, walker.written) == ("unknown", "FUTURE", {"public.orders"})


def test_an_alter_table_subcommand_that_is_not_known_is_unknown():
    walker = Walker(("public",))
    walker.run("AlterTableStmt", {"cmds": [{"AlterTableCmd": {"subtype": "AT_Future"}}], "relation": {"relname": "t"}})
    assert walker.action == "unknown"


def test_handlers_are_for_nodes_that_exist():
    assert set(UTILITY) <= set(STATEMENTS)
    assert {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"} <= set(HANDLERS)


@pytest.mark.parametrize(
    "sql", ["explain select f()", "create view v as select f()", "declare c cursor for select f()"]
)
def test_a_statement_is_as_strong_as_its_strongest_part(sql):
    assert analyse(sql).statements[0].action == "unknown"
