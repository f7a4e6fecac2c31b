"""Does a WHERE choose rows? `WHERE true`, `1 = 1`, `id = id`, `x OR true` and `$1` do not.

Only what the text itself proves is vacuous: nothing is known of columns, so `id > 0` counts as a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from onrecord.policies.sql.constants import compare, constant, is_cast, literal, operator_name, same
from onrecord.policies.sql.opposites import CONTRARY, OPPOSITES, complements
from onrecord.policies.sql.targets import Target, column_of, linked, mentions_row, twins_of

Node = dict[str, Any]

# What an expression is for every row: always true, never true (false or NULL), the same for all rows but unknown,
# or different from row to row.
Truth = Literal["true", "never", "same", "varies"]

_DEPTH = 64


# A column of these is never NULL, and few conditions on them choose.
_SYSTEM = frozenset({"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"})
_ALL_TEXT = frozenset({"", "^", "$", ".*", "^.*", ".*$", "^.*$"})


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


def _const(fields: Node, depth: int, target: Target | None) -> Truth | None:  # noqa: ARG001
    value = literal(fields)
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
        inner = args[0].get("BoolExpr", {}) if args else {}
        if inner.get("boolop") == "AND_EXPR" and complements(inner.get("args", []), CONTRARY):
            return "true"
        flipped: dict[Truth, Truth] = {"true": "never", "never": "true", "same": "same", "varies": "varies"}
        return flipped[parts[0]]
    if kind == "AND_EXPR":
        if "never" in parts:
            return "never"
        twins = {twin for arg in args if (twin := linked(arg, target))} if target and target.twins else set()
        for twin in twins:
            other = target._replace(alias=twin, twins=frozenset()) if target else None
            if any(not linked(arg, target) and truth(arg, depth, other) == "varies" for arg in args):
                return "varies"
        if "varies" in parts:
            return "varies"
        return "same" if "same" in parts else "true"
    if "true" in parts:
        return "true"
    if "same" in parts or complements(args, OPPOSITES):
        return "same"
    return "varies" if "varies" in parts else "never"


def _expression(fields: Node, depth: int, target: Target | None) -> Truth | None:
    kind, name = fields.get("kind"), operator_name(fields)
    left, right = fields.get("lexpr"), fields.get("rexpr")
    if left and right and kind == "AEXPR_OP" and "ColumnRef" in left and _is_plain(name, right):
        # `id = $1`: by far the most common condition
        return "varies" if target is None or len(left["ColumnRef"]["fields"]) == 1 else None
    if kind in {"AEXPR_OP", "AEXPR_NOT_DISTINCT", "AEXPR_DISTINCT"}:
        if linked({"A_Expr": fields}, target):
            return "same"
        return _comparison(str(kind), name, left, right, depth, target)
    if kind in {"AEXPR_LIKE", "AEXPR_ILIKE"}:
        pattern = constant(right)
        if name in {"~~", "~~*"} and pattern and isinstance(pattern[0], str) and pattern[0].strip("%") == "":
            return "same" if pattern[0] else None
    if kind == "AEXPR_OP_ANY" and name == "=" and target is not None and right and "SubLink" in right:
        select = right["SubLink"].get("subselect", {}).get("SelectStmt", {})
        return "same" if _is_all({"testexpr": left or {}}, select, target) else None
    if left is not None and right is not None and kind in _LISTS:
        return _LISTS[kind](name, left, right)
    return None


def _in(name: str, left: Node, right: Node) -> Truth | None:
    items = right.get("List", {}).get("items", [])
    if name != "=" or len(items) > 64:
        return None
    both = {value[0] for item in items if (value := constant(item)) and isinstance(value[0], bool)}
    return "same" if len(both) == 2 or any(same(left, item) for item in items) else None


def _between(name: str, left: Node, right: Node) -> Truth | None:
    bounds = right.get("List", {}).get("items", [])
    if len(bounds) != 2:
        return None
    if same(left, bounds[0]) and same(left, bounds[1]):
        return "same" if name == "BETWEEN" else "never"
    low, high = constant(bounds[0]), constant(bounds[1])
    if low and high and compare(">", low[0], high[0]):
        return "same" if name.startswith("NOT ") else "never"
    return None


def _any(name: str, left: Node, right: Node) -> Truth | None:
    found = _elements(right)
    if not found:
        return None if found is None else "never"
    return "same" if name in _REFLEXIVE and any(same(left, item) for item in found) else None


def _all(name: str, left: Node, right: Node) -> Truth | None:
    found = _elements(right)
    if not found:
        return None if found is None else "true"
    return "same" if name in _REFLEXIVE and all(same(left, item) for item in found) else None


def _elements(array: Node) -> list[Node] | None:
    """The elements of `ARRAY[…]`, none of `'{}'`; None where the text does not say."""
    array = array.get("TypeCast", {}).get("arg", array)
    if "A_ArrayExpr" in array:
        return list(array["A_ArrayExpr"].get("elements", []))
    value = constant(array)
    return [] if value and isinstance(value[0], str) and value[0].replace(" ", "") == "{}" else None


_REFLEXIVE = frozenset({"=", "<=", ">=", "~~", "~~*", "@>", "<@"})
_LISTS: dict[str, Callable[[str, Node, Node], Truth | None]] = {
    "AEXPR_IN": _in,
    "AEXPR_BETWEEN": _between,
    "AEXPR_BETWEEN_SYM": _between,
    "AEXPR_NOT_BETWEEN": _between,
    "AEXPR_OP_ANY": _any,
    "AEXPR_OP_ALL": _all,
}


def _is_plain(name: str, node: Node) -> bool:
    return "ParamRef" in node or ("A_Const" in node and name in _PLAIN)


def _comparison(
    kind: str, name: str, left: Node | None, right: Node | None, depth: int, target: Target | None
) -> Truth | None:
    first, second = constant(left), constant(right)
    if first and second:
        return _constants(kind, name, (first[0], left), (second[0], right))
    if kind == "AEXPR_DISTINCT":
        return "never" if same(left, right) else None
    if same(left, right):
        if kind == "AEXPR_NOT_DISTINCT":
            return "true"
        if name in _REFLEXIVE:
            return "same"  # true but for NULL
        if name in {"<>", "<", ">"}:
            return "never"
    if name in {"~", "~*"} and second and second[0] in _ALL_TEXT:
        return "same"
    if left and right and _is_boolean(left) and _is_boolean(right):
        sides = truth(left, depth, target), truth(right, depth, target)
        return None if "varies" in sides else "same"
    for value, other in ((first, right), (second, left)):
        if value and isinstance(value[0], bool) and other is not None:
            inner = truth(other, depth, target)
            if (value[0], name) in {(True, "="), (False, "<>")} and inner in {"true", "same"}:
                return inner
    return None


def _constants(kind: str, name: str, left: tuple[object, Any], right: tuple[object, Any]) -> Truth | None:
    """Two constants. "never" only where it is sure: a cast may make of '01' what it makes of '1'."""
    null = left[0] is None or right[0] is None
    if kind != "AEXPR_OP":
        if null:
            equal: bool | None = left[0] is right[0]
        else:
            equal = None if is_cast(left[1]) or is_cast(right[1]) else compare("=", left[0], right[0])
        if equal is None:
            return "same"
        return "true" if equal == (kind == "AEXPR_NOT_DISTINCT") else "never"
    if null:
        return "never"
    if is_cast(left[1]) or is_cast(right[1]):
        return "same"
    found = compare(name, left[0], right[0])
    return "same" if found is None else "true" if found else "never"


_PLAIN = frozenset({"=", "<>", "<", ">", "<=", ">="})
_BOOLEAN = frozenset({"BoolExpr", "NullTest", "BooleanTest"})
_COMPARISONS = frozenset({"=", "<>", "<", ">", "<=", ">=", "~~", "!~~", "~", "@>", "<@"})


def _is_boolean(node: Node) -> bool:
    if node.keys() & _BOOLEAN or "boolval" in node.get("A_Const", {}):
        return True
    return operator_name(node.get("A_Expr", {})) in _COMPARISONS


def _boolean_test(fields: Node, depth: int, target: Target | None) -> Truth | None:
    inner = truth(fields["arg"], depth, target)
    kind = fields.get("booltesttype", "IS_TRUE")
    if inner in {"true", "never"} and kind in {"IS_TRUE", "IS_NOT_FALSE"}:
        return inner if kind == "IS_TRUE" else "true" if inner == "true" else "same"
    if inner == "varies" and kind == "IS_NOT_UNKNOWN":
        return None
    return "same" if inner != "varies" else None


def _null_test(fields: Node, depth: int, target: Target | None) -> Truth | None:  # noqa: ARG001
    wanted = fields.get("nulltesttype", "IS_NULL") == "IS_NULL"
    arg = fields.get("arg", {})
    value = constant(arg)
    if value is not None:
        return "true" if (value[0] is None) == wanted else "never"
    if arg.keys() & {"NullTest", "BooleanTest"} or (column_of(arg)[-1:] and column_of(arg)[-1] in _SYSTEM):
        return "never" if wanted else "true"
    expression = arg.get("A_Expr", {})
    if expression.get("kind") == "AEXPR_NULLIF" and same(expression.get("lexpr"), expression.get("rexpr")):
        return "true" if wanted else "never"
    return None


def _coalesce(fields: Node, depth: int, target: Target | None) -> Truth | None:
    parts = [truth(arg, depth, target) for arg in fields.get("args", [])]
    # `coalesce(x, true)` still depends on x; `coalesce(true, x)` does not.
    if parts and parts[0] == "true":
        return "true"
    return "same" if parts and set(parts) <= {"true", "same"} else None


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
        value = _output(select)
        if value and "whereClause" not in select:
            return truth(value, depth, target)
    if kind == "ANY_SUBLINK" and target is not None and _is_equal(fields) and _is_all(fields, select, target):
        return "same"
    if kind == "EXISTS_SUBLINK" and "havingClause" not in select:
        # Whether the other relation is empty is the same for every row of ours.
        sources = select.get("fromClause", [])
        if "whereClause" in select and target is not None:
            inner = target._replace(twins=target.twins | (twins_of(sources, target.relation) - {target.alias}))
            return "same" if truth(select["whereClause"], depth, inner) in {"true", "same"} else None
        return "same" if "whereClause" not in select and not mentions_row(sources, target) else None
    return None


def _is_equal(fields: Node) -> bool:
    names = fields.get("operName")
    return not names or names[-1].get("String", {}).get("sval") == "="


def _output(select: Node) -> Node | None:
    """The expression of a query's only column."""
    columns = select.get("targetList", [])
    return columns[0].get("ResTarget", {}).get("val") if len(columns) == 1 else None


def _is_all(fields: Node, select: Node, target: Target) -> bool:
    """`id IN (SELECT id FROM orders)` on orders itself, with nothing that leaves rows out."""
    test = fields.get("testexpr", {})
    asked = column_of(test)
    own = column_of(_output(select))
    if asked and asked[-1:] == own[-1:] and own[:-1] == [target.alias]:
        return not twins_of(select.get("fromClause", []), target.alias)  # `id IN (SELECT orders.id FROM other)`
    if not select.get("fromClause") and same(test, _output(select)) and "whereClause" not in select:
        return True
    return bool(asked) and _covers(select, asked[-1], target, 0)


def _covers(select: Node, column: str, target: Target, depth: int) -> bool:
    """Whether the only column of `select` holds `column` of every row of the target."""
    if depth > 8 or {"havingClause", "limitCount", "limitOffset"} & set(select):
        return False
    if select.get("op", "SETOP_NONE") == "SETOP_UNION":
        return any(_covers(select.get(side, {}), column, target, depth + 1) for side in ("larg", "rarg"))
    sources = select.get("fromClause", [])
    given = column_of(_output(select))[-1:]
    if select.get("op", "SETOP_NONE") != "SETOP_NONE" or len(sources) != 1 or given not in ([column], [""]):
        return False
    where = select.get("whereClause")
    ((kind, source),) = sources[0].items()
    if kind == "RangeSubselect":
        inner = source.get("subquery", {}).get("SelectStmt", {})
    elif kind == "RangeVar" and "schemaname" not in source and source.get("relname") in target.ctes:
        inner = target.ctes[source["relname"]]
    elif kind == "RangeVar" and source.get("relname") == target.relation:
        own = source.get("alias", {}).get("aliasname") or target.relation
        return is_vacuous(where, Target(own, target.relation))
    else:
        return False
    return is_vacuous(where) and _covers(inner, column, target._replace(ctes={}), depth + 1)


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
