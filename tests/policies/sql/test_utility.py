"""Statements that are no queries, where their options decide."""

from __future__ import annotations

import pytest

from onrecord.policies.sql import analyse


@pytest.mark.parametrize(
    "options",
    [
        "analyze",
        "(analyze)",
        "(analyze on)",
        "(analyze 1)",
        "(analyze 'true')",
        "(analyze off, analyze on)",
        "(ANALYZE yes)",
    ],
)
def test_explain_that_runs_its_statement_is_that_statement(options):
    statement = analyse(f"explain {options} delete from orders").statements[0]
    assert (statement.kind, statement.action, statement.has_where) == ("DELETE", "write", False)


@pytest.mark.parametrize("options", ["", "verbose", "(analyze off)", "(analyze false)", "(analyze 0)", "(costs off)"])
def test_explain_that_only_plans_reads(options):
    statement = analyse(f"explain {options} delete from orders").statements[0]
    assert (statement.kind, statement.action) == ("EXPLAIN", "read")
    assert set(statement.tables_read) == {"public.orders"}
    assert not statement.tables_written


@pytest.mark.parametrize(
    "sql",
    [
        "alter function f() rename to g",
        "alter role a rename to b",
        "alter policy p on orders rename to q",
        "alter function f() set schema s",
        "alter type t set (send = f)",
        "create operator + (function = f, leftarg = int, rightarg = int)",
        "drop function f()",
        "drop server s",
        "alter database d set role = x",
    ],
)
def test_what_moves_code_or_rights_is_admin(sql):
    assert analyse(sql).statements[0].action == "admin"


@pytest.mark.parametrize(
    "sql", ["alter table a rename b to c", "alter table a set schema s", "alter type t rename to u"]
)
def test_what_moves_only_names_of_data_is_write(sql):
    assert analyse(sql).statements[0].action == "write"


def test_a_view_option_decides_whose_rights_are_used():
    assert analyse("alter table t set (fillfactor = 70)").statements[0].action == "write"
    assert analyse("alter view v reset (security_invoker)").statements[0].action == "admin"
