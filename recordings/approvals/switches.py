"""The kill switches that are set: kept, told to every process, and on record."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from onrecord.policies.approvals import ApprovalError, Moment, Request, Rules, check_fresh, check_operator
from onrecord.policies.errors import StoreError
from onrecord.policies.kills import Kill
from onrecord.recordings.approvals.state import ApprovalState
from onrecord.recordings.control.messages import Answered, Kills, LiftKill, SetKill
from onrecord.recordings.frames import NO_ID, Kind, id_text, new_id
from onrecord.recordings.records import ApprovalRecord, KillRecord

_log = logging.getLogger("onrecord.approvals")

MAX_KILLS = 10_000
MAX_NAME = 1024
MAX_BYTES = 8 * 1024 * 1024  # every process hears of all in one message


class Switches:
    """One a desk. `tell` sends to every process; `stop_waiting` ends the approvals that a switch stops."""

    def __init__(
        self,
        state: ApprovalState,
        record: Callable[[Kind, ApprovalRecord | KillRecord, bytes], None],
        rules: Callable[[], Rules],
        clock: Callable[[], Moment],
        *,
        tell: Callable[[Kills], None],
        stop_waiting: Callable[[Kill], None],
    ) -> None:
        self._state, self._record, self._rules, self._clock = state, record, rules, clock
        self._tell, self._stop_waiting = tell, stop_waiting
        self._kills = {kill.id: kill for kill in state.kills()}

    @property
    def message(self) -> Kills:
        """All that are set."""
        return Kills(tuple(self._kills.values()))

    def set(self, message: SetKill) -> Answered:
        """Stop something, first of all. Raises ApprovalError."""
        check_operator(message.by, self._rules())
        if not message.value:
            raise ApprovalError("nothing is named")
        if max(len(message.value), len(message.issuer)) > MAX_NAME:
            raise ApprovalError(f"the name has more than {MAX_NAME} characters: nobody is called so")
        now = self._clock()
        kill = Kill(
            id=id_text(new_id()),
            target=message.target,
            value=message.value,
            issuer=message.issuer,
            reason=message.reason,
            at=now.wall,
            by=message.by,
        )
        size = len(msgspec.json.encode([*self._kills.values(), kill]))
        if len(self._kills) >= MAX_KILLS or size > MAX_BYTES:  # every process hears of all in one message
            raise ApprovalError("too many kill switches are set: lift some")
        unkept = ""
        try:
            self._state.add_kill(kill)
        except StoreError as error:
            if not self._state.reserve(kill):
                unkept = f"stopped, but only until the recorder restarts: {error}"
        self._kills[kill.id] = kill
        self._tell(self.message)  # first of all it is done
        try:
            self._record(Kind.KILL, KillRecord(event="killed", kill=kill, by=message.by), NO_ID)
        except StoreError as error:
            _log.error("a kill switch is not on record: %s", error)
        self._stop_waiting(kill)
        return Answered(message.ref, "trouble" if unkept else "ok", unkept, id=kill.id)

    def lift(self, message: LiftKill) -> Answered:
        """Let it go on. Raises ApprovalError, or StoreError where that cannot be on record."""
        check_operator(message.by, self._rules())
        check_fresh(message.by, self._clock(), self._rules())  # to stop is easy; what was stopped goes on like a grant
        kill = self._kills.get(message.kill)
        if kill is None:
            return Answered(message.ref, "not_found", f"there is no kill switch {message.kill!r}")
        self._record(Kind.KILL, KillRecord(event="lifted", kill=kill, by=message.by, reason=message.reason), NO_ID)
        self._state.remove_kill(kill.id)
        del self._kills[kill.id]
        self._tell(self.message)
        return Answered(message.ref, "ok", id=kill.id)


def stops(kill: Kill, request: Request) -> bool:
    """Whether a switch stops what asks for an approval."""
    if kill.target == "session":
        return kill.value == request.session
    if kill.target == "run":
        return kill.value == request.run
    return kill.stops_identity(request.identity)
