"""Every statement: which of its parts are a result, a condition, or a flow."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from onrecord.policies.sql.lineage.definitions import DEFINITIONS, QUIET
from onrecord.policies.sql.lineage.expressions import value_of
from onrecord.policies.sql.lineage.scopes import Env
from onrecord.policies.sql.lineage.tracer import Facts, Tracer
from onrecord.policies.sql.lineage.types import UNSURE, Lineage, Output, Use
from onrecord.policies.sql.lineage.values import Column, Node, Result, Value, strings

_QUERIES = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
_PLAN = (Output("QUERY PLAN"),)


def lineage_of(tracer: Tracer, name: str, fields: Node) -> Lineage:
    """Of one statement; `tracer` is new."""
    if name in _QUERIES:
        return _query(tracer, name, fields)
    handler = _HANDLERS.get(name)
    if handler is not None:
        return handler(tracer, fields)
    if name in QUIET:
        return Lineage()
    definition = DEFINITIONS.get(name)
    if definition is None:
        return UNSURE
    definition(tracer, fields, Env(None, {}))
    return _made(tracer.facts, ())


def _made(facts: Facts, outputs: tuple[Output, ...] | None) -> Lineage:
    return Lineage(
        outputs=outputs,
        predicates=frozenset(facts.predicates),
        flows=frozenset(facts.flows),
        unsure_predicates=facts.unsure_predicates,
        unsure_flows=facts.unsure_flows,
    )


def outputs_of(result: Result) -> tuple[Output, ...] | None:
    if result.rest is not None:
        return None
    return tuple([Output(name, *value) for name, value in result.columns])


def _query(tracer: Tracer, name: str, fields: Node) -> Lineage:
    result = tracer.query(tracer, name, fields, Env(None, {}))
    return _made(tracer.facts, () if _into(fields) else outputs_of(result))


def _into(fields: Node) -> bool:
    while "larg" in fields:
        fields = fields["larg"]
    return "intoClause" in fields


def _inner(tracer: Tracer, fields: Node) -> Lineage:
    """The statement inside EXPLAIN, PREPARE or DECLARE."""
    name, inner = next(iter(fields.get("query", {"": {}}).items()))
    return lineage_of(tracer, name, inner)


def _keeping(use: Use, key: str) -> Callable[[Tracer, Node], Lineage]:
    """PREPARE and DECLARE: they return nothing; what is inside is returned later, and is judged now as well."""

    def handle(tracer: Tracer, fields: Node) -> Lineage:
        inner = _inner(tracer, fields)
        return msgspec.structs.replace(inner, outputs=(), name=fields.get(key, ""), use=use, inner=inner)

    return handle


def _execute(tracer: Tracer, fields: Node) -> Lineage:
    # Parameters are expressions without columns, but they may call functions.
    for node in fields.get("params", []):
        value_of(tracer, node, Env(None, {}))
    return msgspec.structs.replace(UNSURE, name=fields.get("name", ""), use="executes")


def _fetch(tracer: Tracer, fields: Node) -> Lineage:  # noqa: ARG001
    if fields.get("ismove"):
        return Lineage()
    return msgspec.structs.replace(UNSURE, name=fields.get("portalname", ""), use="fetches")


def _explain(tracer: Tracer, fields: Node) -> Lineage:
    """The plan tells constants, estimates and counts that come from all that the statement reads."""
    outer = _inner(tracer, fields)
    inner = outer.inner or outer  # of DECLARE, what it would return
    read = inner.predicates | inner.flows
    unsure = inner.outputs is None or inner.unsure_predicates or inner.unsure_flows
    for output in inner.outputs or ():
        read |= output.sources
        unsure = unsure or output.unsure
    return msgspec.structs.replace(inner, outputs=_PLAN, flows=read, unsure_flows=unsure)


def _show(tracer: Tracer, fields: Node) -> Lineage:  # noqa: ARG001
    name = fields.get("name", "")
    if name == "all":
        return Lineage(outputs=tuple([Output(column) for column in ("name", "setting", "description")]))
    return Lineage(outputs=(Output(name),))


def _copy(tracer: Tracer, fields: Node) -> Lineage:
    env = Env(None, {})
    relation = fields.get("relation")
    if fields.get("is_from"):
        if relation is not None and "whereClause" in fields:
            env.space.add(tracer.knowledge.item(relation, relation.get("relname", "")))
            tracer.facts.predicate(value_of(tracer, fields["whereClause"], env))
        return _made(tracer.facts, ())
    if relation is not None:
        result = _columns(tracer, relation, strings(fields.get("attlist", [])))
    else:
        name, query = next(iter(fields.get("query", {"": {}}).items()))
        result = tracer.query(tracer, name, query, env)
    if fields.get("filename") is None and not fields.get("is_program"):
        return _made(tracer.facts, outputs_of(result))
    tracer.facts.flow(result.whole())
    return _made(tracer.facts, ())


def _columns(tracer: Tracer, relation: Node, names: list[str]) -> Result:
    """The columns of COPY table (names)."""
    item = tracer.knowledge.item(relation, relation.get("relname", ""))
    if not names:
        return Result(item.columns, item.rest)
    found = [(name, item.find(name)) for name in names]
    unknown = Value(item.row.sources, False, True)
    return Result(tuple([Column(name, unknown if value is None else value) for name, value in found]))


def _create_as(tracer: Tracer, fields: Node) -> Lineage:
    name, query = next(iter(fields.get("query", {"": {}}).items()))
    if name == "ExecuteStmt":
        return msgspec.structs.replace(_execute(tracer, query), outputs=())
    tracer.facts.flow(tracer.query(tracer, name, query, Env(None, {})).whole())
    return _made(tracer.facts, ())


_HANDLERS: dict[str, Callable[[Tracer, Node], Lineage]] = {
    "PrepareStmt": _keeping("prepares", "name"),
    "DeclareCursorStmt": _keeping("declares", "portalname"),
    "ExecuteStmt": _execute,
    "FetchStmt": _fetch,
    "ExplainStmt": _explain,
    "VariableShowStmt": _show,
    "CopyStmt": _copy,
    "CreateTableAsStmt": _create_as,
}
