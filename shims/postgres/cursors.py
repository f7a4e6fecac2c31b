"""Cursors by name: a FETCH is decided and masked as the query behind its name. Pure.

What DECLARE opens and what Bind opens under a name are one kind to the server: portals. Each may close the other's, or
find its name taken, in ways that only the server knows (CLOSE, ROLLBACK TO, an error). So both are kept here.
"""

from __future__ import annotations

from onrecord.policies.sql import Statement
from onrecord.shims.postgres.combined import merged
from onrecord.shims.postgres.commands import Prepared, Template
from onrecord.shims.postgres.settings import fields_of

MAX_CURSORS = 20_000
MAX_MEANINGS = 8


class Cursors:
    """Names → what they may be. Whether a DECLARE, a Bind or a CLOSE succeeded is not waited for: a name may be several
    queries, and past MAX_MEANINGS of them any. `serial` counts what was opened; `full`: any name may be any query.
    """

    def __init__(self) -> None:
        self._known: dict[str, Prepared | None] = {}  # None: any query
        self._meanings: dict[str, int] = {}  # of names that are several
        self._opened: dict[str, int] = {}  # the serial of the last one
        self._doubted = 0  # up to this serial a name may be something else by now
        self.serial = 0
        self._segments: dict[str, float] = {}  # of the last DECLARE; infinite for cursors WITH HOLD
        self.full = False

    def declare(self, name: str, template: Template, segment: int) -> int:
        """DECLARE, or the Bind of a portal, goes out in the segment (see Namespace); returns its serial."""
        if name not in self._opened and len(self._opened) >= MAX_CURSORS:
            self.lose()
        self.serial += 1
        self._opened[name] = self.serial
        last = _FOR_EVER if any(map(_holds, template.statements)) else segment
        self._segments[name] = max(last, self._segments.get(name, last))
        old = self._known.get(name)
        if self.full:
            return self.serial
        if name not in self._known:
            self._known[name] = Prepared(template)
        elif old is not None and not _alike(old.template, template):
            meanings = self._meanings[name] = self._meanings.get(name, 1) + 1
            self._known[name] = Prepared(merged(old.template, template)) if meanings <= MAX_MEANINGS else None
        return self.serial

    def is_last(self, name: str, serial: int) -> bool:
        """Whether nothing was opened under the name since, and no code ran that may have."""
        return serial > self._doubted and self._opened.get(name) == serial

    def closed(self, name: str, serial: int) -> None:
        """The server has closed what was opened under the name up to `serial`."""
        if self._opened.get(name, serial + 1) <= serial:
            self._drop(name)

    def lookup(self, name: str) -> Prepared | None:
        """What the name stands for, the same object as long as that does not change; None where it may be anything."""
        return self._known.get(name)

    def ended(self, segment: int) -> None:
        """The transaction ended with the answer to the segment: cursors without HOLD are gone."""
        gone = [name for name, last in self._segments.items() if last <= segment]
        for name in gone:
            self._drop(name)

    def lose(self) -> None:
        """From now on any name may be anything: there were too many, or code ran that nobody could look into."""
        for table in (self._known, self._segments, self._meanings, self._opened):
            table.clear()
        self.full, self._doubted = True, self.serial

    def _drop(self, name: str) -> None:
        del self._segments[name], self._opened[name]
        self._known.pop(name, None)
        self._meanings.pop(name, None)


def _alike(one: Template, other: Template) -> bool:
    """Whether both are the same text and mean the same: the path may have changed between."""
    return one is other or (one.detail, one.lineage) == (other.detail, other.lineage)


_FOR_EVER = float("inf")
_HOLD = 0x0020  # CURSOR_OPT_HOLD, parsenodes.h


def _holds(statement: Statement) -> bool:
    if statement.node != "DeclareCursorStmt":
        return False
    options = fields_of(statement).get("options")
    return not isinstance(options, int) or bool(options & _HOLD)
