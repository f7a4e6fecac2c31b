"""Which settings change how SQL reads, and what a statement makes of search_path."""

from __future__ import annotations

import pytest

from onrecord.policies.sql import Statement, analyse
from onrecord.shims.postgres.settings import PathError, is_local, paths_of, reads_differently


def one(text: str) -> Statement:
    (statement,) = analyse(text).statements
    return statement


@pytest.mark.parametrize(
    ("name", "value", "different"),
    [
        ("client_encoding", "UTF8", False),
        ("client_encoding", "'utf-8'", False),
        ("client_encoding", "SJIS", True),
        ("standard_conforming_strings", "on", False),
        ("standard_conforming_strings", "off", True),
        ("standard_conforming_strings", None, False),
        ("standard_conforming_strings", "?", True),
        ("backslash_quote", "on", True),
        ("backslash_quote", "safe_encoding", False),
        ("transform_null_equals", "on", True),
        ("transform_null_equals", "off", False),
        ("work_mem", "1MB", False),
    ],
)
def test_a_value_that_changes_how_sql_reads_is_told(name: str, value: str | None, different: bool):
    assert reads_differently(name, value) is different


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("SET search_path = a, b", [("a", "b")]),
        ("SET search_path TO 'a, b'", [("a, b",)]),  # one schema of that name
        (f"SET search_path = '{'x' * 70}'", [("x" * 63,)]),  # the server finds the schema of 63 bytes
        ("SET search_path = ''", [()]),
        ("SET LOCAL search_path = A, \"B\", 'C'", [("a", "B", "C")]),
        ("SELECT set_config('search_path', 'A, \"B\"', false)", [("a", "B")]),
        ("SET search_path TO DEFAULT", []),
        ("RESET search_path", []),
        ("SET work_mem = '1MB'", []),
    ],
)
def test_each_path_is_read_as_the_server_reads_it(text: str, paths: list[tuple[str, ...]]):
    assert paths_of(one(text)) == paths


@pytest.mark.parametrize(
    "text",
    [
        "SELECT set_config('search_path', $1, false)",
        "SELECT set_config('search_path', 'a' || 'b', false)",
        "SET search_path FROM CURRENT",
        "SELECT set_config('search_path', 'a,', false)",
    ],
)
def test_a_path_that_the_text_does_not_say_is_an_error(text: str):
    with pytest.raises(PathError):
        paths_of(one(text))


def test_set_local_and_set_config_end_with_the_transaction():
    assert is_local(one("SET LOCAL ROLE x"))
    assert is_local(one("SELECT set_config('role', 'x', true)"))
    assert not is_local(one("SET ROLE x"))
