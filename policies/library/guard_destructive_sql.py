"""No statement that destroys much at once: DROP, TRUNCATE, DROP COLUMN, DELETE or UPDATE of a whole table."""

from __future__ import annotations

from onrecord.policies import Deny, SqlCommand, Verdict
from onrecord.policies.sql import loses_data

_LARGE_OBJECTS = frozenset({"lo_unlink", "lo_truncate", "lo_truncate64"})


class GuardDestructiveSql:
    """Denies what cannot be taken back. A WHERE that lets every row through (`WHERE true`, `1 = 1`) counts as none."""

    def sql(self, command: SqlCommand) -> Verdict | None:
        if command.kind in {"DROP", "TRUNCATE"}:
            return Deny(
                f"{command.kind} destroys data at once",
                hint="open a migration pull request; to remove rows, use DELETE with a WHERE",
            )
        if command.kind == "ALTER" and loses_data(command.text):
            return Deny(
                "ALTER … DROP COLUMN and TYPE … USING destroy a column's data", hint="open a migration pull request"
            )
        if not _LARGE_OBJECTS.isdisjoint(command.functions):
            return Deny("lo_unlink and lo_truncate destroy large objects", hint="open a migration pull request")
        if command.kind in {"DELETE", "UPDATE", "MERGE"} and not command.has_where:
            return Deny(
                f"{command.kind} without a condition that chooses rows",
                hint="add a WHERE that names the rows, such as WHERE id = …",
            )
        return None


addons = [GuardDestructiveSql()]
