"""Conditions that cover every value between them, and those that leave none."""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies.sql.opposites import CONTRARY, OPPOSITES, complements


def column(name: str = "a") -> dict[str, Any]:
    return {"ColumnRef": {"fields": [{"String": {"sval": name}}]}}


def number(value: int) -> dict[str, Any]:
    return {"A_Const": {"ival": {"ival": value} if value else {}}}


def compared(name: str, left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {
        "A_Expr": {"kind": "AEXPR_OP", "name": [{"String": {"sval": name}}], "lexpr": left, "rexpr": right},
    }


@pytest.mark.parametrize(
    ("first", "second", "covers"),
    [
        (("=", 5), ("<>", 5), True),
        (("<", 5), (">=", 5), True),
        ((">", 5), ("<", 9), True),
        (("<>", 5), ("<>", 6), True),
        (("<", 5), (">", 5), False),
        ((">", 9), ("<", 5), False),
        (("=", 5), ("=", 6), False),
    ],
)
def test_two_comparisons_that_leave_no_value_out(first: tuple[str, int], second: tuple[str, int], covers: bool) -> None:
    args = [compared(name, column(), number(value)) for name, value in (first, second)]
    assert complements(args, OPPOSITES) is covers
    assert complements(args[::-1], OPPOSITES) is covers


def test_a_constant_on_the_left_is_read_the_other_way_round() -> None:
    args = [compared(">", number(5), column()), compared(">=", column(), number(5))]
    assert complements(args, OPPOSITES)


def test_comparisons_of_different_columns_cover_nothing() -> None:
    args = [compared("=", column("a"), number(5)), compared("<>", column("b"), number(5))]
    assert not complements(args, OPPOSITES)


def test_no_value_is_two_things_at_once() -> None:
    args = [compared("=", column(), number(value)) for value in (5, 6)]
    assert complements(args, CONTRARY)
    assert not complements([args[0], args[0]], CONTRARY)


def test_a_condition_and_its_negation_cover_everything() -> None:
    one = compared("=", column(), number(5))
    assert complements([one, {"BoolExpr": {"boolop": "NOT_EXPR", "args": [one]}}], OPPOSITES)
