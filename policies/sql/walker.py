"""One statement's tree → what it reads, writes and calls.

The walk keeps its own stack, so that no depth of nesting can exhaust Python's. Nodes without a handler are walked
through: nothing below them is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from onrecord.policies.model import Action
from onrecord.policies.sql import names
from onrecord.policies.sql.definitions import (
    ANYTHING,
    EVERYTHING,
    NOTHING,
    Definition,
    definition_of,
    is_temporary,
    strings_below,
)
from onrecord.policies.sql.facts import KIND_RANK, RANK, Facts
from onrecord.policies.sql.functions import FIELDS, LISTED, classify
from onrecord.policies.sql.names import Level, Scope
from onrecord.policies.sql.nodes import STATEMENTS
from onrecord.policies.sql.settings import classify_setting
from onrecord.policies.sql.trace import Trace

if TYPE_CHECKING:
    from onrecord.policies.sql.known import Along, Known

Node = dict[str, Any]


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

    def __init__(self, search_path: tuple[str, ...], known: Known | None = None, trace: Trace | None = None) -> None:
        self.search_path = search_path
        self.known = known
        self.trace = trace or Trace()
        self.stored = trace is not None  # the text of a view or function: its parameters have the types of arguments
        self.types: set[str] = set()
        # A path that names pg_catalog behind another schema lets that schema shadow every built-in.
        # A catalog says what that schema really holds.
        self.shadowed = known is None and "pg_catalog" in search_path[1:]
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
        self.columns: set[str] = set()
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
        self.absent: list[str] = []
        self.levels: list[Level] = []
        self.stack: list[tuple[str, Node, Level, Scope | None]] = []
        self.root = self.level(None, target=True)

    # What handlers say

    def raise_to(self, action: Action, reason: str = "", *, runs: bool = True) -> None:
        """At least `action`; `reason` is kept where it is more than read.

        `runs`: what is unknown may run code, which may define anything.
        """
        self.actions.add(action)
        if action == "unknown" and runs:
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
        self.mentions.update(name for name in definition.names if name != EVERYTHING)

    def modifies(self, kind: str) -> None:
        if KIND_RANK[kind] > KIND_RANK[self.dml]:
            self.dml = kind

    def writes(
        self, relation: Node, level: Level | None = None, *, rows: bool = False, along: Along = "none"
    ) -> Sequence[str]:
        """The relation is written; with `level`, its columns may be referred to there.

        `rows`: its rows change, so that views, rules and triggers act; else its shape does, and it may be new. `along`:
        which tables that refer to it change with it.
        """
        direct, tables, found = self.named(relation)
        self.written.update(tables)
        self.mention(relation)
        if level is not None:
            level.add(relation.get("alias", {}).get("aliasname") or relation.get("relname", ""), tables)
        if self.known is not None:
            if rows and not found:
                self.missing("relation", relation)
            for table in direct:
                if rows:
                    self.absorb(self.known.writing(table, self.trace, only=not relation.get("inh"), along=along))
                else:
                    facts = self.known.family(table)
                    self.written |= facts.read
                    self.foreign |= facts.foreign
        for table in tables:
            if table.startswith(("pg_catalog.", "information_schema.")):
                if table == names.SETTINGS_RELATION:
                    self.settings.append(("?", None))
                    self.raise_to("unknown", "unknown: changing pg_settings is a SET whose name the text does not fix")
                self.raise_to("admin", f"admin: writes the system catalog {table}")
        return tables

    def named(self, relation: Node) -> tuple[Sequence[str], Sequence[str], bool]:
        """What a RangeVar may stand for as `schema.table`, the same with its ancestors, whether the catalog has it."""
        if self.known is None:
            return (), names.qualify(relation, self.search_path), True
        tables = self.known.tables(relation.get("schemaname", ""), relation.get("relname", ""))
        return tables.names, tables.above, tables.known

    def missing(self, what: str, relation: Node) -> None:
        name = ".".join(filter(None, (relation.get("schemaname"), relation.get("relname"))))
        reason = f"unknown: {what} {name} is not in the catalog: it is new, temporary or not there"
        if name.startswith(("pg_", "information_schema.")):  # a later server may have it
            self.raise_to("unknown", reason, runs=False)
        elif reason not in self.absent:
            self.absent.append(reason)

    def absorb(self, facts: Facts) -> None:
        """What a view, function or operator does, the statement does."""
        self.read |= facts.read
        if facts.quiet:
            if facts.foreign:
                self.foreign |= facts.foreign
            if facts.columns or facts.mentions:
                self.columns |= facts.columns
                self.mentions |= facts.mentions
                self.functions |= facts.functions
            return
        self.written |= facts.written
        self.columns |= facts.columns
        self.functions |= facts.functions
        self.foreign |= facts.foreign
        self.mentions |= facts.mentions
        self.wheres += facts.wheres
        self.settings += facts.settings
        for reason in facts.reasons:
            self.raise_to("read", reason)
        for action in facts.actions:
            self.raise_to(action, runs=False)
        if facts.kind:
            self.modifies(facts.kind)
        if facts.ddl or facts.temporary:
            self.defines(Definition(facts.creates, facts.temporary, facts.ddl))

    def inner_kind(self) -> str:
        """What this statement makes of the kind of one that it hides in: "" for one that takes no rows away."""
        if self.loses:
            return "DROP"
        kind = self.kind if KIND_RANK.get(self.kind, 0) > KIND_RANK[self.dml] else self.dml
        return kind if kind in KIND_RANK else ""

    def finish(self) -> set[str]:
        """After `run`: calls in the notation of columns, casts; all columns that are read."""
        for called in names.value_calls(self.levels):
            self.may_call(called)
        if self.known is not None:
            for called in names.row_calls(self.levels, self.known):
                self.calls([called])
            silent = self.known.silent_operators
            if not silent.plain and (self.read or self.written or self.functions):
                self.absorb(silent)
            if self.known.odd_casts:
                tables = self.read | self.written
                open_types = self.parameters > 0 and not self.stored
                casts = self.known.casts(self.types, tables, self.functions, parameters=open_types)
                self.absorb(casts)
        columns = names.resolve(self.levels, self.known)
        if self.columns:
            columns |= self.columns
        if self.whole:
            columns.update([f"{table}.*" for table in self.whole])
        if names.SECRET_COLUMNS.isdisjoint(columns):
            return columns
        for column in sorted(columns & names.SECRET_COLUMNS):
            self.raise_to("admin", f"admin: {column} holds passwords for other servers")
        return columns

    def calls(self, parts: list[str]) -> bool:
        """A function of the catalog may be called; False where it has none of that name."""
        facts = None if self.known is None else self.known.function(parts, self.trace)
        if facts is not None:
            self.absorb(facts)
        return facts is not None

    def reads(self, relation: Node, *, rows: bool = True) -> Sequence[str]:
        """The relation is read; `rows` is false where only its shape is looked at."""
        direct, tables, found = self.named(relation)
        self.read.update(tables)
        self.mention(relation)
        if self.known is not None:
            if rows and not found:
                self.missing("relation", relation)
            for table in direct if rows else ():
                self.absorb(self.known.reading(table, self.trace, only=not relation.get("inh")))
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
        self.calls([name])
        action, reason = classify(name)
        if action == "read":
            self.functions.add(name)
            if self.shadowed:
                self.raise_to("unknown", f"unknown: search_path lets another schema stand in for {name}")
        elif name in LISTED:
            self.functions.add(name)
            self.raise_to(action, f"{action}: function {name} {reason}")
        elif self.known is None and name not in FIELDS:
            self.raise_to("unknown", f"unknown: .{name} calls a function of that name where no row has such a field")

    def sets(self, name: str, value: str | None) -> None:
        self.settings.append((name, value))
        if name == "*":
            return
        action, reason = classify_setting(name, value)
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
        value = self.value
        for key, below in fields.items():
            if key in skip:
                continue
            if type(below) is dict:
                value(key, below, level, scope)
            elif type(below) is list:
                for item in below:
                    if type(item) is dict:
                        value(key, item, level, scope)

    def value(self, key: str, value: Node, level: Level, scope: Scope | None) -> None:
        """Walk one node, `{Name: fields}`, or the bare fields of one whose type the field `key` fixes."""
        if len(value) == 1:
            for name, inner in value.items():
                if name in _LEAVES:
                    return
                if name in HANDLERS or name[0].isupper():
                    if type(inner) is dict:
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
        if name == "CallStmt" and self.known is not None:
            action, definition = "read", NOTHING  # it is what its procedure is
        if definition is not NOTHING:
            self.defines(definition)
            self.mentions.update(strings_below(fields))
        reason = f"{action}: {kind} ({name})" if action in {"admin", "unknown"} else ""
        self.raise_to(action, reason, runs=name != "ExecuteStmt")
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
