"""INSERT, UPDATE, DELETE and MERGE: what flows into which column, and what RETURNING gives back."""

from __future__ import annotations

from onrecord.policies.sql.lineage import queries
from onrecord.policies.sql.lineage.expressions import value_of
from onrecord.policies.sql.lineage.from_clause import add_from, entry
from onrecord.policies.sql.lineage.scopes import Env, Item
from onrecord.policies.sql.lineage.tracer import Tracer
from onrecord.policies.sql.lineage.values import (
    EMPTY,
    NOTHING,
    UNKNOWN,
    Column,
    Node,
    Result,
    Value,
    merged,
)

# Column of the target → what is written into it.
_Written = dict[str, list[Value]]


def change(tracer: Tracer, name: str, fields: Node, env: Env) -> Result:
    """What the statement returns; its WITH is already in `env`."""
    handler = _HANDLERS.get(name)
    if handler is None:
        tracer.facts.unsure_flows = tracer.facts.unsure_predicates = True
        return Result((), UNKNOWN)
    relation = fields.get("relation", {})
    alias = relation.get("alias", {}).get("aliasname") or relation.get("relname", "")
    target = tracer.knowledge.item(relation, alias)
    result = handler(tracer, fields, target, Env(env, env.ctes))
    relations, _ = tracer.knowledge.relations(relation)
    if any(found.rule_tables for found in relations):  # a rule does something else instead, and returns that
        tracer.facts.unsure_flows = True
        result = Result(
            tuple([Column(column, Value(value.sources, False, True)) for column, value in result.columns]), result.rest
        )
    return result


def names_of(target: Item, column: str) -> frozenset[str]:
    """The names under which a column of the target is read wherever the row comes to lie: in a partition, for one.

    A value that comes from under such a name and goes back there is no flow.
    """
    found = target.find(column)
    if found is None or (found.unsure and not target.unseen):
        return EMPTY
    return found.sources - target.below(column)


def write(tracer: Tracer, target: Item, column: str, value: Value, written: _Written) -> None:
    """`value` goes into `column` of the target."""
    tracer.facts.flow(value, names_of(target, column))
    written.setdefault(column, []).append(value)


def _after(target: Item, written: _Written, every: list[Value]) -> Result:
    """The target's row as RETURNING sees it: what was there, and what was written."""
    columns = []
    for name, value in target.columns:
        new = [*written.get(name, ()), *every]
        columns.append(Column(name, value if all(_kept(item, value) for item in new) else merged([value, *new])))
    rest = None
    if target.rest is not None:
        rest = merged([target.rest, *every, *[item for values in written.values() for item in values]])
    return Result(tuple(columns), rest)


def _kept(new: Value, own: Value) -> bool:
    return not new.unsure and (not new.sources or (new.plain and new.sources <= own.sources))


def _returning(tracer: Tracer, fields: Node, env: Env, target: Item, written: _Written, every: list[Value],
               *, last: bool = False) -> Result:  # fmt: skip
    """RETURNING over the target as it is afterwards and the FROM items in `env`; with `last` these come first."""
    nodes = fields.get("returningList", [])
    if not nodes:
        return Result()
    result = _after(target, written, every)
    row = merged([target.row, result.whole()]) if written or every else target.row
    after = Item(target.name, result, target.tables, target.unseen, row)
    level = Env(env.parent, env.ctes)
    if last:
        level.space.extend(env.space)
        level.space.add(after)
    else:
        level.space.add(after)
        level.space.extend(env.space)
    for name in ("old", "new"):  # PostgreSQL 18; an alias of the query's own stands before them
        if all(item.name != name for item in level.space.items):
            level.space.items.append(Item(name, result, target.tables, target.unseen, row))
    return queries.targets(tracer, nodes, level)


# INSERT


def _insert(tracer: Tracer, fields: Node, target: Item, env: Env) -> Result:
    source = Result()
    if "selectStmt" in fields:
        name, query = next(iter(fields["selectStmt"].items()))
        # Names inside see neither the target nor this level.
        source = tracer.query(tracer, name, query, env.parent or env)
    columns = [node["ResTarget"].get("name", "") for node in fields.get("cols", [])]
    names = columns or [column.name for column in target.columns]
    written: _Written = {}
    every: list[Value] = []
    if source.rest is not None or (source.columns and len(source.columns) > len(names)):
        every.append(source.whole())
        tracer.facts.flow(every[0])
    else:
        for name, column in zip(names, source.columns, strict=False):
            write(tracer, target, name, column.value, written)
    conflict = fields.get("onConflictClause")
    if conflict is not None:
        _conflict(tracer, conflict, target, env, written, every, names if source.columns or every else [])
    return _returning(tracer, fields, env, target, written, every)


def _conflict(
    tracer: Tracer, fields: Node, target: Item, env: Env, written: _Written, every: list[Value], names: list[str]
) -> None:
    """Whether a row is there already is told by the count of rows: the columns that decide it are predicates."""
    level = Env(env.parent, env.ctes)
    level.space.add(target)
    infer = fields.get("infer")
    if infer is not None and "indexElems" in infer:
        for node in infer["indexElems"]:
            element = node.get("IndexElem", {})
            value = target.find(element["name"]) if "name" in element else value_of(tracer, element.get("expr"), level)
            tracer.facts.predicate(value or UNKNOWN)
        tracer.facts.predicate(value_of(tracer, infer.get("whereClause"), level))
    else:
        for name in names:
            tracer.facts.predicate(target.find(name) or NOTHING)
        if target.rest is not None:
            tracer.facts.predicate(target.row)
    # What would have been inserted: a value that the statement gives, or a default.
    offered = [Column(name, merged([*written.get(name, ()), *every])) for name, _ in target.columns]
    rest = merged([UNKNOWN, *[item for values in written.values() for item in values]]) if target.rest else None
    level.space.items.append(Item("excluded", Result(tuple(offered), rest)))
    _assign(tracer, fields.get("targetList", []), target, level, written)
    if "whereClause" in fields:
        tracer.facts.predicate(value_of(tracer, fields["whereClause"], level))


def _assign(tracer: Tracer, nodes: list[Node], target: Item, level: Env, written: _Written) -> None:
    """SET column = value."""
    for node in nodes:
        assignment = node.get("ResTarget", {})
        value = value_of(tracer, assignment.get("val"), level)
        for entry_ in assignment.get("indirection", []):
            if "A_Indices" in entry_:
                value = merged([value, value_of(tracer, entry_, level)])
        write(tracer, target, assignment.get("name", ""), value, written)


# UPDATE, DELETE


def _update(tracer: Tracer, fields: Node, target: Item, env: Env) -> Result:
    beside, level = _levels(tracer, fields.get("fromClause", []), target, env)
    written: _Written = {}
    _assign(tracer, fields.get("targetList", []), target, level, written)
    tracer.facts.predicate(value_of(tracer, fields.get("whereClause"), level))
    return _returning(tracer, fields, beside, target, written, [])


def _delete(tracer: Tracer, fields: Node, target: Item, env: Env) -> Result:
    beside, level = _levels(tracer, fields.get("usingClause", []), target, env)
    tracer.facts.predicate(value_of(tracer, fields.get("whereClause"), level))
    return _returning(tracer, fields, beside, target, {}, [])


def _levels(tracer: Tracer, nodes: list[Node], target: Item, env: Env) -> tuple[Env, Env]:
    """The level of the other relations alone, and that of the target with them.

    A lateral entry of FROM may refer to the target.
    """
    level = Env(env.parent, env.ctes)
    level.space.add(target)
    add_from(tracer, nodes, level)
    beside = Env(env.parent, env.ctes)
    beside.space.items = level.space.items[1:]
    beside.space.columns = level.space.columns[len(target.columns) :]
    beside.space.opens = [item for item in level.space.opens if item is not target]
    return beside, level


# MERGE


def _merge(tracer: Tracer, fields: Node, target: Item, env: Env) -> Result:
    beside = Env(env.parent, env.ctes)
    beside.space.extend(entry(tracer, fields["sourceRelation"], beside))
    level = Env(env.parent, env.ctes)
    level.space.add(target)
    level.space.extend(beside.space)
    tracer.facts.predicate(value_of(tracer, fields.get("joinCondition"), level))
    written: _Written = {}
    for node in fields.get("mergeWhenClauses", []):
        clause = node.get("MergeWhenClause", {})
        tracer.facts.predicate(value_of(tracer, clause.get("condition"), level))
        assignments = clause.get("targetList", [])
        if "values" not in clause:
            _assign(tracer, assignments, target, level, written)
            continue
        names = [entry_["ResTarget"].get("name", "") for entry_ in assignments]
        names = names or [column.name for column in target.columns]
        values = [value_of(tracer, value, level) for value in clause["values"]]
        if len(names) < len(values):
            names = ["?"] * len(values)
        for name, value in zip(names, values, strict=False):
            write(tracer, target, name, value, written)
    return _returning(tracer, fields, beside, target, written, [], last=True)


_HANDLERS = {
    "InsertStmt": _insert,
    "UpdateStmt": _update,
    "DeleteStmt": _delete,
    "MergeStmt": _merge,
}
