"""What stops sessions and commands whatever policies say: a lost control channel, an expired token, a kill switch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from onrecord.policies.kills import Kill, stopped_by
from onrecord.policies.model import Session
from onrecord.policies.verdict import Deny, Ruling
from onrecord.recordings.approvals.holds import Holds
from onrecord.recordings.decision import OpenSession

_log = logging.getLogger("onrecord.auditor")

KILL = "onrecord:kill"


class Control(Protocol):
    """What may stop everything: recordings/control.py. `refusal` says why nothing may start now, or None."""

    @property
    def refusal(self) -> str | None: ...


class Stops:
    """One an auditor: it knows the sessions that are open, and ends those that a switch names."""

    def __init__(self, control: Control, holds: Holds | None, *, now: Callable[[], int], grace: float) -> None:
        self._control, self._now, self._grace = control, now, grace
        self._kills: tuple[Kill, ...] = () if holds is None else holds.kills
        self._open: dict[bytes, OpenSession] = {}
        if holds is not None:
            holds.on_kills = self.killed

    def entered(self, opened: OpenSession) -> None:
        """A session is open."""
        self._open[opened.raw] = opened

    def left(self, opened: OpenSession) -> None:
        """It has ended."""
        self._open.pop(opened.raw, None)

    def blocked(self, session: Session) -> Ruling | None:
        """Why nothing of this session may start now; None where it may."""
        reason = self._control.refusal
        if reason is not None:
            return Ruling(Deny(reason, "try again in a few seconds"), "onrecord:control")
        expires = session.identity.expires_at
        if expires and self._now() > (expires + self._grace) * 1e9:
            return Ruling(Deny("the token has expired", "connect again with a fresh token"), "onrecord:identity")
        if self._kills and (kill := stopped_by(self._kills, session)) is not None:
            return Ruling(Deny(kill.text, "ask the gateway's operator"), KILL)
        return None

    def killed(self, kills: tuple[Kill, ...]) -> None:
        """The switches that are set now: what they stop ends at once."""
        self._kills = kills
        for opened in list(self._open.values()) if kills else ():
            kill = stopped_by(kills, opened.session)
            if kill is not None and opened.on_kill is not None:
                try:
                    opened.on_kill(f"{KILL}: {kill.text}")
                except Exception:  # noqa: BLE001  # the others are stopped all the same; this one's next command is refused
                    _log.exception("session %s could not be ended", opened.session.id)
