"""Does a WHERE choose rows? `WHERE true`, `1 = 1`, `id = id`, `x OR true` and `$1` do not.

Only what the text itself proves is vacuous: nothing is known of columns, so `id > 0` counts as a choice.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

Node = dict[str, Any]

# What an expression is for every row: always true, never true (false or NULL), the same for all rows but unknown,
# or different from row to row.
Truth = Literal["true", "never", "same", "varies"]

_DEPTH = 64


class Target(NamedTuple):
    """The relation whose rows a condition chooses: the name it has there, and its own."""

    alias: str
    relation: str


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub}


def is_vacuous(where: Node | None, target: Target | None = None) -> bool:
    """Whether a condition lets all rows through or none by choice; True for a missing one.

    `target` is the relation whose rows are chosen: a column of another relation chooses none of its rows
    (`DELETE FROM orders USING s WHERE s.one = 1`). A column without a relation's name may be the target's.

    `WHERE false` chooses no row and is no danger: not vacuous.
    """
    return where is None or truth(where, 0, target) in {"true", "same"}


def truth(node: Node, depth: int = 0, target: Target | None = None) -> Truth:
    """The truth of an expression over all rows; "same" past `_DEPTH` levels, so that depth hides nothing."""
    if depth > _DEPTH:
        return "same"
    name, fields = next(iter(node.items()))
    handler = _HANDLERS.get(name)
    found = handler(fields, depth + 1, target) if handler is not None else None
    if found is not None:
        return found
    return "varies" if mentions_row(node, target) else "same"


def mentions_row(node: Any, target: Target | None = None) -> bool:
    """Whether a column of the target or the cursor's row may be named below; `*` alone (EXISTS (SELECT * …)) is not.

    In a subquery with a FROM, a column without a relation's name is taken for the subquery's own: whoever refers to the
    target from there must say so (`orders.id`).
    """
    stack: list[tuple[Any, bool, bool]] = [(node, False, False)]
    while stack:
        item, inner, hidden = stack.pop()
        if isinstance(item, list):
            stack.extend((value, inner, hidden) for value in item)
        elif isinstance(item, dict):
            if "CurrentOfExpr" in item:
                return True
            column = item.get("ColumnRef")
            if column is not None and _of_target(column.get("fields", []), target, inner=inner, hidden=hidden):
                return True
            sources = item.get("fromClause") if target is not None else None
            if sources:
                inner, hidden = True, hidden or (target is not None and _names_alias(sources, target.alias))
            stack.extend((value, inner, hidden) for value in item.values() if isinstance(value, dict | list))
    return False


def _names_alias(sources: list[Node], name: str) -> bool:
    """Whether FROM brings in a relation under `name`, which then hides the target's."""
    stack: list[Node] = list(sources)
    while stack:
        for kind, fields in stack.pop().items():
            if kind == "JoinExpr":
                stack += [fields[side] for side in ("larg", "rarg") if side in fields]
            elif isinstance(fields, dict):
                alias = fields.get("alias", {}).get("aliasname") or fields.get("relname")
                if alias == name:
                    return True
    return False


def _of_target(fields: list[Node], target: Target | None, *, inner: bool, hidden: bool) -> bool:
    if not fields or "A_Star" in fields[-1]:
        return False
    if target is None:
        return True
    if len(fields) < 2:
        return not inner
    return not hidden and fields[-2].get("String", {}).get("sval") == target.alias


def bare(node: Any) -> Any:
    """The tree without source locations, so that equal expressions are equal."""
    if isinstance(node, dict):
        return {key: bare(value) for key, value in node.items() if key != "location"}
    if isinstance(node, list):
        return [bare(item) for item in node]
    return node


def same(left: Node | None, right: Node | None) -> bool:
    """Whether two expressions are written alike."""
    try:
        return left is not None and right is not None and bool(bare(left) == bare(right))
    except RecursionError:
        return True  # too deep to tell: never count it as a choice


def constant(node: Node | None, depth: int = 0) -> tuple[object] | None:
    """A folded constant in a tuple (None inside for NULL), or None where it is none."""
    if not node or depth > _DEPTH:
        return None
    if "A_Const" in node:
        return _literal(node["A_Const"])
    if "TypeCast" in node:
        return constant(node["TypeCast"].get("arg"), depth + 1)
    expression = node.get("A_Expr")
    if expression is not None and expression.get("kind") == "AEXPR_OP":
        fold = _ARITHMETIC.get(_operator(expression))
        left = constant(expression.get("lexpr"), depth + 1)
        right = constant(expression.get("rexpr"), depth + 1)
        if fold and left and right and isinstance(left[0], int) and isinstance(right[0], int):
            return (fold(left[0], right[0]),)
    return None


def _literal(const: Node) -> tuple[object] | None:
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
            return (float(const["fval"].get("fval", "")),)
        except ValueError:
            return None
    return None


def _operator(fields: Node) -> str:
    return str(fields.get("name", [{}])[-1].get("String", {}).get("sval", ""))


def _const(fields: Node, depth: int, target: Target | None) -> Truth | None:  # noqa: ARG001
    value = _literal(fields)
    if value is None:
        return "same"
    if isinstance(value[0], str):
        text = value[0].strip().lower()
        falsy = text in {"0", "no", "off", "n"} or (text != "" and "false".startswith(text))
        return "never" if falsy else "true"
    return "true" if value[0] else "never"


def _cast(fields: Node, depth: int, target: Target | None) -> Truth | None:
    return truth(fields["arg"], depth, target) if "arg" in fields else None


def _bool(fields: Node, depth: int, target: Target | None) -> Truth | None:
    kind, args = fields.get("boolop"), fields.get("args", [])
    parts = [truth(arg, depth, target) for arg in args]
    if kind == "NOT_EXPR":
        flipped: dict[Truth, Truth] = {"true": "never", "never": "true", "same": "same", "varies": "varies"}
        return flipped[parts[0]]
    if kind == "AND_EXPR":
        if "never" in parts:
            return "never"
        if "varies" in parts:
            return "varies"
        return "same" if "same" in parts else "true"
    if "true" in parts:
        return "true"
    if "same" in parts or _complements(args):
        return "same"
    return "varies" if "varies" in parts else "never"


def _complements(args: list[Node]) -> bool:
    """`x IS NULL OR x IS NOT NULL`, `x OR NOT x`, `a < b OR a >= b`."""
    if len(args) > 16:
        return False
    plain = [bare(arg) for arg in args]
    return any(_opposite(a, b) or _opposite(b, a) for i, a in enumerate(plain) for b in plain[i + 1 :])


_OPPOSITES = {"=": {"<>"}, "<": {">=", ">"}, ">": {"<=", "<"}, "<=": {">", ">="}, ">=": {"<", "<="}}


def _opposite(left: Node, right: Node) -> bool:
    negation = right.get("BoolExpr")
    if negation and negation.get("boolop") == "NOT_EXPR" and negation["args"][0] == left:
        return True
    one, other = left.get("NullTest"), right.get("NullTest")
    if one and other:
        return bool(one.get("arg") == other.get("arg") and one.get("nulltesttype") != other.get("nulltesttype"))
    one, other = left.get("A_Expr"), right.get("A_Expr")
    if one and other and one.get("lexpr") == other.get("lexpr") and one.get("rexpr") == other.get("rexpr"):
        first, second = _operator(one), _operator(other)
        return {first, second} != {"<", ">"} and second in _OPPOSITES.get(first, set())
    return False


def _expression(fields: Node, depth: int, target: Target | None) -> Truth | None:
    kind, name = fields.get("kind"), _operator(fields)
    left, right = fields.get("lexpr"), fields.get("rexpr")
    if left and right and target is None and kind == "AEXPR_OP" and "ColumnRef" in left and _is_plain(right):
        return "varies"  # `id = $1`: by far the most common condition
    if kind in {"AEXPR_OP", "AEXPR_NOT_DISTINCT", "AEXPR_DISTINCT"}:
        return _comparison(kind == "AEXPR_NOT_DISTINCT", name, left, right, depth, target)
    if kind in {"AEXPR_LIKE", "AEXPR_ILIKE"}:
        pattern = constant(right)
        if name in {"~~", "~~*"} and pattern and isinstance(pattern[0], str) and pattern[0].strip("%") == "":
            return "same" if pattern[0] else None
    if kind == "AEXPR_IN" and left is not None:
        items = (right or {}).get("List", {}).get("items", [])
        if name == "=" and len(items) <= 64 and any(same(left, item) for item in items):
            return "same"
    if kind == "AEXPR_BETWEEN":
        bounds = (right or {}).get("List", {}).get("items", [])
        if len(bounds) == 2 and same(left, bounds[0]) and same(left, bounds[1]):
            return "same"
    return None


def _is_plain(node: Node) -> bool:
    return "ParamRef" in node or "ival" in node.get("A_Const", {})


def _comparison(
    not_distinct: bool, name: str, left: Node | None, right: Node | None, depth: int, target: Target | None
) -> Truth | None:
    first, second = constant(left), constant(right)
    if first and second and name in _COMPARE:
        if first[0] is None or second[0] is None:
            return "never"
        try:
            return "true" if _COMPARE[name](first[0], second[0]) else "never"
        except TypeError:
            return "same"
    if not_distinct and same(left, right):
        return "true"
    if name in {"=", "<=", ">=", "~~", "~~*", "@>", "<@"} and same(left, right):
        return "same"  # true but for NULL
    if first and isinstance(first[0], bool) and right is not None and name == "=":
        inner = truth(right, depth, target)
        return inner if first[0] and inner in {"true", "same"} else None
    if second and isinstance(second[0], bool) and left is not None and name == "=":
        inner = truth(left, depth, target)
        return inner if second[0] and inner in {"true", "same"} else None
    return None


def _boolean_test(fields: Node, depth: int, target: Target | None) -> Truth | None:
    inner = truth(fields["arg"], depth, target)
    kind = fields.get("booltesttype", "IS_TRUE")
    if inner in {"true", "never"} and kind in {"IS_TRUE", "IS_NOT_FALSE"}:
        return inner if kind == "IS_TRUE" else "true" if inner == "true" else "same"
    if inner == "varies" and kind == "IS_NOT_UNKNOWN":
        return None
    return "same" if inner != "varies" else None


def _null_test(fields: Node, depth: int, target: Target | None) -> Truth | None:  # noqa: ARG001
    value = constant(fields.get("arg"))
    if value is None:
        return None
    return "true" if (value[0] is None) == (fields.get("nulltesttype", "IS_NULL") == "IS_NULL") else "never"


def _coalesce(fields: Node, depth: int, target: Target | None) -> Truth | None:
    parts = [truth(arg, depth, target) for arg in fields.get("args", [])]
    # `coalesce(x, true)` still depends on x; `coalesce(true, x)` does not.
    return parts[0] if parts and parts[0] == "true" else None


def _case(fields: Node, depth: int, target: Target | None) -> Truth | None:
    results = [arm["CaseWhen"]["result"] for arm in fields.get("args", []) if "result" in arm.get("CaseWhen", {})]
    if "defresult" not in fields:
        return None
    outcomes = {truth(result, depth, target) for result in [*results, fields["defresult"]]}
    return "true" if outcomes == {"true"} else None


def _sublink(fields: Node, depth: int, target: Target | None) -> Truth | None:
    select = fields.get("subselect", {}).get("SelectStmt", {})
    kind = fields.get("subLinkType")
    if kind == "EXPR_SUBLINK" and not select.get("fromClause") and len(select.get("targetList", [])) == 1:
        value = select["targetList"][0].get("ResTarget", {}).get("val")
        if value and "whereClause" not in select:
            return truth(value, depth, target)
    if kind == "ANY_SUBLINK" and target is not None and "operName" not in fields and _is_all(fields, select, target):
        return "same"
    if kind == "EXISTS_SUBLINK" and "whereClause" not in select and "havingClause" not in select:
        # Whether the other relation is empty is the same for every row of ours.
        sources = select.get("fromClause", [])
        return "same" if not mentions_row(sources, target) else None
    return None


def _is_all(fields: Node, select: Node, target: Target) -> bool:
    """`id IN (SELECT id FROM orders)` on orders itself, with nothing that leaves rows out."""
    sources, columns = select.get("fromClause", []), select.get("targetList", [])
    narrowed = {"whereClause", "groupClause", "havingClause", "limitCount", "limitOffset"} & set(select)
    if len(sources) != 1 or len(columns) != 1 or narrowed:
        return False
    asked = fields.get("testexpr", {}).get("ColumnRef", {}).get("fields", [])
    given = columns[0].get("ResTarget", {}).get("val", {}).get("ColumnRef", {}).get("fields", [])
    own = sources[0].get("RangeVar", {}).get("relname") == target.relation
    return own and bool(asked) and bool(given) and bool(bare(asked[-1]) == bare(given[-1]))


_HANDLERS: dict[str, Callable[[Node, int, Target | None], Truth | None]] = {
    "A_Const": _const,
    "TypeCast": _cast,
    "BoolExpr": _bool,
    "A_Expr": _expression,
    "BooleanTest": _boolean_test,
    "NullTest": _null_test,
    "CoalesceExpr": _coalesce,
    "CaseExpr": _case,
    "SubLink": _sublink,
}
