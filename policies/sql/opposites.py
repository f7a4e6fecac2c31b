"""Conditions that cover every value between them (`a < b OR a >= b`), and those that leave none. Pure."""

from __future__ import annotations

from typing import Any

from onrecord.policies.sql.constants import bare, compare, constant, operator_name

Node = dict[str, Any]

# What is true of every value but NULL when either holds, and what is true of none when both do.
OPPOSITES = {"=": {"<>"}, "<": {">=", ">"}, ">": {"<=", "<"}, "<=": {">", ">="}, ">=": {"<", "<="}}
CONTRARY = {"=": {"<>"}, "<": {">=", ">"}, ">": {"<=", "<"}, "<=": {">"}, ">=": {"<"}}
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def complements(args: list[Node], pairs: dict[str, set[str]]) -> bool:
    """`x IS NULL OR x IS NOT NULL`, `x OR NOT x`, `a < b OR a >= b`, `a > 5 OR a < 9`."""
    if len(args) > 16:
        return False
    plain = [bare(arg) for arg in args]
    return any(_opposite(a, b, pairs) or _opposite(b, a, pairs) for i, a in enumerate(plain) for b in plain[i + 1 :])


_TESTS = {"IS_TRUE": "IS_NOT_TRUE", "IS_FALSE": "IS_NOT_FALSE", "IS_UNKNOWN": "IS_NOT_UNKNOWN"}


def _opposite(left: Node, right: Node, pairs: dict[str, set[str]]) -> bool:
    negation = right.get("BoolExpr")
    if negation and negation.get("boolop") == "NOT_EXPR" and negation["args"][0] == left:
        return True
    one, other = left.get("NullTest"), right.get("NullTest")
    if one and other:
        return bool(one.get("arg") == other.get("arg") and one.get("nulltesttype") != other.get("nulltesttype"))
    one, other = left.get("BooleanTest"), right.get("BooleanTest")
    if one and other:
        kinds = one.get("booltesttype", "IS_TRUE"), other.get("booltesttype", "IS_TRUE")
        return bool(one.get("arg") == other.get("arg") and _TESTS.get(kinds[0]) == kinds[1])
    one, other = _sides(left), _sides(right)
    return one is not None and other is not None and one[1] == other[1] and _cover(one, other, pairs)


def _sides(node: Node) -> tuple[str, Node, Node] | None:
    """(operator, left, right) of a comparison, a constant on the right."""
    fields = node.get("A_Expr", {})
    name, left, right = operator_name(fields), fields.get("lexpr"), fields.get("rexpr")
    if fields.get("kind") != "AEXPR_OP" or not left or not right:
        return None
    if constant(left) and not constant(right):
        return _FLIPPED.get(name, name), right, left
    return name, left, right


def _cover(one: tuple[str, Node, Node], other: tuple[str, Node, Node], pairs: dict[str, set[str]]) -> bool:
    first, second = one[0], other[0]
    if one[2] == other[2]:
        return {first, second} != {"<", ">"} and second in pairs.get(first, set())
    low, high = constant(one[2]), constant(other[2])
    if low is None or high is None or type(low[0]) is not type(high[0]):
        return False
    if isinstance(low[0], bool):
        return pairs is OPPOSITES and (first, second) in {("=", "="), ("<>", "<>")}
    if pairs is CONTRARY:
        return (first, second) == ("=", "=")
    if first in {">", ">="} and second in {"<", "<="}:
        return bool(compare("<", low[0], high[0]))
    return (first, second) == ("<>", "<>")
