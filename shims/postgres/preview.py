"""The preview of a held statement: its plan and the rows that it would match, asked over a side connection.

The connection is one of its own, logged in as the gateway does, read-only, with a time limit and the session's search
path. What may be asked is for policies/sql/preview.py to say.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from onrecord.policies.approvals import Preview
from onrecord.policies.config import PostgresResource
from onrecord.policies.model import Command, SqlCommand
from onrecord.policies.secrets import Secrets
from onrecord.policies.sql.preview import NoPreview, Questions, questions
from onrecord.shims.postgres.catalog import CatalogSource
from onrecord.shims.postgres.catalog.connection import ERRORS, open_side, reason_of
from onrecord.shims.postgres.state import SessionState

LIMIT = "5000"  # milliseconds for each question
AT_ONCE = 2
_ROWS = re.compile(r"\(cost=\S+ rows=(\d+) ")
_CHANGES = ("Delete on", "Update on", "Insert on", "Merge on")


class Previews:
    """Those of one resource. `clean` makes a text fit for the record, which approvers may see."""

    def __init__(self, resource: PostgresResource, secrets: Secrets, source: CatalogSource | None) -> None:
        self._resource, self._secrets, self._source = resource, secrets, source
        self._free = asyncio.Semaphore(AT_ONCE)

    async def of(self, command: Command, state: SessionState, clean: Callable[[str], str]) -> Preview:
        """What `command` would do. Never raises for what the database says."""
        if not isinstance(command, SqlCommand):
            return Preview(kind="none", reason="it is no SQL")
        if command.role not in ("", self._resource.user):
            return Preview(kind="none", reason=f"it runs as the role {command.role}, which the side connection is not")
        path = state.path
        try:
            catalog = await self._source.fresh() if self._source is not None else None
            asked = questions(command, path, catalog)
        except NoPreview as error:
            return Preview(kind="none", reason=clean(str(error)))
        async with self._free:
            try:
                plan, matched = await asyncio.to_thread(self._ask, asked, path)
            except ERRORS as error:
                return Preview(kind="none", reason=clean(f"PostgreSQL says: {reason_of(error)}"))
        return Preview(kind="explain", text=clean(plan), rows=_estimate(plan), matched=matched)

    def _ask(self, asked: Questions, path: tuple[str, ...]) -> tuple[str, int | None]:
        settings = {
            "search_path": ", ".join('"' + name.replace('"', '""') + '"' for name in path),
            "client_encoding": "UTF8",
            "default_transaction_read_only": "on",
            "statement_timeout": LIMIT,
            "lock_timeout": "500",
            "idle_in_transaction_session_timeout": "10000",
        }
        connection = open_side(self._resource, self._secrets, settings, own=False, name="onrecord preview")
        try:
            connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            lines = _run(connection, asked.plan)
            counted = _run(connection, asked.matching) if asked.matching is not None else None
            connection.run("ROLLBACK")
        finally:
            connection.close()
        matched = int(str(counted[0][0])) if counted else None
        return "\n".join(str(row[0]) for row in lines), matched


def _run(connection: object, text: str) -> list[list[object]]:
    """The rows of the last of the statements; `execute_simple` takes the text as it is, without any placeholders."""
    rows: list[list[object]] = []
    for part in text.split("\0"):
        rows = connection.execute_simple(part).rows or []  # type: ignore[attr-defined]  # pg8000 is untyped
    return rows


def _estimate(plan: str) -> int | None:
    """The rows that the planner expects; of a change, those that it meets."""
    found = [(line.strip(), match) for line in plan.splitlines() if (match := _ROWS.search(line))]
    if not found:
        return None
    first, match = found[0]
    if first.startswith(_CHANGES) and len(found) > 1:
        match = found[1][1]
    return int(match[1])
