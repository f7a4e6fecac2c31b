"""One statement's tree → what it reads, writes and calls.

The walk keeps its own stack, so that no depth of nesting can exhaust Python's. Nodes without a handler are walked
through: nothing below them is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onrecord.policies.model import Action
from onrecord.policies.sql import names
from onrecord.policies.sql.functions import OPERATORS, classify
from onrecord.policies.sql.names import Level, Scope
from onrecord.policies.sql.nodes import STATEMENTS
from onrecord.policies.sql.predicates import is_vacuous
from onrecord.policies.sql.settings import classify_setting, constant_text
from onrecord.policies.sql.wordlists import words

Node = dict[str, Any]

RANK: dict[Action, int] = {"read": 0, "write": 1, "admin": 2, "unknown": 3}
_DML_RANK = {"": 0, "INSERT": 1, "MERGE": 2, "UPDATE": 3, "DELETE": 4}

# Fields that hold a message of one fixed type, which libpg_query prints without its name.
_UNWRAPPED = {
    "larg": "SelectStmt",
    "rarg": "SelectStmt",
    "setstmt": "VariableSetStmt",
    "funccall": "FuncCall",
    "withClause": "WithClause",
    "typeName": "TypeName",
}
_LEAVES = frozenset(
    {"String", "A_Const", "TypeName", "Integer", "Float", "Boolean", "A_Star", "SQLValueFunction", "Alias"}
)
_OPERATOR_KINDS = words(
    "AEXPR_OP AEXPR_OP_ANY AEXPR_OP_ALL AEXPR_DISTINCT AEXPR_NOT_DISTINCT AEXPR_NULLIF AEXPR_IN AEXPR_LIKE "
    "AEXPR_ILIKE AEXPR_SIMILAR"
)


class Walker:
    """Collects the facts of one statement; `run` once, then read the attributes."""

    def __init__(self, search_path: tuple[str, ...]) -> None:
        self.search_path = search_path
        # A path that names pg_catalog behind another schema lets that schema shadow every built-in.
        self.shadowed = "pg_catalog" in search_path[1:]
        self.action: Action = "read"
        self.reasons: list[str] = []
        self.kind = ""
        self.dml = ""
        self.keeps_kind = False
        self.read: set[str] = set()
        self.written: set[str] = set()
        self.whole: set[str] = set()
        self.functions: set[str] = set()
        self.wheres: list[bool] = []
        self.select_where = False
        self.settings: list[tuple[str, str | None]] = []
        self.parameters = 0
        self.transaction = ""
        self.copy = ""
        self.prepares: str | None = None
        self.executes: str | None = None
        self.deallocates: str | None = None
        self.loses: list[str] = []
        self.levels: list[Level] = []
        self.stack: list[tuple[str, Node, Level, Scope | None]] = []
        self.root = self.level(None, target=True)

    # What handlers say

    def raise_to(self, action: Action, reason: str = "") -> None:
        """At least `action`; `reason` is kept where it is more than read."""
        if RANK[action] > RANK[self.action]:
            self.action = action
        if reason and reason not in self.reasons and len(self.reasons) < 16:
            self.reasons.append(reason)

    def modifies(self, kind: str) -> None:
        if _DML_RANK[kind] > _DML_RANK[self.dml]:
            self.dml = kind

    def writes(self, relation: Node, level: Level | None = None) -> list[str]:
        """The relation is written; with `level`, its columns may be referred to there."""
        tables = names.qualify(relation, self.search_path)
        self.written.update(tables)
        if level is not None:
            level.add(relation.get("alias", {}).get("aliasname") or relation.get("relname", ""), tables)
        for table in tables:
            if table.startswith(("pg_catalog.", "information_schema.")):
                if table == names.SETTINGS_RELATION:
                    self.settings.append(("?", None))
                    self.raise_to("unknown", "unknown: changing pg_settings is a SET whose name the text does not fix")
                self.raise_to("admin", f"admin: writes the system catalog {table}")
        return tables

    def reads(self, relation: Node) -> list[str]:
        tables = names.qualify(relation, self.search_path)
        self.read.update(tables)
        for table in tables:
            if table in names.SECRET_RELATIONS:
                self.raise_to("admin", f"admin: {table} holds password hashes")
        return tables

    def sets(self, name: str, value: str | None) -> None:
        self.settings.append((name, value))
        if name == "*":
            return
        action, reason = classify_setting(name)
        self.raise_to(action, f"{action}: {reason}" if reason else "")

    # The walk

    def level(self, parent: Level | None, *, target: bool = False) -> Level:
        made = Level(parent, target=target)
        self.levels.append(made)
        return made

    def run(self, name: str, fields: Node) -> None:
        """Walk the statement `name`."""
        self.push(name, fields, self.root, None)
        stack = self.stack
        while stack:
            name, fields, level, scope = stack.pop()
            handler = HANDLERS.get(name)
            if handler is not None:
                handler(self, fields, level, scope)
            elif name[-4:] == "Stmt":
                self.statement(name, fields, scope)
            else:
                self.children(fields, level, scope)

    def push(self, name: str, fields: Node, level: Level, scope: Scope | None) -> None:
        self.stack.append((name, fields, level, scope))

    def children(self, fields: Node, level: Level, scope: Scope | None, skip: frozenset[str] = frozenset()) -> None:
        """Walk all nodes below `fields` but those in the fields `skip`."""
        for key, value in fields.items():
            if key in skip:
                continue
            if type(value) is dict:
                self.value(key, value, level, scope)
            elif type(value) is list:
                for item in value:
                    if type(item) is dict:
                        self.value(key, item, level, scope)

    def value(self, key: str, value: Node, level: Level, scope: Scope | None) -> None:
        if len(value) == 1:
            for name, inner in value.items():
                if name[0].isupper():
                    if name not in _LEAVES and type(inner) is dict:
                        self.stack.append((name, inner, level, scope))
                    return
        if "relname" in value:
            self.stack.append(("RangeVar", value, level, scope))
        else:
            self.stack.append((_UNWRAPPED.get(key, ""), value, level, scope))

    def statement(self, name: str, fields: Node, scope: Scope | None) -> None:
        """A statement that is no query: look it up, let its handler see it, walk it with its relations as targets."""
        from onrecord.policies.sql.utility import UTILITY

        known = STATEMENTS.get(name)
        if known is None:
            self.kind = self.kind or name.removesuffix("Stmt").upper()
            self.raise_to("unknown", f"unknown: {name} is a statement that onrecord does not know")
            self.children(fields, self.level(None, target=True), scope)
            return
        kind, action = known
        self.kind = self.kind or kind
        self.raise_to(action, f"{action}: {kind} ({name})" if action in {"admin", "unknown"} else "")
        handler = UTILITY.get(name)
        level = self.level(None, target=True)
        if handler is None:
            self.children(fields, level, scope)
        else:
            handler(self, fields, level, scope)

    def with_clause(self, fields: Node, level: Level, scope: Scope | None) -> Scope | None:
        """Queue the CTEs of a statement; the scope that the statement itself sees."""
        clause = fields.get("withClause")
        if clause is None:
            return scope
        ctes = [cte["CommonTableExpr"] for cte in clause.get("ctes", [])]
        known = {cte["ctename"]: index for index, cte in reversed(list(enumerate(ctes)))}
        recursive = clause.get("recursive", False)
        for index, cte in enumerate(ctes):
            inner = Scope(scope, known, len(ctes) if recursive else index)
            self.children(cte, self.level(None if level.target else level), inner)
        return Scope(scope, known, len(ctes))


Handler = Callable[[Walker, Node, Level, Scope | None], None]

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
    tables = walker.writes(fields.get("relation", {}), inner)
    if "returningList" in fields or "returningClause" in fields:
        walker.read.update(tables)
    if kind == "INSERT" and "onConflictClause" in fields:
        inner.aliases["excluded"] = []
    walker.children(fields, inner, scope, _DML_SKIP)
    return inner


def _insert(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    _modify(walker, "INSERT", fields, level, scope)


def _update(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    walker.wheres.append(not is_vacuous(fields.get("whereClause")))
    _modify(walker, "UPDATE", fields, level, scope)


def _delete(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    walker.wheres.append(not is_vacuous(fields.get("whereClause")))
    _modify(walker, "DELETE", fields, level, scope)


def _merge(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    joined = not is_vacuous(fields.get("joinCondition"))
    for clause in fields.get("mergeWhenClauses", []):
        when = clause.get("MergeWhenClause", {})
        command = when.get("commandType")
        if command == "CMD_DELETE":
            walker.modifies("DELETE")
        if command in {"CMD_DELETE", "CMD_UPDATE"}:
            # NOT MATCHED BY SOURCE takes every row that the join leaves over: only its own condition chooses.
            chosen = joined and when.get("matchKind") != "MERGE_WHEN_NOT_MATCHED_BY_SOURCE"
            walker.wheres.append(chosen or not is_vacuous(when.get("condition")))
    _modify(walker, "MERGE", fields, level, scope)


def _range_var(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    if level.target:
        walker.writes(fields)
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
    if len(parts) > 1 and parts[0] != "pg_catalog":
        name = ".".join(parts)
        walker.functions.add(name)
        walker.raise_to("unknown", f"unknown: function {name} is no built-in: its body is not in the text")
    else:
        name = parts[-1]
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
    if setting is None or value is None:
        walker.settings.append(("?", None))
        walker.raise_to("unknown", "unknown: set_config with a name or value that is no constant")
        return
    walker.sets(setting.lower(), value)


def _check_operator(walker: Walker, parts: list[Node]) -> None:
    words = [part.get("String", {}).get("sval", "") for part in parts]
    if not words:
        return
    if len(words) > 1 and words[0] != "pg_catalog":
        walker.raise_to("unknown", f"unknown: operator {'.'.join(words)} is no built-in")
    elif words[-1] not in OPERATORS:
        walker.raise_to("unknown", f"unknown: operator {words[-1]} is no built-in")
    elif len(words) == 1 and walker.shadowed:
        walker.raise_to("unknown", "unknown: search_path lets another schema stand in for operators")


def _expression(walker: Walker, fields: Node, level: Level, scope: Scope | None) -> None:
    parts = fields.get("name", [])
    if fields.get("kind") in _OPERATOR_KINDS and (
        len(parts) > 1 or walker.shadowed or parts[0]["String"].get("sval") not in OPERATORS
    ):
        _check_operator(walker, parts)
    for side in ("lexpr", "rexpr"):
        value = fields.get(side)
        if value is not None:
            walker.value(side, value, level, scope)


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
            walker.reads(fields[key])
    walker.children(fields, level, scope, frozenset({"pktable", "relation"}))


HANDLERS: dict[str, Handler] = {
    "SelectStmt": _select,
    "InsertStmt": _insert,
    "UpdateStmt": _update,
    "DeleteStmt": _delete,
    "MergeStmt": _merge,
    "RangeVar": _range_var,
    "RangeSubselect": _derived,
    "RangeFunction": _derived,
    "RangeTableFunc": _derived,
    "JsonTable": _derived,
    "JoinExpr": _join,
    "RangeTableSample": _sample,
    "ColumnRef": _column,
    "ParamRef": _param,
    "FuncCall": _call,
    "A_Expr": _expression,
    "SubLink": _sublink,
    "SortBy": _sort,
    "Constraint": _reference,
    "TableLikeClause": _reference,
}
