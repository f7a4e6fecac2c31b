"""A human agrees before rows of certain tables are removed. Copy the file to name your own tables."""

from __future__ import annotations

from onrecord.policies import Hold, SqlCommand, Verdict

TABLES = ("orders", "customers")


class HoldDeletes:
    """Holds a DELETE (and a MERGE that deletes) on one of TABLES; beside `guard_destructive_sql`, which denies one of
    the whole table."""

    def sql(self, command: SqlCommand) -> Verdict | None:
        touched = [table for table in TABLES if table in command.tables_written]
        if command.kind == "DELETE" and touched:
            return Hold(reason="removes rows of " + ", ".join(touched))
        return None


addons = [HoldDeletes()]
