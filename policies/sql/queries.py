"""Queries and expressions: what SELECT, INSERT, UPDATE, DELETE, MERGE and the nodes inside them say to the walker."""

from __future__ import annotations

from typing import Any

from onrecord.policies.sql import names
from onrecord.policies.sql.definitions import Definition, is_temporary
from onrecord.policies.sql.functions import LISTED, OPERATORS, ROWS, SCHEMA_HELPERS, classify, is_built_in
from onrecord.policies.sql.names import Level, Scope
from onrecord.policies.sql.predicates import is_vacuous
from onrecord.policies.sql.settings import constant_text
from onrecord.policies.sql.syntax import NODES, function_of, unqualified
from onrecord.policies.sql.targets import target_of, twins_of
from onrecord.policies.sql.walker import HANDLERS, Handler, Walker
from onrecord.policies.sql.wordlists import words

Node = dict[str, Any]

_OPERATOR_KINDS = words(
    "AEXPR_OP AEXPR_OP_ANY AEXPR_OP_ALL AEXPR_DISTINCT AEXPR_NOT_DISTINCT AEXPR_NULLIF AEXPR_IN AEXPR_LIKE "
    "AEXPR_ILIKE AEXPR_SIMILAR"
)

_ROWS_CHANGE = frozenset({"TRUNCATE", "LOCK", "REFRESH"})
_SELECT_SKIP = frozenset({"withClause", "intoClause", "lockingClause"})
_DML_SKIP = frozenset({"withClause", "relation"})


def _select(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    if level.target:
        walker.kind = walker.kind or "SELECT"
        where = fields.get("whereClause")
        walker.select_where = where is not None and not is_vacuous(where)
    scope = walker.with_clause(fields, level, scope)
    inner = walker.level(None if level.target else level)
    into = fields.get("intoClause")
    if into is not None:
        walker.writes(into.get("rel", {}))
        walker.defines(Definition((into["rel"].get("relname", ""),), is_temporary(into["rel"])))
        walker.raise_to("write", "write: SELECT INTO creates a table")
        walker.children(into, inner, scope, frozenset({"rel"}))
    if "lockingClause" in fields:
        walker.raise_to("write", "write: locks the rows it reads")
    walker.children(fields, inner, scope, _SELECT_SKIP)


def _modify(walker: Walker, kind: str, fields: Node, level: Level, scope: Scope | None) -> Level:
    """The common part of INSERT, UPDATE, DELETE and MERGE; the level that their expressions see."""
    walker.kind = walker.kind or kind
    walker.raise_to("write")
    walker.modifies(kind)
    scope = walker.with_clause(fields, level, scope)
    inner = walker.level(None if level.target else level)
    tables = walker.writes(
        fields.get("relation", {}), inner, rows=True, along="none" if kind == "INSERT" else "cascades"
    )
    if "returningList" in fields or "returningClause" in fields:
        walker.read.update(tables)
    if kind == "INSERT" and "onConflictClause" in fields:
        inner.aliases["excluded"] = []
    walker.children(fields, inner, scope, _DML_SKIP)
    return inner


def _insert(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    if _rewrites_all(fields):
        walker.modifies("UPDATE")
        walker.wheres.append(False)
    _modify(walker, "INSERT", fields, level, scope)


def _rewrites_all(fields: Node) -> bool:
    """`INSERT INTO orders SELECT … FROM orders ON CONFLICT … DO UPDATE`: an UPDATE of every row by another name."""
    conflict = fields.get("onConflictClause", {})
    select = fields.get("selectStmt", {}).get("SelectStmt", {})
    target = target_of(fields)
    return (
        conflict.get("action") == "ONCONFLICT_UPDATE"
        and "limitCount" not in select
        and bool(twins_of(select.get("fromClause", []), target.relation))
        and is_vacuous(select.get("whereClause"))
        and is_vacuous(conflict.get("whereClause"), target)
    )


def _update(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    walker.wheres.append(not is_vacuous(fields.get("whereClause"), target_of(fields)))
    _modify(walker, "UPDATE", fields, level, scope)


def _delete(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    walker.wheres.append(not is_vacuous(fields.get("whereClause"), target_of(fields)))
    _modify(walker, "DELETE", fields, level, scope)


def _merge(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    joined = not is_vacuous(fields.get("joinCondition"), target_of(fields))
    walker.select_where = walker.select_where or level.target  # one that only inserts takes no row away
    for clause in fields.get("mergeWhenClauses", []):
        when = clause.get("MergeWhenClause", {})
        command = when.get("commandType")
        if command == "CMD_DELETE":
            walker.modifies("DELETE")
        if command in {"CMD_DELETE", "CMD_UPDATE"}:
            # NOT MATCHED BY SOURCE takes every row that the join leaves over: only its own condition chooses.
            chosen = joined and when.get("matchKind") != "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
            walker.wheres.append(chosen or not is_vacuous(when.get("condition"), target_of(fields)))
    _modify(walker, "MERGE", fields, level, scope)


def _range_var(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    if level.target:
        walker.writes(fields, rows=walker.kind in _ROWS_CHANGE)
        return
    name = fields.get("relname", "")
    alias = fields.get("alias", {})
    if "schemaname" not in fields and names.in_scope(scope, name):
        level.add(alias.get("aliasname", name), [])
        return
    tables = walker.reads(fields)
    level.add(alias.get("aliasname", name), tables)
    if "colnames" in alias:  # `customers AS c (a, b)` renames columns: any of them may be meant
        walker.whole.update(tables)


def _derived(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    level.add(fields.get("alias", {}).get("aliasname", ""), [])
    walker.children(fields, level, scope)


def _range_function(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    """A function in FROM: where it returns a plain value, `alias.name` may call the function `name` on it."""
    alias: Node = fields.get("alias", {})
    calls = [item for entry in fields.get("functions", []) for item in entry.get("List", {}).get("items", []) if item]
    own = {name for item in calls for name in _strings(item.get("FuncCall", {}).get("funcname", []))[-1:]}
    name = alias.get("aliasname") or next(iter(own), "")
    columns = own | {name} | set(_strings(alias.get("colnames", [])))
    columns |= {entry["ColumnDef"].get("colname", "") for entry in fields.get("coldeflist", [])}
    level.add(name, [])
    if not own or not own <= ROWS:
        level.values[name] = columns
    walker.children(fields, level, scope, frozenset({"alias"}))


def _strings(nodes: list[Node]) -> list[str]:
    return [str(node["String"].get("sval", "")) for node in nodes if "String" in node]


def _indirection(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    """`(x).name` is a field of a row, or else a call of the function `name` on x."""
    call = _strings(fields.get("arg", {}).get("FuncCall", {}).get("funcname", []))
    row = bool(call) and call[-1] in ROWS and call[:-1] in ([], ["pg_catalog"])
    for name in _strings(fields.get("indirection", [])):
        if not row or name in LISTED:
            walker.may_call(name)
    walker.children(fields, level, scope)


def _join(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    for column in fields.get("usingClause", []):
        level.columns.append([column])
    if "alias" in fields or "join_using_alias" in fields:
        level.derived = True
        if "alias" in fields:
            level.columns.append([{"A_Star": {}}])  # `(a JOIN b) AS j (x, y)` renames as well
    walker.children(fields, level, scope, frozenset({"usingClause", "alias", "join_using_alias"}))


def _column(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:  # noqa: ARG001
    if not level.target:
        level.columns.append(fields.get("fields", []))


def _param(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:  # noqa: ARG001
    walker.parameters = max(walker.parameters, fields.get("number", 0))


def _call(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    parts = [part["String"].get("sval", "") for part in fields.get("funcname", [])]
    args: list[Node] = fields.get("args", [])
    walker.mentions.add(parts[-1])
    if parts[-2:-1] == ["information_schema"] and parts[-1] in SCHEMA_HELPERS:
        walker.functions.add(".".join(parts))
    elif len(parts) > 1 and parts[0] != "pg_catalog":
        name = ".".join(parts)
        if not walker.calls(parts):
            walker.functions.add(name)
            if walker.known is None:
                walker.raise_to("unknown", f"unknown: function {name} is no built-in: its body is not in the text")
            elif walker.known.is_type(parts):
                walker.types.add(parts[-1])
            else:
                walker.raise_to("unknown", f"unknown: function {name} is not in the catalog: it is new or not there")
    else:
        name = parts[-1]
        own = walker.calls(parts[-1:] if unqualified(parts) else parts)
        if walker.known is not None and not own and walker.known.is_type(parts):
            walker.types.add(name)
            own = not is_built_in(name)
        if own and not is_built_in(name):
            walker.children(fields, level, scope, frozenset({"funcname"}))
            return
        walker.functions.add(name)
        if len(parts) == 1 and walker.shadowed:
            walker.raise_to("unknown", f"unknown: search_path lets another schema stand in for {name}")
        if name == "set_config":
            _set_config(walker, args)
        else:
            action, reason = classify(name)
            if action != "read":
                walker.raise_to(action, f"{action}: function {name} {reason}")
    walker.children(fields, level, scope, frozenset({"funcname"}))


def _set_config(walker: Walker, args: list[Node]) -> None:
    setting = constant_text(args[0]) if args else None
    value = constant_text(args[1]) if len(args) > 1 else None
    if setting is None:
        walker.settings.append(("?", None))
        walker.raise_to("unknown", "unknown: set_config with a name that is no constant")
        return
    walker.sets(setting.lower(), "?" if value is None else value)


def _check_operator(walker: Walker, parts: list[Node]) -> None:
    words = [part.get("String", {}).get("sval", "") for part in parts]
    if not words:
        return
    walker.mentions.add(words[-1])
    if walker.known is not None and words[-1] in walker.known.catalog.operators_by_name:
        facts = walker.known.operator(words, walker.trace)
        if facts is not None:
            walker.absorb(facts)
            return
    if len(words) > 1 and words[0] != "pg_catalog":
        walker.raise_to("unknown", f"unknown: operator {'.'.join(words)} is no built-in")
    elif words[-1] not in OPERATORS:
        walker.raise_to("unknown", f"unknown: operator {words[-1]} is no built-in")
    elif len(words) == 1 and walker.shadowed:
        walker.raise_to("unknown", "unknown: search_path lets another schema stand in for operators")


def _expression(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    parts = fields.get("name", [])
    walker.mentions.add(parts[-1]["String"].get("sval"))
    if fields.get("kind") in _OPERATOR_KINDS and (
        len(parts) > 1
        or walker.shadowed
        or parts[0]["String"].get("sval") not in OPERATORS
        or (walker.known is not None and parts[0]["String"].get("sval") in walker.known.odd_operators)
    ):
        _check_operator(walker, parts)
    for side in ("lexpr", "rexpr"):
        value = fields.get(side)
        if value is not None:
            walker.value(side, value, level, scope)


def _type(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    name = _strings(fields.get("names", []))[-1:]
    walker.mentions.update(name)
    if walker.known is not None:
        walker.types.update(name)
    if "typmods" in fields:
        walker.children({"typmods": fields["typmods"]}, level, scope)


def _result(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    """One column of a result or of an UPDATE; by far the most common node."""
    value = fields.get("val")
    if value is not None:
        walker.value("val", value, level, scope)
    if "indirection" in fields:
        walker.children({"indirection": fields["indirection"]}, level, scope)


def _sublink(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    _check_operator(walker, fields.get("operName", []))
    walker.children(fields, level, scope, frozenset({"operName"}))


def _sort(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    _check_operator(walker, fields.get("useOp", []))
    walker.children(fields, level, scope, frozenset({"useOp"}))


def _sample(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    method = [part["String"].get("sval", "") for part in fields.get("method", [])]
    if method[-1:] not in (["bernoulli"], ["system"]) or (len(method) > 1 and method[0] != "pg_catalog"):
        walker.raise_to("unknown", f"unknown: sampling method {'.'.join(method)} is no built-in")
    walker.children(fields, level, scope, frozenset({"method"}))


def _reference(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    """REFERENCES and LIKE look at a relation, they do not act upon it."""
    for key in ("pktable", "relation"):
        if key in fields:
            walker.reads(fields[key], rows=False)
    walker.children(fields, level, scope, frozenset({"pktable", "relation"}))


def _syntax(node: str) -> Handler:
    """What is syntax here and may be the call of a function of the database to an older server."""

    def handle(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
        name = function_of(node, fields)
        if name:
            walker.mentions.add(name)
            walker.calls([name])
        walker.children(fields, level, scope)

    return handle


def _json_table(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    walker.mentions.add("json_table")
    walker.calls(["json_table"])
    _derived(walker, fields, level, scope)


HANDLERS.update({node: _syntax(node) for node in NODES})
HANDLERS.update(
    {
        "SelectStmt": _select,
        "InsertStmt": _insert,
        "UpdateStmt": _update,
        "DeleteStmt": _delete,
        "MergeStmt": _merge,
        "RangeVar": _range_var,
        "RangeSubselect": _derived,
        "RangeFunction": _range_function,
        "RangeTableFunc": _derived,
        "JsonTable": _json_table,
        "JoinExpr": _join,
        "RangeTableSample": _sample,
        "ColumnRef": _column,
        "ParamRef": _param,
        "A_Indirection": _indirection,
        "FuncCall": _call,
        "ResTarget": _result,
        "TypeName": _type,
        "A_Expr": _expression,
        "SubLink": _sublink,
        "SortBy": _sort,
        "Constraint": _reference,
        "TableLikeClause": _reference,
    }
)
