"""SQL text → statements: kind, action, tables, columns, functions, conditions, as PostgreSQL's own grammar reads it."""

from onrecord.policies.sql.analysis import analyse, loses_data
from onrecord.policies.sql.command import command_of
from onrecord.policies.sql.errors import SqlError, SqlTooLarge
from onrecord.policies.sql.redact import blank_literals, redact_unparsed
from onrecord.policies.sql.statement import Analysis, Statement

__all__ = [
    "Analysis",
    "SqlError",
    "SqlTooLarge",
    "Statement",
    "analyse",
    "blank_literals",
    "command_of",
    "loses_data",
    "redact_unparsed",
]
