"""Kill switches: which sessions may not be. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from onrecord.policies.approvals import Approver, folded
from onrecord.policies.model import Identity, Session

Target = Literal["run", "session", "identity"]


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """One switch. `value` is a run id, a session id, or the name of an identity: a subject, or whom it works for.

    With `issuer` only identities of that issuer are meant. `at` is Unix seconds.
    """

    id: str
    target: Target
    value: str
    reason: str = ""
    issuer: str = ""
    at: float = 0.0
    by: Approver | None = None

    def stops(self, session: Session) -> bool:
        """Whether this session must end."""
        if self.target == "session":
            return session.id == self.value
        if self.target == "run":
            return session.run.id == self.value
        return self.stops_identity(session.identity)

    def stops_identity(self, who: Identity) -> bool:
        """Whether this names the identity or somebody behind it, by any name and however it is written."""
        names = (who.subject, who.on_behalf_of or "", *who.names, *who.actors)
        return self.issuer in ("", who.issuer) and folded(self.value) in map(folded, names)

    @property
    def text(self) -> str:
        """Why, for the client of what it stops."""
        by = f" by {self.by.subject}" if self.by is not None else ""
        return f"stopped{by}" + (f": {self.reason}" if self.reason else "")


def stopped_by(kills: Iterable[Kill], session: Session) -> Kill | None:
    """The first switch that stops `session`."""
    return next((kill for kill in kills if kill.stops(session)), None)
