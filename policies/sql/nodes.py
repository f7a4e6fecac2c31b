"""Every statement node of PostgreSQL's grammar: the kind word and the action before its parts are looked at.

A node that is not here is unknown. Nodes whose action depends on their fields have a handler in utility.py, which only
ever makes it stronger.
"""

from __future__ import annotations

from onrecord.policies.model import Action
from onrecord.policies.sql.wordlists import words


def _table(action: Action, kind: str, nodes: str) -> dict[str, tuple[str, Action]]:
    return dict.fromkeys(nodes.split(), (kind, action))


STATEMENTS: dict[str, tuple[str, Action]] = {
    # data
    "SelectStmt": ("SELECT", "read"),
    "InsertStmt": ("INSERT", "write"),
    "UpdateStmt": ("UPDATE", "write"),
    "DeleteStmt": ("DELETE", "write"),
    "MergeStmt": ("MERGE", "write"),
    "CopyStmt": ("COPY", "read"),
    "TruncateStmt": ("TRUNCATE", "write"),
    "LockStmt": ("LOCK", "write"),
    "RefreshMatViewStmt": ("REFRESH", "write"),
    # code in the text
    "DoStmt": ("DO", "unknown"),
    "CallStmt": ("CALL", "unknown"),
    "ReturnStmt": ("RETURN", "read"),
    "PLAssignStmt": ("ASSIGN", "unknown"),
    # session
    "TransactionStmt": ("BEGIN", "read"),
    "VariableSetStmt": ("SET", "read"),
    "VariableShowStmt": ("SHOW", "read"),
    "DiscardStmt": ("DISCARD", "read"),
    "ConstraintsSetStmt": ("SET", "read"),
    "PrepareStmt": ("PREPARE", "read"),
    "ExecuteStmt": ("EXECUTE", "unknown"),
    "DeallocateStmt": ("DEALLOCATE", "read"),
    "DeclareCursorStmt": ("DECLARE", "read"),
    "FetchStmt": ("FETCH", "read"),
    "ClosePortalStmt": ("CLOSE", "read"),
    "ListenStmt": ("LISTEN", "read"),
    "UnlistenStmt": ("UNLISTEN", "read"),
    "NotifyStmt": ("NOTIFY", "write"),
    "ExplainStmt": ("EXPLAIN", "read"),
    "LoadStmt": ("LOAD", "admin"),
    # upkeep
    "VacuumStmt": ("VACUUM", "write"),
    "ClusterStmt": ("CLUSTER", "write"),
    "ReindexStmt": ("REINDEX", "write"),
    "CheckPointStmt": ("CHECKPOINT", "admin"),
    # definitions of data
    **_table(
        "write",
        "CREATE",
        "CreateStmt CreateTableAsStmt IndexStmt ViewStmt CreateSchemaStmt CreateSeqStmt CreateDomainStmt "
        "CreateEnumStmt CreateRangeStmt CompositeTypeStmt CreateStatsStmt DefineStmt",
    ),
    **_table(
        "write",
        "ALTER",
        "AlterTableStmt AlterSeqStmt AlterDomainStmt AlterEnumStmt AlterTypeStmt RenameStmt AlterObjectSchemaStmt "
        "AlterStatsStmt AlterCollationStmt AlterTSDictionaryStmt AlterTSConfigurationStmt ReplicaIdentityStmt",
    ),
    "DropStmt": ("DROP", "write"),
    "CommentStmt": ("COMMENT", "write"),
    # rights, credentials, and code that runs later
    **_table(
        "admin",
        "CREATE",
        "CreateFunctionStmt CreateTrigStmt CreateEventTrigStmt RuleStmt CreatePolicyStmt CreateExtensionStmt "
        "CreatePLangStmt CreateRoleStmt CreatedbStmt CreateTableSpaceStmt CreateFdwStmt CreateForeignServerStmt "
        "CreateForeignTableStmt CreateUserMappingStmt CreatePublicationStmt CreateSubscriptionStmt CreateAmStmt "
        "CreateCastStmt CreateTransformStmt CreateConversionStmt CreateOpClassStmt CreateOpFamilyStmt",
    ),
    **_table(
        "admin",
        "ALTER",
        "AlterFunctionStmt AlterEventTrigStmt AlterPolicyStmt AlterExtensionStmt AlterExtensionContentsStmt "
        "AlterRoleStmt AlterRoleSetStmt AlterDatabaseStmt AlterDatabaseSetStmt AlterDatabaseRefreshCollStmt "
        "AlterTableSpaceOptionsStmt AlterTableMoveAllStmt AlterFdwStmt AlterForeignServerStmt AlterUserMappingStmt "
        "AlterPublicationStmt AlterSubscriptionStmt AlterDefaultPrivilegesStmt AlterOwnerStmt AlterSystemStmt "
        "AlterOperatorStmt AlterOpFamilyStmt AlterObjectDependsStmt",
    ),
    **_table(
        "admin",
        "DROP",
        "DropRoleStmt DropdbStmt DropTableSpaceStmt DropUserMappingStmt DropSubscriptionStmt DropOwnedStmt",
    ),
    "GrantStmt": ("GRANT", "admin"),
    "GrantRoleStmt": ("GRANT", "admin"),
    "ReassignOwnedStmt": ("REASSIGN", "admin"),
    "SecLabelStmt": ("SECURITY", "admin"),
    "ImportForeignSchemaStmt": ("IMPORT", "admin"),
}

# What ALTER TABLE may do to data and shape. Others are admin below, or unknown.
ALTER_TABLE_WRITE = words(
    "AddColumn AddColumnToView ColumnDefault CookedColumnDefault DropNotNull SetNotNull SetExpression "
    "DropExpression CheckNotNull SetStatistics SetOptions ResetOptions SetStorage SetCompression DropColumn AddIndex "
    "ReAddIndex AddConstraint ReAddConstraint ReAddDomainConstraint AlterConstraint ValidateConstraint "
    "AddIndexConstraint DropConstraint AlterColumnType ClusterOn DropCluster SetLogged SetUnLogged DropOids "
    "SetAccessMethod SetTableSpace AddInherit DropInherit AddOf DropOf ReplicaIdentity AttachPartition DetachPartition "
    "DetachPartitionFinalize AddIdentity SetIdentity DropIdentity ReAddStatistics ReAddComment SetRelOptions "
    "ResetRelOptions ReplaceRelOptions",
    prefix="AT_",
)

ALTER_TABLE_ADMIN = words(
    "EnableTrig EnableAlwaysTrig EnableReplicaTrig DisableTrig EnableTrigAll DisableTrigAll EnableTrigUser "
    "DisableTrigUser EnableRule EnableAlwaysRule EnableReplicaRule DisableRule EnableRowSecurity "
    "DisableRowSecurity ForceRowSecurity NoForceRowSecurity ChangeOwner GenericOptions AlterColumnGenericOptions",
    prefix="AT_",
)

DROP_WRITE = words(
    "TABLE VIEW MATVIEW INDEX SEQUENCE TYPE DOMAIN SCHEMA COLLATION STATISTIC_EXT TSPARSER TSDICTIONARY "
    "TSTEMPLATE TSCONFIGURATION FOREIGN_TABLE",
    prefix="OBJECT_",
)

RELATION_OBJECTS = words("TABLE VIEW MATVIEW INDEX SEQUENCE FOREIGN_TABLE", prefix="OBJECT_")

MEMBER_OBJECTS = words("COLUMN TRIGGER RULE POLICY TABCONSTRAINT", prefix="OBJECT_")

TRANSACTIONS: dict[str, tuple[str, str, Action]] = {
    "TRANS_STMT_BEGIN": ("BEGIN", "begin", "read"),
    "TRANS_STMT_START": ("BEGIN", "begin", "read"),
    "TRANS_STMT_COMMIT": ("COMMIT", "commit", "read"),
    "TRANS_STMT_ROLLBACK": ("ROLLBACK", "rollback", "read"),
    "TRANS_STMT_SAVEPOINT": ("SAVEPOINT", "savepoint", "read"),
    "TRANS_STMT_RELEASE": ("RELEASE", "release", "read"),
    "TRANS_STMT_ROLLBACK_TO": ("ROLLBACK", "rollback to", "read"),
    "TRANS_STMT_PREPARE": ("PREPARE", "prepare", "write"),
    "TRANS_STMT_COMMIT_PREPARED": ("COMMIT", "commit prepared", "write"),
    "TRANS_STMT_ROLLBACK_PREPARED": ("ROLLBACK", "rollback prepared", "write"),
}
