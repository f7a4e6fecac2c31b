"""Functions are read only if they are listed as such."""

from __future__ import annotations

import pytest

from onrecord.policies.sql.functions import FIELDS, LISTED, OPERATORS, STABLE, classify


@pytest.mark.parametrize(
    "name", ["lower", "count", "now", "pg_get_viewdef", "jsonb_agg", "array_agg", "to_char", "random"]
)
def test_harmless_built_ins_read(name):
    assert classify(name) == ("read", "")


@pytest.mark.parametrize(
    "name", ["query_to_xml", "table_to_xml", "database_to_xml", "cursor_to_xml", "ts_stat", "dblink", "dblink_exec"]
)
def test_what_runs_sql_given_as_text_is_unknown(name):
    assert classify(name)[0] == "unknown"


@pytest.mark.parametrize("name", ["my_function", "LOWER", "pg_catalog.lower", "", "uuid_generate_v4"])
def test_other_names_are_unknown(name):
    assert classify(name)[0] == "unknown"


def test_the_hand_made_list_says_nothing_else_than_the_list_of_stable_functions():
    assert {name for name, (action, _) in LISTED.items() if action != "read"} & STABLE == set()


def test_no_function_that_writes_files_or_runs_code_is_in_the_list_of_stable_functions():
    marks = ("pg_read", "pg_ls_", "_slot_get", "_slot_advance", "terminate", "cancel", "set_config", "_handler")
    assert {name for name in STABLE if any(mark in name for mark in marks)} == set()


def test_operators_are_those_of_the_catalog():
    assert {"=", "<>", "||", "->>", "@>", "~~"} <= OPERATORS
    assert "<=>" not in OPERATORS


def test_fields_of_built_in_rows_are_no_dangerous_functions():
    assert not FIELDS & LISTED.keys()
