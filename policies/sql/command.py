"""From a statement to the command that policies decide."""

from __future__ import annotations

from onrecord.policies.model import Session, SqlCommand
from onrecord.policies.sql.statement import Statement


def command_of(
    statement: Statement, session: Session, *, parameters: tuple[str | None, ...] | None = None, role: str = ""
) -> SqlCommand:
    """The command of `statement` in `session`; `role` is the upstream login."""
    return SqlCommand(
        session=session,
        action=statement.action,
        also_admin=statement.action == "unknown" and "admin" in statement.actions,
        text=statement.text,
        kind=statement.kind,
        tables_read=statement.tables_read,
        tables_written=statement.tables_written,
        columns_read=statement.columns_read,
        functions=statement.functions,
        foreign_tables=statement.foreign_tables,
        has_where=statement.has_where,
        parameters=parameters,
        role=role,
    )
