"""Statements that are no queries: what each one acts upon, and when it is more than its table entry says."""

from __future__ import annotations

from typing import Any

from onrecord.policies.sql import nodes
from onrecord.policies.sql.facts import RANK
from onrecord.policies.sql.names import Level, Scope
from onrecord.policies.sql.nodes import STATEMENTS
from onrecord.policies.sql.settings import changes_of, constant_text
from onrecord.policies.sql.walker import UTILITY, Walker
from onrecord.policies.sql.wordlists import words

Node = dict[str, Any]

_FALSE = frozenset({"off", "false", "0", "no", "f", "n"})


def strings(node: Any) -> list[str]:
    """The names in a String, a List of Strings or a list of them."""
    if isinstance(node, list):
        return [name for item in node for name in strings(item)]
    if isinstance(node, dict):
        if "String" in node:
            return [str(node["String"].get("sval", ""))]
        if "List" in node:
            return strings(node["List"].get("items", []))
    return []


def _relation(parts: list[str]) -> Node:
    """A RangeVar from the parts of a qualified name."""
    relation: Node = {"relname": parts[-1], "inh": True}
    return {**relation, "schemaname": parts[-2]} if len(parts) > 1 else relation


def _explain(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    runs = False
    for option in fields.get("options", []):
        element = option.get("DefElem", {})
        if str(element.get("defname", "")).lower() != "analyze":
            continue
        argument = element.get("arg")
        text = "".join(strings(argument)) or constant_text(argument) if argument else "on"
        if argument and "Boolean" in argument:
            text = "on" if argument["Boolean"].get("boolval") else "off"
        elif argument and "Integer" in argument:
            text = str(argument["Integer"].get("ival", 0))
        runs = runs or str(text).lower() not in _FALSE
    name, inner = next(iter(fields.get("query", {"": {}}).items()))
    if runs:
        walker.kind = STATEMENTS.get(name, ("EXPLAIN", ""))[0]
        walker.push(name, inner, level, scope)
        return
    plan = Walker(walker.search_path, walker.known, walker.trace)
    plan.run(name, inner)
    walker.read |= plan.read | plan.written
    walker.whole |= plan.whole
    walker.functions |= plan.functions
    walker.mentions |= plan.mentions
    walker.foreign |= plan.foreign
    walker.columns |= plan.columns
    walker.types |= plan.types
    walker.temporary = walker.temporary or plan.temporary
    walker.levels += plan.levels
    walker.parameters = max(walker.parameters, plan.parameters)
    walker.executes = plan.executes
    walker.select_where = plan.select_where
    # The planner runs stable and immutable functions while it plans; writes do not happen.
    if RANK[plan.action] > RANK["write"]:
        for action in plan.actions - {"write"}:
            walker.raise_to(action, runs=plan.ddl)
        for reason in plan.reasons:
            walker.raise_to("read", reason)


def _prepare(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    walker.prepares = fields.get("name", "")
    name, inner = next(iter(fields.get("query", {"": {}}).items()))
    walker.kind = STATEMENTS.get(name, ("PREPARE", ""))[0]
    walker.push(name, inner, level, scope)


def _execute(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    walker.executes = fields.get("name", "")
    walker.children(fields, level, scope)


def _deallocate(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:  # noqa: ARG001
    walker.deallocates = fields.get("name") or "*"


def _copy(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    inward = fields.get("is_from", False)
    if fields.get("is_program"):
        walker.copy = "program"
        walker.raise_to("admin", "admin: COPY runs a program on the server")
    elif fields.get("filename") is not None:
        walker.copy = "file"
        walker.raise_to("admin", "admin: COPY reads or writes a file on the server")
    else:
        walker.copy = "in" if inward else "out"
    relation = fields.get("relation")
    if relation is not None and inward:
        walker.raise_to("write")
        walker.writes(relation, rows=True)
    elif relation is not None:
        tables = walker.reads(relation)
        columns = strings(fields.get("attlist", []))
        if columns:
            source = walker.level(None)
            source.add(relation.get("relname", ""), tables)
            source.columns += [[{"String": {"sval": column}}] for column in columns]
        else:
            walker.whole.update(tables)
    walker.children(fields, level, scope, frozenset({"relation", "attlist"}))


def _transaction(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:  # noqa: ARG001
    known = nodes.TRANSACTIONS.get(fields.get("kind", ""))
    if known is None:
        walker.raise_to("unknown", "unknown: a transaction statement that onrecord does not know")
        return
    walker.kind, walker.transaction, action = known
    walker.raise_to(action)
    for option in fields.get("options", []):
        element = option.get("DefElem", {})
        walker.settings.append((str(element.get("defname", "")), constant_text(element.get("arg"))))


def _set(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:  # noqa: ARG001
    if fields.get("kind") in {"VAR_RESET", "VAR_RESET_ALL"} and walker.kind == "SET":
        walker.kind = "RESET"
    for name, value in changes_of(fields):
        walker.sets(name, value)


def _discard(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:  # noqa: ARG001
    if fields.get("target") == "DISCARD_ALL":
        walker.settings.append(("*", None))
        walker.deallocates = "*"


def _drop(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    kind = fields.get("removeType", "")
    if kind not in nodes.DROP_WRITE:
        walker.raise_to("admin", f"admin: DROP {kind.removeprefix('OBJECT_').replace('_', ' ')}")
    for item in fields.get("objects", []):
        parts = strings(item)
        if parts and kind in nodes.RELATION_OBJECTS:
            walker.writes(_relation(parts))
        elif len(parts) > 1 and kind in nodes.MEMBER_OBJECTS:
            walker.writes(_relation(parts[:-1]))
    walker.children(fields, level, scope)


def _comment(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    kind, parts = fields.get("objtype", ""), strings(fields.get("object"))
    if parts and kind in nodes.RELATION_OBJECTS:
        walker.writes(_relation(parts))
    elif len(parts) > 1 and kind in nodes.MEMBER_OBJECTS:
        walker.writes(_relation(parts[:-1]))
    walker.children(fields, level, scope)


def _replaces(command: Node) -> bool:
    """Whether TYPE … USING puts something else in the place of the data than the column's own value, cast."""
    using = command.get("def", {}).get("ColumnDef", {}).get("raw_default")
    while using and "TypeCast" in using and "typmods" not in using["TypeCast"].get("typeName", {}):
        using = using["TypeCast"].get("arg")
    return using is not None and strings(using.get("ColumnRef", {}).get("fields", []))[-1:] != [command.get("name")]


def _alter_table(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    relation = fields.get("relation", {})
    tables = walker.writes(relation)
    for item in fields.get("cmds", []):
        command = item.get("AlterTableCmd", {})
        subtype = command.get("subtype", "")
        plain = subtype.removeprefix("AT_")
        if subtype in nodes.ALTER_TABLE_ADMIN:
            walker.raise_to("admin", f"admin: ALTER TABLE {plain}")
        elif subtype not in nodes.ALTER_TABLE_WRITE:
            walker.raise_to("unknown", f"unknown: ALTER TABLE {plain or 'subcommand'} is not known")
        elif plain.endswith("RelOptions") and fields.get("objtype") == "OBJECT_VIEW":
            walker.raise_to("admin", "admin: options of a view decide whose rights it uses")
        elif subtype == "AT_DropColumn":
            column = command.get("name", "")
            walker.loses += [f"column {table}.{column}" for table in tables]
        elif subtype == "AT_AlterColumnType" and _replaces(command):
            column = command.get("name", "")
            walker.loses += [f"values of column {table}.{column}" for table in tables]
    walker.children(fields, level, scope, frozenset({"relation"}))


_SHAPE = nodes.DROP_WRITE | words("COLUMN ATTRIBUTE TABCONSTRAINT DOMCONSTRAINT STATISTIC_EXT", prefix="OBJECT_")


def _rename(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    """RENAME and SET SCHEMA: of tables and types a write; of roles, functions, policies, … admin."""
    kind = fields.get("renameType") or fields.get("objectType", "")
    if kind not in _SHAPE:
        walker.raise_to("admin", f"admin: ALTER {kind.removeprefix('OBJECT_').replace('_', ' ')}")
    walker.children(fields, level, scope)


def _define(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    kind = fields.get("kind", "")
    if kind not in {"OBJECT_COLLATION", "OBJECT_TSDICTIONARY", "OBJECT_TSCONFIGURATION"}:
        walker.raise_to("admin", f"admin: CREATE {kind.removeprefix('OBJECT_')} plants code")
    walker.children(fields, level, scope)


def _alter_type(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    walker.raise_to("admin", "admin: ALTER TYPE SET changes the type's functions")
    walker.children(fields, level, scope)


def _code(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    """CREATE FUNCTION and CREATE RULE: what stands inside runs later, so it does not name the statement."""
    walker.keeps_kind = True
    walker.children(fields, level, scope)


def _schema(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    """CREATE SCHEMA s CREATE TABLE t …: names without a schema are in the new one."""
    schema = fields.get("schemaname") or fields.get("authrole", {}).get("rolename", "")
    for element in fields.get("schemaElts", []):
        for inner in element.values():
            for key in ("relation", "view", "sequence"):
                if key in inner and schema:
                    inner[key].setdefault("schemaname", schema)
    walker.children(fields, level, scope)


def _truncate(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:  # noqa: ARG001
    cascade = fields.get("behavior") == "DROP_CASCADE"
    for item in fields.get("relations", []):
        walker.writes(item["RangeVar"], rows=True, along="all" if cascade else "none")


def _vacuum(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    if not fields.get("is_vacuumcmd"):
        walker.kind = "ANALYZE"
    walker.children(fields, level, scope)


def _grant(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    if not fields.get("is_grant", False):
        walker.kind = "REVOKE"
    walker.children(fields, level, scope)


UTILITY.update(
    {
        "ExplainStmt": _explain,
        "PrepareStmt": _prepare,
        "ExecuteStmt": _execute,
        "DeallocateStmt": _deallocate,
        "CopyStmt": _copy,
        "TransactionStmt": _transaction,
        "VariableSetStmt": _set,
        "DiscardStmt": _discard,
        "DropStmt": _drop,
        "CommentStmt": _comment,
        "AlterTableStmt": _alter_table,
        "RenameStmt": _rename,
        "AlterObjectSchemaStmt": _rename,
        "DefineStmt": _define,
        "AlterTypeStmt": _alter_type,
        "CreateFunctionStmt": _code,
        "RuleStmt": _code,
        "CreateSchemaStmt": _schema,
        "TruncateStmt": _truncate,
        "VacuumStmt": _vacuum,
        "GrantStmt": _grant,
        "GrantRoleStmt": _grant,
    }
)
