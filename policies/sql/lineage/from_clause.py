"""FROM: relations, joins, subqueries, functions, and the tables that JSON and XML make."""

from __future__ import annotations

from typing import Any

from onrecord.policies.sql.functions import TYPES
from onrecord.policies.sql.lineage.expressions import value_of
from onrecord.policies.sql.lineage.functions import COLUMNS
from onrecord.policies.sql.lineage.labels import label
from onrecord.policies.sql.lineage.scopes import Env, Item, Space
from onrecord.policies.sql.lineage.tracer import Tracer
from onrecord.policies.sql.lineage.values import (
    NOTHING,
    OPEN,
    Column,
    Node,
    Result,
    Value,
    merged,
    renamed,
    strings,
)


def add_from(tracer: Tracer, nodes: list[Node], env: Env) -> None:
    """Fill `env.space` with what FROM lists; each entry may refer to those before it where it is lateral."""
    for node in nodes:
        env.space.extend(entry(tracer, node, env))


def entry(tracer: Tracer, node: Node, env: Env) -> Space:
    """One entry; `env` holds what a lateral one may refer to."""
    tracer.spend(1)
    name, fields = next(iter(node.items()))
    if name == "JoinExpr":
        return _join(tracer, fields, env)
    if name == "RangeTableSample":
        _predicate(tracer, {"args": fields.get("args", []), "repeatable": fields.get("repeatable", {})}, env)
        method = strings(fields.get("method", []))
        if method[-1:] not in (["bernoulli"], ["system"]):
            tracer.facts.unsure_predicates = True
        return entry(tracer, fields["relation"], env)
    space = Space()
    space.add(_item(tracer, name, fields, env))
    return space


def _item(tracer: Tracer, name: str, fields: Node, env: Env) -> Item:
    alias = fields.get("alias", {})
    named = alias.get("aliasname", "")
    if name == "RangeVar":
        return range_var(tracer, fields, env)
    if name == "RangeSubselect":
        inner, query = next(iter(fields["subquery"].items()))
        around = env if fields.get("lateral") else _outside(env)
        result = tracer.query(tracer, inner, query, around)
    elif name == "RangeFunction":
        result, own = _functions(tracer, fields, env)
        named = named or own
    elif name in {"RangeTableFunc", "JsonTable"}:
        result = _table_function(tracer, fields, env)
        named = named or ("xmltable" if name == "RangeTableFunc" else "json_table")
    else:
        result = OPEN
        tracer.facts.unsure_predicates = True
    return Item(named, renamed(result, strings(alias.get("colnames", []))))


def _outside(env: Env) -> Env:
    """What an entry that is not lateral sees: the levels around, and the CTEs."""
    return Env(env.parent, env.ctes)


def range_var(tracer: Tracer, fields: Node, env: Env) -> Item:
    """A table, a view or a CTE."""
    alias = fields.get("alias", {})
    name = fields.get("relname", "")
    named = alias.get("aliasname") or name
    names = strings(alias.get("colnames", []))
    cte = env.ctes.get(name) if not fields.get("schemaname") else None
    if cte is not None:
        return Item(named, renamed(cte, names))
    item = tracer.knowledge.item(fields, named)
    if names:
        result = renamed(Result(item.columns, item.rest), names)
        return Item(named, result, item.tables, item.unseen, item.row)
    return item


def _predicate(tracer: Tracer, node: Node | None, env: Env) -> None:
    if node:
        tracer.facts.predicate(value_of(tracer, node, env))


# Joins


def _join(tracer: Tracer, fields: Node, env: Env) -> Space:
    left = entry(tracer, fields["larg"], env)
    beside = Env(env.parent, env.ctes, Space())
    beside.space.extend(env.space)
    beside.space.extend(left)
    right = entry(tracer, fields["rarg"], beside)
    joined = Space([*left.items, *right.items])
    joined.opens = [*left.opens, *right.opens]
    using = strings(fields.get("usingClause", []))
    if fields.get("isNatural"):
        using = [column.name for column in left.columns if column.name in right.names()]
        if joined.opens:  # which columns decide is not known
            tracer.facts.predicate(merged([item.row for item in joined.items]))
            tracer.facts.unsure_predicates = True
    shared: list[Column] = []
    for name in using:
        value = merged([_side(left, name), _side(right, name)])
        tracer.facts.predicate(value)
        shared.append(Column(name, value))
    joined.columns = [
        *shared,
        *[column for side in (left, right) for column in side.columns if column.name not in using],
    ]
    _predicate(tracer, fields.get("quals"), Env(env.parent, env.ctes, joined))
    if "join_using_alias" in fields:
        joined.items.append(Item(fields["join_using_alias"].get("aliasname", ""), Result(tuple(shared))))
    alias = fields.get("alias")
    if alias is None:
        return joined
    hidden = Space()
    hidden.add(Item(alias.get("aliasname", ""), renamed(joined.star(), strings(alias.get("colnames", [])))))
    return hidden


def _side(space: Space, name: str) -> Value:
    found = space.names().get(name)
    values = [found] if found is not None else [item.guess(name) for item in space.opens]
    return merged(values) if values else Value(frozenset(), False, True)


# Functions


def _functions(tracer: Tracer, fields: Node, env: Env) -> tuple[Result, str]:
    """The columns of a RangeFunction, and the name that it has without an alias."""
    entries = [item["List"].get("items", []) for item in fields.get("functions", []) if "List" in item]
    results, own = [], ""
    for items in entries:
        call: Node = items[0]
        own = own or label(call)
        written = items[1].get("List", {}).get("items", []) if len(items) > 1 else []
        written = written or (fields.get("coldeflist", []) if len(entries) == 1 else [])
        results.append(_function(tracer, call, written, env, fields.get("alias", {}) if len(entries) == 1 else {}))
    columns = tuple([column for result in results for column in result.columns])
    rests = [result.rest for result in results if result.rest is not None]
    if fields.get("ordinality"):
        columns = (*columns, Column("ordinality", NOTHING))
    return Result(columns, merged(rests) if rests else None), own


def _function(tracer: Tracer, call: Node, written: list[Node], env: Env, alias: Node) -> Result:
    """One function: its arguments flow into every column and decide how many rows there are."""
    value = merged([value_of(tracer, call, env)])
    tracer.facts.predicate(value)
    if written:
        return Result(tuple([Column(item["ColumnDef"].get("colname", ""), value) for item in written]))
    columns = _columns(tracer, call)
    if columns is None:
        return Result((), value)
    if columns == ():
        return Result((Column(alias.get("aliasname") or label(call), value),))
    return Result(tuple([Column(name, value) for name in columns]))


def _columns(tracer: Tracer, call: Node) -> tuple[str, ...] | None:
    """The columns that a function in FROM returns: () for one plain value, None where they are not known."""
    if "SQLValueFunction" in call:
        return ()
    if "TypeCast" in call:
        return () if _plain_type(call["TypeCast"].get("typeName", {})) else None
    fields = call.get("FuncCall")
    if fields is None:
        return None
    parts = tuple(strings(fields.get("funcname", [])))
    if tracer.functions.overloads(parts):
        return None  # the names of its OUT parameters are not in the catalog's snapshot
    if len(parts) > 1 and parts[-2] != "pg_catalog":
        return None
    if not tracer.functions.known(parts[-1]):
        return None
    columns = COLUMNS.get(parts[-1], ())
    if columns != ("?",):
        return columns
    return () if parts[-1] == "unnest" and _plain_arrays(fields.get("args", [])) else None


def _plain_type(fields: Node) -> bool:
    names = strings(fields.get("names", []))
    return bool(names) and names[-1] in TYPES | {"int4", "text"} and (len(names) == 1 or names[0] == "pg_catalog")


def _plain_arrays(args: list[Node]) -> bool:
    """Whether unnest() takes one array whose elements are surely no rows."""
    if len(args) != 1:
        return False
    node = args[0]
    if "TypeCast" in node:
        fields = node["TypeCast"].get("typeName", {})
        return "arrayBounds" in fields and _plain_type(fields)
    elements = node.get("A_ArrayExpr", {}).get("elements", [])
    return bool(elements) and all(
        "A_Const" in item or ("TypeCast" in item and _plain_type(item["TypeCast"].get("typeName", {})))
        for item in elements
    )


def _table_function(tracer: Tracer, fields: Node, env: Env) -> Result:
    """XMLTABLE and JSON_TABLE: all that goes in decides every column, and how many rows there are."""
    parts = {key: below for key, below in fields.items() if type(below) in (dict, list) and key != "alias"}
    value = merged([value_of(tracer, parts, env)])
    tracer.facts.predicate(value)
    if tracer.functions.overloads(("json_table",)):  # an older server may call it
        tracer.facts.unsure_predicates = True
        value = Value(value.sources, False, True)
    names = _table_columns(fields.get("columns", []))
    return Result(tuple([Column(name, value) for name in names or ["xmltable"]]))


def _table_columns(nodes: list[Any]) -> list[str]:
    """Those of NESTED PATH come after the others of their level."""
    names, nested = [], []
    for node in nodes:
        column: Node = next(iter(node.values()))
        if column.get("coltype") == "JTC_NESTED":
            nested += _table_columns(column.get("columns", []))
        else:
            names.append(column.get("colname") or column.get("name") or "")
    return names + nested
