"""Statements that define things: expressions over rows that are there, and names that rules of masks rely on."""

from __future__ import annotations

from collections.abc import Callable

from onrecord.policies.sql.lineage.expressions import value_of
from onrecord.policies.sql.lineage.scopes import Env, Item
from onrecord.policies.sql.lineage.tracer import Tracer
from onrecord.policies.sql.lineage.values import UNKNOWN, Node, Value, strings
from onrecord.policies.sql.wordlists import words

# Nothing that they do carries a value of a column anywhere, or chooses rows by one. NOTIFY's payload is a constant.
QUIET = words(
    "TransactionStmt VariableSetStmt DiscardStmt ConstraintsSetStmt DeallocateStmt ClosePortalStmt ListenStmt "
    "UnlistenStmt NotifyStmt CheckPointStmt TruncateStmt LockStmt VacuumStmt ReindexStmt LoadStmt DropStmt "
    "CommentStmt SecLabelStmt GrantStmt GrantRoleStmt ReassignOwnedStmt CreateSeqStmt AlterSeqStmt CreateEnumStmt "
    "AlterEnumStmt CreateRangeStmt CompositeTypeStmt CreateRoleStmt AlterRoleStmt AlterRoleSetStmt DropRoleStmt "
    "CreatedbStmt AlterDatabaseStmt AlterDatabaseSetStmt AlterDatabaseRefreshCollStmt DropdbStmt CreateTableSpaceStmt "
    "AlterTableSpaceOptionsStmt AlterTableMoveAllStmt DropTableSpaceStmt AlterDefaultPrivilegesStmt AlterOwnerStmt "
    "AlterSystemStmt AlterStatsStmt AlterCollationStmt AlterTSDictionaryStmt AlterTSConfigurationStmt DropOwnedStmt "
    "DropUserMappingStmt DropSubscriptionStmt AlterObjectDependsStmt"
)

_MOVES = words("ColumnType AlterColumnType SetExpression ColumnDefault CookedColumnDefault", prefix="AT_")
_TABLES = words("TABLE VIEW MATVIEW FOREIGN_TABLE", prefix="OBJECT_")
_UNTOLD = words("SCHEMA TYPE ATTRIBUTE", prefix="OBJECT_")


def _target(tracer: Tracer, relation: Node, env: Env) -> Item:
    item = tracer.knowledge.item(relation, relation.get("relname", ""))
    env.space.add(item)
    return item


def _check(tracer: Tracer, node: Node | None, env: Env) -> None:
    tracer.facts.predicate(value_of(tracer, node, env))


def _keys(tracer: Tracer, item: Item, names: list[str]) -> None:
    for name in names:
        tracer.facts.predicate(item.find(name) or UNKNOWN)


def _elements(tracer: Tracer, nodes: list[Node], item: Item, env: Env) -> None:
    """Columns and expressions of an index: it is ordered by them, and says whether there are equal ones."""
    for node in nodes:
        element = node.get("IndexElem", {})
        if "name" in element:
            _keys(tracer, item, [element["name"]])
        else:
            _check(tracer, element.get("expr"), env)


def _index(tracer: Tracer, fields: Node, env: Env) -> None:
    item = _target(tracer, fields.get("relation", {}), env)
    _elements(tracer, fields.get("indexParams", []), item, env)
    _check(tracer, fields.get("whereClause"), env)


def _cluster(tracer: Tracer, fields: Node, env: Env) -> None:
    """The rows are read in the order of an index from then on; the text does not say of which columns it is."""
    if "relation" in fields:
        _target(tracer, fields["relation"], env)
        tracer.facts.predicate(Value(env.space.items[0].row.sources))
    else:
        tracer.facts.unsure_predicates = True


def _statistics(tracer: Tracer, fields: Node, env: Env) -> None:
    """They put values of columns into pg_stats_ext."""
    for node in fields.get("relations", []):
        _target(tracer, node.get("RangeVar", {}), env)
    for node in fields.get("exprs", []):
        element = node.get("StatsElem", {})
        reference = {"ColumnRef": {"fields": [{"String": {"sval": element.get("name", "")}}]}}
        _check(tracer, element.get("expr") or reference, env)


def _constraint(tracer: Tracer, fields: Node, item: Item | None, env: Env, column: str = "") -> None:
    kind = fields.get("contype", "")
    if kind == "CONSTR_GENERATED":
        own = item.find(column) if item is not None and column else None
        tracer.facts.flow(value_of(tracer, fields.get("raw_expr"), env), own.sources if own else frozenset())
    elif kind == "CONSTR_DEFAULT":
        tracer.facts.flow(value_of(tracer, fields.get("raw_expr"), env))
    else:
        _check(tracer, fields.get("raw_expr"), env)
        _check(tracer, fields.get("where_clause"), env)
    if item is not None:
        keys = [*strings(fields.get("keys", [])), *strings(fields.get("fk_attrs", []))]
        if kind in {"CONSTR_UNIQUE", "CONSTR_PRIMARY", "CONSTR_FOREIGN"} and column and not keys:
            keys = [column] if item.find(column) is not None else []
        _keys(tracer, item, keys)
        for node in fields.get("exclusions", []):
            _elements(tracer, node.get("List", {}).get("items", []), item, env)
    if "pktable" in fields:  # whether a value is there is told by whether a reference to it is taken
        other = tracer.knowledge.item(fields["pktable"], "")
        _keys(tracer, other, strings(fields.get("pk_attrs", [])))
        if "pk_attrs" not in fields:
            _keys(tracer, other, [column.name for column in other.columns] if len(other.columns) == 1 else [])


def _column_definition(tracer: Tracer, fields: Node, item: Item | None, env: Env) -> None:
    for node in fields.get("constraints", []):
        _constraint(tracer, node.get("Constraint", {}), item, env, fields.get("colname", ""))


def _create(tracer: Tracer, fields: Node, env: Env) -> None:
    for node in fields.get("tableElts", []):
        if "ColumnDef" in node:
            _column_definition(tracer, node["ColumnDef"], None, env)
        elif "Constraint" in node and "pktable" in node["Constraint"]:
            _constraint(tracer, {**node["Constraint"], "raw_expr": None}, None, env)


def _alter(tracer: Tracer, fields: Node, env: Env) -> None:
    item = _target(tracer, fields.get("relation", {}), env)
    for node in fields.get("cmds", []):
        command = node.get("AlterTableCmd", {})
        kind, definition = command.get("subtype", ""), command.get("def") or {}
        own = item.find(command.get("name", ""))
        into = own.sources if own is not None else frozenset()
        if kind == "AT_AlterColumnType":  # whether all values fit is told; of a domain anyone can say what fits
            _keys(tracer, item, [command.get("name", "")])
        if kind in _MOVES:
            below = definition.get("ColumnDef", {}).get("raw_default") if "ColumnDef" in definition else definition
            tracer.facts.flow(value_of(tracer, below, env), into)
        elif kind == "AT_SetNotNull":
            _keys(tracer, item, [command.get("name", "")])
        elif "ColumnDef" in definition:
            _column_definition(tracer, definition["ColumnDef"], item, env)
        elif "Constraint" in definition:
            _constraint(tracer, definition["Constraint"], item, env)
        elif kind == "AT_AttachPartition":
            tracer.facts.unsure_predicates = True
            if command.get("name") is None:
                _leave(tracer, definition.get("PartitionCmd", {}).get("name", {}))
        elif kind in {"AT_DetachPartition", "AT_DropInherit"}:
            # Its columns stand no longer under the parent's name, by which a rule may know them.
            _leave(tracer, definition.get("PartitionCmd", {}).get("name", {}) or fields.get("relation", {}))
        elif definition and next(iter(definition)) not in {
            "RangeVar",
            "List",
            "String",
            "RoleSpec",
            "Integer",
            "Float",
        }:
            tracer.facts.flow(value_of(tracer, definition, env))


def _leave(tracer: Tracer, relation: Node) -> None:
    if relation:
        tracer.facts.flow(tracer.knowledge.item(relation, "").row)
    else:
        tracer.facts.unsure_flows = True


def _rename(tracer: Tracer, fields: Node, env: Env) -> None:
    """A rule of a mask knows a column by its name: under another one it would not be masked."""
    kind = fields.get("renameType") or fields.get("objectType", "")
    relation = fields.get("relation", {})
    if kind == "OBJECT_COLUMN" and relation:
        item = _target(tracer, relation, env)
        tracer.facts.flow(item.find(fields.get("subname", "")) or item.row)
    elif kind in _TABLES and relation:
        tracer.facts.flow(tracer.knowledge.item(relation, "").row)
    elif kind in _UNTOLD or kind in _TABLES or kind == "OBJECT_COLUMN":
        tracer.facts.unsure_flows = True


def _view(tracer: Tracer, fields: Node, env: Env) -> None:
    name, query = next(iter(fields.get("query", {"": {}}).items()))
    tracer.facts.flow(tracer.query(tracer, name, query, env).whole())


def _refresh(tracer: Tracer, fields: Node, env: Env) -> None:
    tracer.facts.flow(_target(tracer, fields.get("relation", {}), env).row)


def _policy(tracer: Tracer, fields: Node, env: Env) -> None:
    _target(tracer, fields.get("table", {}), env)
    _check(tracer, fields.get("qual"), env)
    _check(tracer, fields.get("with_check"), env)


def _trigger(tracer: Tracer, fields: Node, env: Env) -> None:
    """The function gets the whole row."""
    item = _target(tracer, fields.get("relation", {}), env)
    tracer.facts.predicate(Value(item.row.sources, False, True))
    tracer.facts.flow(Value(item.row.sources, False, True))


def _rule(tracer: Tracer, fields: Node, env: Env) -> None:
    _target(tracer, fields.get("relation", {}), env)
    tracer.facts.predicate(UNKNOWN)
    tracer.facts.flow(Value(env.space.items[0].row.sources, False, True))


def _domain(tracer: Tracer, fields: Node, env: Env) -> None:
    """A new constraint is tried on every value of the domain that is stored anywhere."""
    _check(tracer, fields.get("def"), env)
    tracer.facts.unsure_predicates = True


def _schema(tracer: Tracer, fields: Node, env: Env) -> None:  # noqa: ARG001
    if fields.get("schemaElts"):
        tracer.facts.unsure_flows = tracer.facts.unsure_predicates = True


def _none(tracer: Tracer, fields: Node, env: Env) -> None:
    """CREATE DOMAIN: its expressions see the value being checked, no row."""


DEFINITIONS: dict[str, Callable[[Tracer, Node, Env], None]] = {
    "IndexStmt": _index,
    "ClusterStmt": _cluster,
    "CreateStatsStmt": _statistics,
    "CreateStmt": _create,
    "AlterTableStmt": _alter,
    "RenameStmt": _rename,
    "AlterObjectSchemaStmt": _rename,
    "ViewStmt": _view,
    "RefreshMatViewStmt": _refresh,
    "CreatePolicyStmt": _policy,
    "AlterPolicyStmt": _policy,
    "CreateTrigStmt": _trigger,
    "RuleStmt": _rule,
    "AlterDomainStmt": _domain,
    "CreateDomainStmt": _none,
    "CreateSchemaStmt": _schema,
}
