"""Which objects a statement creates, alters, renames or drops: what a snapshot of the catalog may then no longer say.

A definition that is not in the table below, or whose names the text does not give (CASCADE, CREATE EXTENSION, DO),
touches everything: its only name is `EVERYTHING`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from onrecord.policies.sql.wordlists import words

Node = dict[str, Any]

EVERYTHING = "*"

# Statements that change nothing that a Catalog holds: data, session, rights, roles, upkeep.
_NONE = words(
    "SelectStmt InsertStmt UpdateStmt DeleteStmt MergeStmt CopyStmt TruncateStmt LockStmt RefreshMatViewStmt "
    "ReturnStmt TransactionStmt VariableSetStmt VariableShowStmt DiscardStmt ConstraintsSetStmt PrepareStmt "
    "DeallocateStmt DeclareCursorStmt FetchStmt ClosePortalStmt ListenStmt UnlistenStmt NotifyStmt ExplainStmt "
    "ExecuteStmt VacuumStmt ClusterStmt ReindexStmt CheckPointStmt CommentStmt CreateRoleStmt AlterRoleStmt "
    "AlterRoleSetStmt "
    "DropRoleStmt CreatedbStmt DropdbStmt AlterDatabaseStmt AlterDatabaseSetStmt AlterDatabaseRefreshCollStmt "
    "CreateTableSpaceStmt DropTableSpaceStmt AlterTableSpaceOptionsStmt GrantStmt GrantRoleStmt SecLabelStmt "
    "AlterDefaultPrivilegesStmt AlterSystemStmt CreateUserMappingStmt AlterUserMappingStmt DropUserMappingStmt "
    "CreatePublicationStmt AlterPublicationStmt CreateSubscriptionStmt AlterSubscriptionStmt DropSubscriptionStmt"
)

# Where the names of the objects stand. A field may hold a RangeVar, a String, a list of Strings (the parts of one
# name), a List, an ObjectWithArgs or a TypeName.
_FIELDS: dict[str, tuple[str, ...]] = {
    "CreateStmt": ("relation", "inhRelations"),  # the parents of a partition get a child
    "CreateForeignTableStmt": (),  # in `base`
    "CreateTableAsStmt": (),  # in `into`
    "ViewStmt": ("view",),
    "IndexStmt": ("relation", "idxname"),
    "CreateSeqStmt": ("sequence",),
    "AlterSeqStmt": ("sequence",),
    "CreateDomainStmt": ("domainname",),
    "AlterDomainStmt": ("typeName",),
    "CreateEnumStmt": ("typeName",),
    "AlterEnumStmt": ("typeName",),
    "AlterTypeStmt": ("typeName",),
    "CompositeTypeStmt": ("typevar",),
    "CreateRangeStmt": ("typeName",),
    "CreateStatsStmt": (),
    "AlterStatsStmt": (),
    "AlterCollationStmt": (),
    "AlterTSDictionaryStmt": (),
    "AlterTSConfigurationStmt": (),
    "ReplicaIdentityStmt": (),
    "CreateEventTrigStmt": (),
    "AlterEventTrigStmt": (),
    "DefineStmt": ("defnames",),
    "AlterTableStmt": ("relation",),
    "RenameStmt": ("relation", "object", "newname"),
    "AlterObjectSchemaStmt": ("relation", "object", "newschema"),
    "AlterOwnerStmt": ("relation", "object"),
    "AlterObjectDependsStmt": ("relation", "object"),
    "CreateFunctionStmt": ("funcname",),
    "AlterFunctionStmt": ("func",),
    "AlterOperatorStmt": ("opername",),
    "CreateTrigStmt": ("relation",),
    "RuleStmt": ("relation",),
    "CreatePolicyStmt": ("table",),
    "AlterPolicyStmt": ("table",),
    "CreateSchemaStmt": ("schemaname",),
    "CreateOpClassStmt": (),
    "CreateOpFamilyStmt": (),
    "AlterOpFamilyStmt": (),
    "CreateAmStmt": (),
    "CreatePLangStmt": (),
    "CreateFdwStmt": (),
    "AlterFdwStmt": (),
    "CreateForeignServerStmt": (),
    "AlterForeignServerStmt": (),
    "CreateConversionStmt": (),
}
# What DROP names as `object on table`; and what has no name of its own in a Catalog.
_MEMBERS = words("TRIGGER RULE POLICY", prefix="OBJECT_")
_DROPPED_QUIETLY = words(
    "COLLATION CONVERSION STATISTIC_EXT TSPARSER TSDICTIONARY TSTEMPLATE TSCONFIGURATION EVENT_TRIGGER ACCESS_METHOD "
    "PUBLICATION OPCLASS OPFAMILY FDW FOREIGN_SERVER LANGUAGE",
    prefix="OBJECT_",
)
_MANY = words("EXTENSION CAST TRANSFORM SCHEMA", prefix="OBJECT_")


class Definition(NamedTuple):
    """What one statement node defines: bare names, and whether an object is temporary."""

    names: tuple[str, ...] = ()
    temporary: bool = False
    ddl: bool = True


NOTHING = Definition(ddl=False)
ANYTHING = Definition((EVERYTHING,))


def definition_of(name: str, fields: Node) -> Definition:
    """What the statement node `name` itself defines; what stands inside it is walked by itself."""
    if name == "DiscardStmt":
        return Definition((), fields.get("target") in {"DISCARD_TEMP", "DISCARD_ALL"}, ddl=False)
    if name in _NONE:
        return NOTHING
    found = _Found()
    if name == "DropStmt":
        _dropped(fields, found)
    elif name not in _FIELDS:
        return ANYTHING
    for key in _FIELDS.get(name, ()):
        found.take(fields.get(key))
    if name == "CreateRangeStmt":
        _range(fields, found)
    elif name == "AlterTableStmt":
        for item in fields.get("cmds", []):
            _altered(item.get("AlterTableCmd", {}), found)
    elif name == "CreateTableAsStmt":
        found.take(fields.get("into", {}).get("rel"))
    elif name == "CreateForeignTableStmt":
        found.take(fields.get("base", {}).get("relation"))
        found.take(fields.get("base", {}).get("inhRelations"))
    elif name == "CreateSchemaStmt" and not fields.get("schemaname"):
        found.names.append(fields.get("authrole", {}).get("rolename", EVERYTHING))
    elif name == "RenameStmt" and fields.get("renameType") == "OBJECT_SCHEMA":
        found.names += [fields.get("subname", ""), EVERYTHING]  # all that it holds has another name now
    return Definition(tuple(dict.fromkeys(filter(None, found.names))), found.temporary)


def is_temporary(relation: Node) -> bool:
    """Whether a RangeVar makes or names a temporary relation."""
    return relation.get("relpersistence") == "t" or is_temporary_schema(relation.get("schemaname", ""))


def is_temporary_schema(name: str) -> bool:
    return name == "pg_temp" or name.startswith(("pg_temp_", "pg_toast_temp"))


def strings_below(fields: Node) -> set[str]:
    """All names in a definition that stand as Strings: functions of triggers and operators, objects, columns."""
    found: set[str] = set()
    stack: list[Any] = [fields]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack += item
        elif isinstance(item, dict):
            if "sval" in item and isinstance(item["sval"], str):
                found.add(item["sval"])
            stack += [value for value in item.values() if isinstance(value, dict | list)]
    return found


class _Found:
    """Collects names from the shapes that they have in the tree."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.temporary = False

    def take(self, value: Any) -> None:
        if isinstance(value, str):
            self.names.append(value)
        elif isinstance(value, list):
            self.parts(value)
        elif isinstance(value, dict):
            if "relname" in value:
                self.names.append(value["relname"])
                self.temporary = self.temporary or is_temporary(value)
                return
            for key in ("objname", "names"):
                if key in value:
                    self.parts(value[key])
                    return
            if "String" in value:
                self.take(value["String"].get("sval", ""))
            elif "List" in value:
                self.parts(value["List"].get("items", []))
            else:
                for inner in value.values():
                    if isinstance(inner, dict):
                        self.take(inner)

    def parts(self, items: list[Node]) -> None:
        """One qualified name."""
        strings = [str(item["String"].get("sval", "")) for item in items if "String" in item]
        if strings:
            self.names.append(strings[-1])
            self.temporary = self.temporary or (len(strings) > 1 and is_temporary_schema(strings[-2]))
        else:
            for item in items:
                self.take(item)


def _dropped(fields: Node, found: _Found) -> None:
    kind = fields.get("removeType", "")
    if kind in _MANY or fields.get("behavior") == "DROP_CASCADE":
        found.names.append(EVERYTHING)
    if kind in _DROPPED_QUIETLY:
        return
    for item in fields.get("objects", []):
        items = item.get("List", {}).get("items", [])
        if kind in _MEMBERS and len(items) > 1:
            found.parts(items[:-1])
        found.take(item)


def _altered(command: Node, found: _Found) -> None:
    """Other relations that ALTER TABLE ties to this one or unties."""
    inner = command.get("def", {})
    if "PartitionCmd" in inner:
        found.take(inner["PartitionCmd"].get("name"))
    elif "RangeVar" in inner:
        found.take(inner["RangeVar"])
    elif "Constraint" in inner:
        found.take(inner["Constraint"].get("pktable"))  # it gets triggers


def _range(fields: Node, found: _Found) -> None:
    """A range type comes with a multirange type, under a given name or one that is made of its own."""
    for item in fields.get("params", []):
        element = item.get("DefElem", {})
        if element.get("defname") == "multirange_type_name":
            found.take(element.get("arg"))
            return
    name = found.names[-1] if found.names else ""
    found.names += [name.replace("range", "multirange", 1), f"{name}_multirange"]
