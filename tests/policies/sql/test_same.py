"""Texts that mean the same, and texts that only look so."""

from __future__ import annotations

import pytest

from onrecord.policies.sql.same import same_sql


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select 1", "SELECT\n  1"),
        ("SELECT a<>b FROM t", "SELECT a != b\nFROM t"),
        ("SELECT 1; SELECT 2", "SELECT 1;\nSELECT 2;"),
    ],
)
def test_white_space_and_spelling_do_not_matter(one: str, other: str):
    assert same_sql(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT 1", "SELECT 2"),
        ("SELECT 'a'", "SELECT 'b'"),
        ("SELECT 1; DELETE FROM t", "SELECT 1"),
        ("SELECT now()", "SELECT CURRENT_TIMESTAMP"),
        ('SELECT "A"', "SELECT a"),
        ("SELEKT", "SELEKT"),
        ("SELECT 1::int", "SELECT 1"),
    ],
)
def test_another_value_or_name_is_another_statement(one: str, other: str):
    assert not same_sql(one, other)
