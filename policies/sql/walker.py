"""One statement's tree → what it reads, writes and calls.

The walk keeps its own stack, so that no depth of nesting can exhaust Python's. Nodes without a handler are walked
through: nothing below them is missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onrecord.policies.model import Action
from onrecord.policies.sql import names
from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.definitions import (
    ANYTHING,
    EVERYTHING,
    NOTHING,
    Definition,
    definition_of,
    is_temporary,
    strings_below,
)
from onrecord.policies.sql.functions import FIELDS, LISTED, classify
from onrecord.policies.sql.names import Level, Scope
from onrecord.policies.sql.nodes import STATEMENTS
from onrecord.policies.sql.settings import classify_setting

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
_LEAVES = frozenset({"String", "A_Const", "Integer", "Float", "Boolean", "A_Star", "SQLValueFunction", "Alias"})


class Walker:
    """Collects the facts of one statement; `run` once, then read the attributes."""

    def __init__(self, search_path: tuple[str, ...], catalog: Catalog | None = None) -> None:
        self.search_path = search_path
        self.catalog = catalog
        # A path that names pg_catalog behind another schema lets that schema shadow every built-in.
        self.shadowed = "pg_catalog" in search_path[1:]
        self.action: Action = "read"
        self.actions: set[Action] = {"read"}
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
        self.ddl = False
        self.creates: list[str] = []
        self.temporary = False
        self.mentions: set[str] = set()
        self.foreign: set[str] = set()
        self.levels: list[Level] = []
        self.stack: list[tuple[str, Node, Level, Scope | None]] = []
        self.root = self.level(None, target=True)

    # What handlers say

    def raise_to(self, action: Action, reason: str = "") -> None:
        """At least `action`; `reason` is kept where it is more than read."""
        self.actions.add(action)
        if action == "unknown":
            self.defines(ANYTHING)
        if RANK[action] > RANK[self.action]:
            self.action = action
        if reason and reason not in self.reasons and len(self.reasons) < 16:
            self.reasons.append(reason)

    def defines(self, definition: Definition) -> None:
        """Objects of the catalog are made, changed or dropped."""
        if definition is ANYTHING and self.ddl and EVERYTHING in self.creates:
            return
        self.ddl = self.ddl or definition.ddl
        self.temporary = self.temporary or definition.temporary
        self.creates += [name for name in definition.names if name not in self.creates]
        self.mentions.update(definition.names)

    def modifies(self, kind: str) -> None:
        if _DML_RANK[kind] > _DML_RANK[self.dml]:
            self.dml = kind

    def writes(self, relation: Node, level: Level | None = None) -> list[str]:
        """The relation is written; with `level`, its columns may be referred to there."""
        tables = names.qualify(relation, self.search_path)
        self.written.update(tables)
        self.mention(relation)
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
        self.mention(relation)
        for table in tables:
            if table == names.SETTINGS_RELATION and self.kind == "CREATE":
                self.raise_to("admin", "admin: an object on pg_settings makes an UPDATE of it a hidden SET")
            if table in names.SECRET_RELATIONS:
                self.raise_to("admin", f"admin: {table} holds password hashes")
        return tables

    def mention(self, relation: Node) -> None:
        self.mentions.add(relation.get("relname", ""))
        self.temporary = self.temporary or is_temporary(relation)

    def may_call(self, name: str) -> None:
        """`(x).name` or `alias.name`: PostgreSQL calls the function `name` where x has no such field."""
        self.mentions.add(name)
        action, reason = classify(name)
        if action == "read":
            self.functions.add(name)
            if self.shadowed:
                self.raise_to("unknown", f"unknown: search_path lets another schema stand in for {name}")
        elif name in LISTED:
            self.functions.add(name)
            self.raise_to(action, f"{action}: function {name} {reason}")
        elif name not in FIELDS:
            self.raise_to("unknown", f"unknown: .{name} calls a function of that name where no row has such a field")

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
        known = STATEMENTS.get(name)
        if known is None:
            self.kind = self.kind or name.removesuffix("Stmt").upper()
            self.raise_to("unknown", f"unknown: {name} is a statement that onrecord does not know")
            self.children(fields, self.level(None, target=True), scope)
            return
        kind, action = known
        self.kind = self.kind or kind
        definition = definition_of(name, fields)
        if definition is not NOTHING:
            self.defines(definition)
            self.mentions.update(strings_below(fields))
        if name == "ExecuteStmt":
            self.actions.add(action)
            self.action = action
            self.reasons.append(f"{action}: {kind} ({name})")
        else:
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

# By node name. queries.py fills the first, utility.py the second; analysis.py imports both.
HANDLERS: dict[str, Handler] = {}
UTILITY: dict[str, Handler] = {}
