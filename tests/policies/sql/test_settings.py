"""What changing a setting means."""

from __future__ import annotations

import pgparse  # type: ignore[import-not-found]
import pytest

from onrecord.policies.sql import analyse
from onrecord.policies.sql.settings import changes_of, classify_setting, constant_text


@pytest.mark.parametrize("name", ["statement_timeout", "application_name", "timezone", "work_mem", "client_encoding"])
def test_ordinary_settings_are_harmless(name):
    assert classify_setting(name)[0] == "read"


@pytest.mark.parametrize(
    "name",
    [
        "role",
        "session_authorization",
        "session_replication_role",
        "log_statement",
        "local_preload_libraries",
        "pgaudit.log",
        "auto_explain.log_min_duration",
        "nonsense",
    ],
)
def test_settings_that_reach_further_are_admin(name):
    assert classify_setting(name)[0] == "admin"


@pytest.mark.parametrize(
    "sql",
    [
        "set standard_conforming_strings = off",
        "set local client_encoding to latin1",
        "set names 'sjis'",
        "set backslash_quote = on",
        "set transform_null_equals = true",
        "select set_config('standard_conforming_strings', 'off', false)",
        "select set_config('client_encoding', $1, false)",
        "alter role x set standard_conforming_strings = off",
    ],
)
def test_what_changes_how_texts_read_is_unknown(sql):
    assert analyse(sql).statements[0].action == "unknown"


@pytest.mark.parametrize(
    "sql",
    ["set names 'utf8'", "set standard_conforming_strings to 'on'", "reset client_encoding", "set names default"],
)
def test_what_leaves_texts_as_they_read_only_reads(sql):
    assert analyse(sql).statements[0].action == "read"


def test_settings_of_applications_and_extensions_write():
    assert classify_setting("app.tenant")[0] == "write"


@pytest.mark.parametrize(
    ("sql", "changes"),
    [
        ("set a.b = 1", [("a.b", "1")]),
        ("set a.b = on", [("a.b", "on")]),
        ("set a.b = 1.5", [("a.b", "1.5")]),
        ("set search_path = a, 'B'", [("search_path", "a, B")]),
        ("set session characteristics as transaction read only", [("default_transaction_read_only", "1")]),
        ("set transaction snapshot 'x'", [("transaction_snapshot", "x")]),
        ("reset a.b", [("a.b", None)]),
    ],
)
def test_names_and_values(sql, changes):
    (raw,) = pgparse.parse(sql)
    assert changes_of(raw["stmt"]["VariableSetStmt"]) == changes


def test_a_parameter_is_no_constant():
    assert constant_text({"ParamRef": {"number": 1}}) is None
    assert constant_text(None) is None
