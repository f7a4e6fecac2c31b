"""Constants fold, and expressions that say the same are the same."""

from __future__ import annotations

from decimal import Decimal

import pgparse  # type: ignore[import-not-found]
import pytest

from onrecord.policies.sql.constants import compare, constant, is_cast, same


def expression(text: str):
    (raw,) = pgparse.parse(f"select {text}")
    return raw["stmt"]["SelectStmt"]["targetList"][0]["ResTarget"]["val"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", (1,)), ("1 + 2", (3,)), ("1.50", (Decimal("1.5"),)), ("'a'::text", ("a",)), ("null", (None,)), ("a", None)],
)
def test_constants_fold(text, value):
    assert constant(expression(text)) == value


@pytest.mark.parametrize(("left", "right"), [("a", "a + 0"), ("a", "1 * a"), ("+a", "least(a, a)"), ("a::int", "a")])
def test_what_changes_nothing_is_looked_through(left, right):
    assert same(expression(left), expression(right))


@pytest.mark.parametrize(("left", "right"), [("a", "a + 1"), ("a", "0 - a"), ("a", "least(a, b)"), ("a", "b")])
def test_other_expressions_differ(left, right):
    assert not same(expression(left), expression(right))


def test_only_sure_comparisons_are_answered():
    assert compare("<", 1, Decimal("1.5"))
    assert compare("<>", "a", "b")
    assert compare("<", "a", "B") is None  # a collation decides
    assert compare("=", 1, "1") is None
    assert compare("@>", 1, 1) is None


def test_a_cast_of_a_constant_is_told_from_the_constant():
    assert is_cast(expression("'01'::int"))
    assert is_cast(expression("1 + '01'::int"))
    assert not is_cast(expression("true"))
