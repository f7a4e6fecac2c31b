"""Expressions: the values that can influence a value.

Everything below an expression counts, whatever the node is called: a node that is not known here is walked through. The
walk keeps its own stack, so that long chains of operators do not exhaust Python's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onrecord.policies.sql.lineage.functions import Call
from onrecord.policies.sql.lineage.partial import free, safe_cast, simple, total
from onrecord.policies.sql.lineage.scopes import Env, Item
from onrecord.policies.sql.lineage.tracer import Tracer
from onrecord.policies.sql.lineage.values import NOTHING, UNKNOWN, Node, Value, merged, strings
from onrecord.policies.sql.syntax import NODES, function_of, unqualified
from onrecord.policies.sql.wordlists import words

_LEAVES = words(
    "String A_Const TypeName Integer Float Boolean A_Star SQLValueFunction Alias ParamRef CurrentOfExpr SetToDefault "
    "GroupingFunc"
)
_QUERIES = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
_OWN = Value(UNKNOWN.sources, False, True)  # what a call that keeps something returns: it does not decide the call
_PARSING = frozenset({"JsonParseExpr", "JsonFuncExpr"})  # they fail for what is no JSON, or has another form
# Kinds of A_Expr whose name is no operator.
_NAMED = frozenset({"AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN", "AEXPR_BETWEEN_SYM", "AEXPR_NOT_BETWEEN_SYM"})


def value_of(tracer: Tracer, node: Node | None, env: Env) -> Value:
    """Of one expression. Only a bare column is plain."""
    if not node:
        return NOTHING
    if "ColumnRef" in node:
        tracer.spend(1)
        return column(tracer, node["ColumnRef"].get("fields", []), env)
    if "A_Indirection" in node:
        item = row_of(node["A_Indirection"].get("arg"), env)
        names = strings(node["A_Indirection"].get("indirection", []))
        if item is not None and len(names) == 1 == len(node["A_Indirection"]["indirection"]):
            found = item.find(names[0])
            if found is not None:
                return found
    values: list[Value] = []
    before = tracer.effects
    _collect(tracer, [node], env, values)
    result = merged(values)
    if tracer.effects != before:  # whether it comes to the call may be decided by any of the values
        tracer.facts.flow(merged([value for value in values if value is not _OWN]))
    tracer.spend(len(result.sources))
    return result


def column(tracer: Tracer, fields: list[Node], env: Env) -> Value:
    """A ColumnRef; `alias.*` and `*` are whole rows here."""
    names = strings(fields)
    if fields and "A_Star" in fields[-1]:
        if not names:
            return merged([item.row for item in env.space.items])
        item = env.item(names[-1], names[-2] if len(names) > 1 else "")
        return item.row if item is not None else env.lost("*")
    if len(names) == 1:
        return env.bare(names[0])
    return env.qualified(names, tracer.functions) if names else UNKNOWN


def row_of(node: Any, env: Env) -> Item | None:
    """The relation whose whole row `node` names: the `c` of `(c).email`, where no column has that name."""
    fields = node.get("ColumnRef", {}).get("fields", []) if isinstance(node, dict) else []
    names = strings(fields)
    if not names or len(names) != len(fields):
        return None
    if len(names) > 1:
        item = env.item(names[-1], names[-2])
        inner = env.item(names[-2], names[-3] if len(names) > 2 else "")
        return item if inner is None or inner.find(names[-1]) is None else None
    level: Env | None = env
    while level is not None:
        if names[0] in level.space.names() or level.space.opens:
            return None
        level = level.parent
    return env.item(names[0])


def _collect(tracer: Tracer, stack: list[Node], env: Env, values: list[Value]) -> None:
    while stack:
        node = stack.pop()
        tracer.spend(1)
        for name, fields in node.items():
            if not name[0].isupper():  # a message of one fixed type, printed without its name
                _children(node, stack)
                break
            if type(fields) is not dict or name in _LEAVES:
                continue
            handler = _HANDLERS.get(name)
            if handler is not None:
                values.append(handler(tracer, fields, stack, env))
            elif name in _QUERIES:
                values.append(tracer.inside(name, fields, env))
            else:
                _children(fields, stack)


def _children(fields: Node, stack: list[Node], skip: str = "") -> None:
    for key, below in fields.items():
        if key == skip:
            continue
        if type(below) is dict:
            stack.append(below)
        elif type(below) is list:
            stack.extend([item for item in below if type(item) is dict])


def _column(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:  # noqa: ARG001
    return column(tracer, fields.get("fields", []), env)


def _indirection(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    names = strings(fields.get("indirection", []))
    unsure = False
    arg = fields.get("arg", {})
    if names:
        item = row_of(arg, env)
        known = item.find(names[0]) if item is not None else None
        if known is not None:
            names, arg = names[1:], {}
            stack.extend([entry for entry in fields["indirection"] if "A_Indices" in entry])
            rest = [tracer.functions.field(name) for name in names]
            return Value(known.sources, False, known.unsure or _applied(tracer, rest, known))
    calls = [tracer.functions.field(name) for name in names]
    if any(call.keeps or call.acts for call in calls):
        unsure = _applied(tracer, calls, value_of(tracer, arg, env))
    else:
        unsure = any(call.unsure for call in calls)
    stack.append(arg)
    stack.extend([entry for entry in fields.get("indirection", []) if "A_Indices" in entry])
    if not unsure:
        return NOTHING
    return _OWN if any(call.keeps for call in calls) else UNKNOWN


def _applied(tracer: Tracer, calls: list[Call], value: Value) -> bool:
    for call in calls:
        note(tracer, call, value)
    return any(call.unsure for call in calls)


def note(tracer: Tracer, call: Call, arguments: Value) -> None:
    """What a call does beside returning a value."""
    tracer.effects += call.keeps or call.acts
    if call.keeps:
        tracer.facts.flow(arguments)
    if call.acts:
        tracer.facts.unsure_flows = True
    if call.multiplies:
        tracer.facts.predicate(arguments)


def _call(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    named = strings(fields.get("funcname", []))
    call = tracer.functions.call(tuple(named))
    if unqualified(named) and tracer.functions.overloads((named[-1],)):
        call = tracer.functions.call((named[-1],))
    values: list[Value] = []
    if "over" in fields:
        values.append(window(tracer, fields["over"], env))
        tracer.facts.predicate(values[0])
    if "agg_filter" in fields:
        values.append(deciding(tracer, [fields["agg_filter"]], env))
    own = bool(named) and tracer.functions.own(tuple(named))
    rest: list[Node] = list(fields.get("agg_order", []))
    chosen: list[Node] = []
    for place, part in enumerate(fields.get("args", [])):
        (rest if own and free(named[-1], place, part) else chosen).append(part)
    if chosen:
        values.append(deciding(tracer, chosen, env))
    if call.keeps or call.multiplies:
        _collect(tracer, rest, env, values)
        arguments = merged(values)
    else:
        stack.extend(rest)
        arguments = NOTHING
    note(tracer, call, arguments)
    result = merged(values)
    if not call.unsure:
        return result
    return Value(result.sources, False, True) if result.sources or not call.keeps else _OWN


def deciding(tracer: Tracer, nodes: list[Node], env: Env) -> Value:
    """Parts of an expression that decide whether it fails, or which other parts are evaluated."""
    values: list[Value] = []
    _collect(tracer, nodes, env, values)
    value = merged(values)
    tracer.facts.predicate(value)
    return value


def window(tracer: Tracer, fields: Node, env: Env) -> Value:
    """The PARTITION BY, ORDER BY and frame of a WindowDef, with those of the window that it names."""
    found = [value_of(tracer, {key: below}, env) for key, below in fields.items() if type(below) in (list, dict)]
    named = [fields[key] for key in ("name", "refname") if key in fields]
    found.extend([env.windows[name] for name in named if name in env.windows])
    return merged(found)


def _expression(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    parts = tuple(strings(fields.get("name", []))) or ("=",)
    if fields.get("kind") in _NAMED:
        _children(fields, stack, "name")
        return NOTHING
    own = tracer.functions.own_operator(parts)
    chosen: list[Node] = []
    for side in ("lexpr", "rexpr"):
        if side in fields:
            any_value = own and total(parts[-1], left=side == "lexpr")
            (stack if any_value else chosen).append(fields[side])
    value = deciding(tracer, chosen, env) if chosen else NOTHING
    if tracer.functions.operator(parts):
        return value
    return Value(value.sources, False, True)


def _bool(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    parts = fields.get("args", [])
    if len(parts) > 1:  # whether the others are evaluated
        return deciding(tracer, parts, env)
    stack.extend(parts)
    return NOTHING


def _case(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    branches = [part["CaseWhen"] for part in fields.get("args", []) if "CaseWhen" in part]
    stack.extend([branch["result"] for branch in branches if "result" in branch])
    if "defresult" in fields:
        stack.append(fields["defresult"])
    tests = [branch["expr"] for branch in branches if "expr" in branch]
    return deciding(tracer, [*tests, *([fields["arg"]] if "arg" in fields else [])], env)


def _coalesce(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    parts = fields.get("args", [])
    if all(simple(part) for part in parts[1:]):
        stack.extend(parts)
        return NOTHING
    stack.append(parts[-1])
    return deciding(tracer, parts[:-1], env)


def _xml(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    if fields.get("op") in ("IS_XMLPARSE", "IS_XMLPI"):
        return deciding(tracer, [{"args": fields.get("args", [])}], env)
    _children(fields, stack)
    return NOTHING


def _key_value(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    if "value" in fields:
        stack.append(fields["value"])
    return deciding(tracer, [fields["key"]], env) if "key" in fields else NOTHING


def _sublink(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    if "testexpr" in fields:
        stack.append(fields["testexpr"])
    operator = tuple(strings(fields.get("operName", [])))
    unsure = bool(operator) and not tracer.functions.operator(operator)
    name, query = next(iter(fields["subselect"].items()))
    value = tracer.inside(name, query, env)
    return Value(value.sources, False, value.unsure or unsure)


def _cast(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
    value = NOTHING
    if "arg" in fields:
        if safe_cast(fields):
            stack.append(fields["arg"])
        else:
            value = deciding(tracer, [fields["arg"]], env)
    return value if tracer.functions.casts() else Value(value.sources, False, True)


def _sort(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:  # noqa: ARG001
    _children(fields, stack, "useOp")
    operator = tuple(strings(fields.get("useOp", [])))
    return UNKNOWN if operator and not tracer.functions.operator(operator) else NOTHING


def _syntax(node: str) -> Callable[[Tracer, Node, list[Node], Env], Value]:
    """What is syntax here and may be the call of a function of the database to an older server."""

    def handle(tracer: Tracer, fields: Node, stack: list[Node], env: Env) -> Value:
        name = function_of(node, fields)
        if name and tracer.functions.overloads((name,)):
            return _call(tracer, {"funcname": [{"String": {"sval": name}}], "args": [fields]}, stack, env)
        if node in _PARSING:
            return deciding(tracer, [dict.fromkeys(("parts",), fields)], env)
        _children(fields, stack)
        return NOTHING

    return handle


_HANDLERS: dict[str, Callable[[Tracer, Node, list[Node], Env], Value]] = {
    **{node: _syntax(node) for node in NODES if node != "JsonTable"},
    "ColumnRef": _column,
    "A_Indirection": _indirection,
    "FuncCall": _call,
    "BoolExpr": _bool,
    "CaseExpr": _case,
    "CoalesceExpr": _coalesce,
    "XmlExpr": _xml,
    "JsonKeyValue": _key_value,
    "A_Expr": _expression,
    "SubLink": _sublink,
    "TypeCast": _cast,
    "SortBy": _sort,
}
