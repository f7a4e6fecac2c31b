"""kubectl asks twice: where a WebSocket is refused, it opens the same stream over SPDY/3.1 at once.

What a human has just refused would wait for a human again. So a refusal over a WebSocket holds for the same request of
the same agent and run for a moment. Policies are asked nevertheless; this only adds a Deny.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from onrecord.policies.model import Session
from onrecord.policies.verdict import Deny, Ruling

MOMENT = 15.0  # seconds
MAX_KEPT = 1000

Key = tuple[str, str, str, str]


class Refusals:
    """The refusals of a moment."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[Key, tuple[float, Ruling]] = {}

    def add(self, session: Session, target: str, ruling: Ruling) -> None:
        """A WebSocket to `target` was refused with `ruling`."""
        now = self._clock()
        self._kept = {key: one for key, one in self._kept.items() if now - one[0] <= MOMENT}
        if len(self._kept) < MAX_KEPT:
            self._kept[_key(session, target)] = (now, ruling)

    def find(self, session: Session, target: str) -> Ruling | None:
        """The refusal that still holds for the same request over SPDY/3.1."""
        at, ruling = self._kept.get(_key(session, target), (0.0, None))
        if ruling is None or self._clock() - at > MOMENT:
            return None
        reason = getattr(ruling.verdict, "reason", "") or "refused"
        return Ruling(Deny(reason, getattr(ruling.verdict, "hint", "")), ruling.policy)


def _key(session: Session, target: str) -> Key:
    return session.identity.issuer, session.identity.subject, session.run.id, target
