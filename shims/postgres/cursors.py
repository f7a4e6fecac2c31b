"""The cursors that a session declared: a FETCH is decided and masked as the query behind its name. Pure."""

from __future__ import annotations

from onrecord.policies.sql import Statement
from onrecord.shims.postgres.combined import merged
from onrecord.shims.postgres.commands import Prepared, Template
from onrecord.shims.postgres.settings import fields_of

MAX_CURSORS = 1000


class Cursors:
    """Names → what they may be. Whether a DECLARE or a CLOSE succeeded is not waited for: a name may be several."""

    def __init__(self) -> None:
        self._known: dict[str, Prepared] = {}
        self._segments: dict[str, float] = {}  # of the last DECLARE; infinite for cursors WITH HOLD
        self.full = False

    def declare(self, name: str, template: Template, segment: int) -> None:
        """DECLARE was sent in the segment (see Namespace)."""
        old = self._known.get(name)
        if old is None and len(self._known) >= MAX_CURSORS:
            self.forget()
            self.full = True  # from now on no name is known
        if self.full:
            return
        last = _FOR_EVER if any(map(_holds, template.statements)) else segment
        self._segments[name] = max(last, self._segments.get(name, last))
        if old is None:
            self._known[name] = Prepared(template)
        elif old.template.command.text != template.command.text:
            self._known[name] = Prepared(merged(old.template, template))

    def lookup(self, name: str) -> Prepared | None:
        """What the name stands for; the same object as long as that does not change."""
        return self._known.get(name)

    def ended(self, segment: int) -> None:
        """The transaction ended with the answer to the segment: cursors without HOLD are gone."""
        gone = [name for name, last in self._segments.items() if last <= segment]
        for name in gone:
            del self._known[name], self._segments[name]

    def forget(self) -> None:
        """None is known any more."""
        self._known.clear()
        self._segments.clear()


_FOR_EVER = float("inf")
_HOLD = 0x0020  # CURSOR_OPT_HOLD, parsenodes.h


def _holds(statement: Statement) -> bool:
    if statement.node != "DeclareCursorStmt":
        return False
    options = fields_of(statement).get("options")
    return not isinstance(options, int) or bool(options & _HOLD)
