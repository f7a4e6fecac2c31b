"""Expressions of constants: literals, what they fold to, and whether two expressions say the same."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

Node = dict[str, Any]

_DEPTH = 64
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub}
_ZERO: Node = {"A_Const": {"ival": {}}}
_ONE: Node = {"A_Const": {"ival": {"ival": 1}}}
_BLANK: Node = {"A_Const": {"sval": {"sval": ""}}}
# `x + 0`, `x * 1`, `x || ''` are x: operator → (the constant, whether it may stand before x).
_NEUTRAL: dict[str, tuple[Node, bool]] = {
    "+": (_ZERO, True),
    "-": (_ZERO, False),
    "*": (_ONE, True),
    "/": (_ONE, False),
    "||": (_BLANK, True),
}


def operator_name(fields: Node) -> str:
    """The operator of an A_Expr without its schema."""
    return str(fields.get("name", [{}])[-1].get("String", {}).get("sval", ""))


def bare(node: Any) -> Any:
    """The tree without source locations and without what changes nothing, so that equal expressions are equal."""
    if isinstance(node, dict):
        return _reduced({key: bare(value) for key, value in node.items() if key != "location"})
    if isinstance(node, list):
        return [bare(item) for item in node]
    return node


def _reduced(node: Node) -> Node:
    """`x` for `+x`, `x + 0`, `x::int`, `least(x, x)`, of a bare tree: they differ from x at most by rounding."""
    if "TypeCast" in node:
        arg: Node = node["TypeCast"].get("arg", {})
        return node if "A_Const" in arg else arg
    several = node.get("MinMaxExpr", node.get("CoalesceExpr"))
    if several is not None:
        args: list[Node] = several.get("args", [])
        return args[0] if args and all(args[0] == arg for arg in args[1:]) else node
    expression: Node | None = node.get("A_Expr")
    if expression is None or expression.get("kind") != "AEXPR_OP":
        return node
    name, left, right = operator_name(expression), expression.get("lexpr", {}), expression.get("rexpr", {})
    if not left:
        plus: Node = right if name == "+" else node
        return plus
    if (name == "-" and left == right) or (name == "*" and (_ZERO in (left, right))):
        return _ZERO
    neutral, before = _NEUTRAL.get(name, (None, False))
    if neutral is not None and right == neutral:
        node = left
    elif before and left == neutral:
        node = right
    return node


def same(left: Node | None, right: Node | None) -> bool:
    """Whether two expressions are written alike, but for what changes nothing."""
    try:
        return left is not None and right is not None and bool(bare(left) == bare(right))
    except RecursionError:
        return True  # too deep to tell: never count it as a choice


def constant(node: Node | None, depth: int = 0) -> tuple[object] | None:
    """A folded constant in a tuple (None inside for NULL), or None where it is none. Casts are looked through."""
    if not node or depth > _DEPTH:
        return None
    if "A_Const" in node:
        return literal(node["A_Const"])
    if "TypeCast" in node:
        return constant(node["TypeCast"].get("arg"), depth + 1)
    expression = node.get("A_Expr")
    if expression is not None and expression.get("kind") == "AEXPR_OP":
        fold = _ARITHMETIC.get(operator_name(expression))
        left = constant(expression.get("lexpr"), depth + 1)
        right = constant(expression.get("rexpr"), depth + 1)
        if fold and left and right and type(left[0]) is int and type(right[0]) is int:
            return (fold(left[0], right[0]),)
    return None


def is_cast(node: Node) -> bool:
    """Whether a constant is the value of a cast, which `constant` does not carry out."""
    if "TypeCast" in node:
        return "boolval" not in node["TypeCast"].get("arg", {}).get("A_Const", {})
    return any(is_cast(node["A_Expr"].get(side, {})) for side in ("lexpr", "rexpr")) if "A_Expr" in node else False


def literal(const: Node) -> tuple[object] | None:
    """The value of an A_Const: None, int, Decimal, bool or str, in a tuple; None for a bit string."""
    if const.get("isnull"):
        return (None,)
    if "ival" in const:
        return (const["ival"].get("ival", 0),)
    if "boolval" in const:
        return (bool(const["boolval"].get("boolval")),)
    if "sval" in const:
        return (const["sval"].get("sval", ""),)
    if "fval" in const:
        try:
            return (Decimal(const["fval"].get("fval", "")),)
        except InvalidOperation:
            return None
    return None


def compare(name: str, left: object, right: object) -> bool | None:
    """What the operator `name` says of two literals; None where only PostgreSQL knows (collations, other types)."""
    test = _COMPARE.get(name)
    numbers = all(isinstance(value, int | Decimal) and not isinstance(value, bool) for value in (left, right))
    if test is None or not (numbers or (type(left) is type(right) and (name in {"=", "<>"} or type(left) is bool))):
        return None
    return test(left, right)
