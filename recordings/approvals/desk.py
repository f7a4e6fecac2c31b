"""The recorder's desk: every approval goes over it, and only what it says is granted.

A grant is on record and on disk (compare and set) before anybody hears of it, and its use is on disk before the process
that asked may act on it. Where either cannot be written nothing is granted; what takes a right away is done anyway.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from msgspec.structs import replace

from onrecord.policies.answers import printable
from onrecord.policies.approvals import (
    OPEN,
    Approval,
    ApprovalError,
    Approver,
    Moment,
    NotEntitledError,
    Participant,
    Request,
    Rules,
    State,
    approve,
    cancel,
    missing,
    refuse,
    request_approval,
    revoke,
    tick,
    use,
)
from onrecord.policies.errors import ControlError, StoreError
from onrecord.policies.kills import Kill
from onrecord.recordings.approvals.clock import now as moment
from onrecord.recordings.approvals.limits import MAX_OPEN, objection
from onrecord.recordings.approvals.state import ApprovalState
from onrecord.recordings.approvals.switches import Switches, stops
from onrecord.recordings.control.messages import (
    Answered,
    CancelHold,
    Changed,
    Consume,
    Consumed,
    Decide,
    FromAdmin,
    FromDataPath,
    HoldAnswer,
    HoldRequest,
    Kills,
    LiftKill,
    Previewed,
    Ruled,
    SetKill,
    ToProcess,
    Watch,
    Watching,
)
from onrecord.recordings.frames import NO_ID, Kind, id_bytes
from onrecord.recordings.records import ApprovalRecord, KillRecord

_log = logging.getLogger("onrecord.approvals")

GRACE = 15.0  # seconds in which a process may come back to what it waits for
SHOWN = 200  # ended approvals that a new admin process hears of
MAX_ENDED = 4000

Record = Callable[[Kind, ApprovalRecord | KillRecord, bytes], None]


class Peer(Protocol):
    """A connected process."""

    process: str
    role: str

    def send(self, message: ToProcess) -> None: ...


class Desk:
    """One a recorder. All methods belong to its event loop's thread.

    `record(kind, record, session)` puts a record on disk or raises StoreError; `participants(run)` names who took part
    in a run; `key` makes digests of commands mute outside of this gateway; `catch_up` writes records that had no room.
    """

    def __init__(
        self,
        state: ApprovalState,
        record: Record,
        rules: Rules,
        *,
        participants: Callable[[str], Iterable[Participant]] = lambda _: (),
        key: bytes = b"",
        clock: Callable[[], Moment] = moment,
        catch_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._catch_up = catch_up
        self._state, self._record_one, self._rules = state, record, rules
        self._participants, self._key, self._clock = participants, key, clock
        self._approvals = {approval.id: approval for approval in state.approvals()}
        self._switches = Switches(
            state, record, lambda: self._rules, clock, tell=self._tell_all, stop_waiting=self._stop_waiting
        )
        self._waiters: dict[str, Peer] = {}
        self._orphans: dict[str, float] = {}  # open, kept for nobody, and nobody waits: since (boot time)
        self._peers: set[Peer] = set()
        self._watchers: set[Peer] = set()
        self._policies = ""
        start = clock().boot
        for approval in self._approvals.values():
            if approval.state in OPEN and not approval.request.keep:
                self._orphans[approval.id] = start

    # ------------------------------------------------------------------ the channel

    def connected(self, peer: Peer) -> None:
        """A process said hello: before anything else it hears what is stopped."""
        self._peers.add(peer)
        peer.send(self._switches.message)

    def lost(self, peer: Peer) -> None:
        """A process is gone; for a while it may come back to what it waits for."""
        self._watchers.discard(peer)
        self._peers.discard(peer)
        now = self._clock().boot
        for id in [id for id, waiter in self._waiters.items() if waiter is peer]:
            del self._waiters[id]
            self._orphan(id, now)

    def received(self, peer: Peer, message: FromDataPath | FromAdmin) -> None:
        """One message. Raises ControlError where this peer may not say it."""
        if isinstance(message, FromAdmin):
            if peer.role != "admin":
                raise ControlError(f"process {peer.process} is no admin process")
            self._from_admin(peer, message)
        elif peer.role == "admin":
            raise ControlError("the admin process holds no commands")
        elif isinstance(message, HoldRequest):
            peer.send(self._hold(peer, message))
        elif isinstance(message, Consume):
            peer.send(self._consume(message))
        elif isinstance(message, CancelHold):
            self._left(peer, message)
        else:
            self._previewed(message)

    def policies(self, digest: str) -> None:
        """Another policy set is in force: what was asked for under another one is over."""
        self._policies = digest
        for approval in list(self._approvals.values()):
            if approval.state in OPEN and approval.request.policies != digest:
                self._end(approval, "the policies have changed meanwhile: ask again")

    def tick(self) -> None:
        """Look at the clock: what has expired, and what nobody waits for any more."""
        with contextlib.suppress(StoreError):  # it tries again at the next tick
            self._state.catch_up()
        with contextlib.suppress(StoreError):
            self._catch_up()
        now = self._clock()
        for id in list(self._approvals):
            approval = self._approvals[id]
            if approval.state in OPEN:
                self._fresh(approval, now)
        self._forget()
        for id, since in list(self._orphans.items()):
            if now.boot - since > GRACE:
                del self._orphans[id]
                orphan = self._approvals.get(id)
                if orphan is not None and orphan.state in OPEN and not orphan.request.keep:
                    self._end(orphan, "the gateway process that held the command is gone")

    def _forget(self) -> None:
        """Of what has ended, only the newest are kept."""
        if len(self._approvals) <= MAX_OPEN + MAX_ENDED:
            return
        ended = [id for id, approval in self._approvals.items() if approval.state not in OPEN]
        for id in ended[: len(ended) - MAX_ENDED // 2]:
            self._try(partial(self._state.remove, id))
            del self._approvals[id]

    # ------------------------------------------------------------------ what the data path asks

    def _hold(self, peer: Peer, message: HoldRequest) -> HoldAnswer:
        request = message.request
        rests_on = tuple((name, self._mute(digest)) for name, digest in request.rests_on)
        request = replace(request, digest=self._mute(request.digest), rests_on=rests_on)
        now = self._clock()
        known = self._approvals.get(request.id)
        if known is not None and (known.request.digest, known.request.policies) != (request.digest, request.policies):
            return HoldAnswer(request.id, "", "", "another command has this approval's id")
        if known is None:
            known = self._repeated(request, now)
        if known is not None:
            known = self._fresh(known, now)
            return self._attach(peer, request, known, now)
        waiting = [one for one in self._approvals.values() if one.state is State.PENDING]
        no = objection(request, waiting, self._rules, self._policies)
        if no:
            return HoldAnswer(request.id, "", "", no)
        approval = request_approval(request, now)
        try:
            self._state.put(approval)
            self._record(approval, "requested", request=request, expires_at=approval.expires_at)
        except StoreError as error:
            return HoldAnswer(request.id, "", "", f"the approval cannot be recorded: {error}")
        self._approvals[approval.id] = approval
        return self._attach(peer, request, approval, now)

    def _attach(self, peer: Peer, request: Request, approval: Approval, now: Moment) -> HoldAnswer:
        if approval.state in OPEN and request.wait:
            self._waiters[approval.id] = peer
            self._orphans.pop(approval.id, None)
        elif approval.state not in OPEN and not approval.told:
            approval = self._swap(approval, replace(approval, told=True)) or approval
        self._tell(approval)
        return HoldAnswer(
            request.id,
            approval.id,
            approval.state.value,
            approval.reason if approval.state is not State.PENDING else "",
            _by(approval),
            approval.remaining(now),
        )

    def _repeated(self, request: Request, now: Moment) -> Approval | None:
        """An approval that a repeat of its command may have: nobody else waits for it."""
        if not request.repeatable:
            return None
        wanted = request.binding()
        for found in reversed(list(self._approvals.values())):
            theirs = found.request
            if not theirs.repeatable or theirs.digest != request.digest or theirs.binding() != wanted:
                continue
            approval = self._fresh(found, now)
            if approval.state is State.GRANTED and (theirs.reuse > 0 or approval.id not in self._waiters):
                return approval
            if approval.state is State.PENDING and approval.id not in self._waiters:
                return approval
            ended = approval.state in (State.REFUSED, State.REVOKED)
            if ended and not approval.told and now.wall < approval.expires_at:
                return approval
        return None

    def _consume(self, message: Consume) -> Consumed:
        approval = self._approvals.get(message.approval)
        if approval is None:
            return Consumed(message.nonce, False, "there is no such approval")
        now = self._clock()
        again = message.nonce in approval.nonces
        try:
            used = use(self._fresh(approval, now), message.nonce, self._mute(message.digest), message.policies, now)
            if used is not approval:
                if self._swap(self._approvals[approval.id], used) is None:
                    raise StoreError("the approval's state has changed")
                if not again:
                    self._record(used, "consumed", by=used.decided_by)
        except (ApprovalError, StoreError) as error:
            return Consumed(message.nonce, False, str(error))
        self._waiters.pop(approval.id, None)
        self._orphans.pop(approval.id, None)
        self._tell(used)
        return Consumed(message.nonce, True, used.reason, _by(used))

    def _left(self, peer: Peer, message: CancelHold) -> None:
        approval = self._approvals.get(message.approval)
        if approval is None or self._waiters.get(approval.id) is not peer:
            return
        del self._waiters[approval.id]
        if approval.state not in OPEN:
            return
        kept = message.keep and approval.request.keep
        if kept or (approval.request.reuse > 0 and approval.state is State.GRANTED):
            self._tell(approval)
        else:
            self._end(approval, message.reason)

    def _previewed(self, message: Previewed) -> None:
        approval = self._approvals.get(message.approval)
        if approval is None or approval.state not in OPEN or approval.preview is not None:
            return
        new = self._swap(approval, replace(approval, preview=message.preview))
        if new is not None:
            self._record_if_possible(new, "preview", preview=message.preview)
            self._tell(new)

    # ------------------------------------------------------------------ what humans decide

    def _from_admin(self, peer: Peer, message: FromAdmin) -> None:
        if isinstance(message, Watch):
            self._watch(peer)
            return
        message = replace(message, reason=printable(message.reason))  # the agent reads it, in every protocol
        try:
            if isinstance(message, Decide):
                answer = self._decide(message)
            elif isinstance(message, SetKill):
                answer = self._switches.set(message)
            else:
                answer = self._switches.lift(message)
        except NotEntitledError as error:
            self._reject(message, error)
            answer = Answered(message.ref, "forbidden", str(error))
        except ApprovalError as error:
            self._reject(message, error)
            answer = Answered(message.ref, "conflict", str(error))
        except StoreError as error:
            answer = Answered(message.ref, "trouble", f"nothing was decided: {error}")
        peer.send(answer)

    def _watch(self, peer: Peer) -> None:
        self._watchers.add(peer)
        now = self._clock()
        ended = [one for one in self._approvals.values() if one.state not in OPEN]
        shown = {one.id for one in ended[-SHOWN:]}
        for approval in self._approvals.values():
            if approval.state in OPEN or approval.id in shown:
                peer.send(self._changed(approval, now))
        peer.send(self._switches.message)
        peer.send(Watching())

    def _decide(self, message: Decide) -> Answered:
        approval = self._approvals.get(message.approval)
        if approval is None:
            self._record_rejected(message.approval, message, "there is no such approval")
            return Answered(message.ref, "not_found", f"there is no approval {message.approval!r}")
        now = self._clock()
        approval = self._fresh(approval, now)
        by, reason = message.by, message.reason
        if message.decision == "revoke":
            new = revoke(approval, by, now, self._rules, reason=reason)
            event = "revoked"
        else:
            taking_part = tuple(self._participants(approval.request.run))
            decide = approve if message.decision == "approve" else refuse
            new = decide(approval, by, now, self._rules, participants=taking_part, reason=reason)
            event = {State.GRANTED: "granted", State.REFUSED: "refused"}.get(new.state, "agreed")
        if new.state in OPEN:
            self._record(new, event, by=by, reason=reason, expires_at=new.expires_at)
        else:  # it takes a right away: done even where it cannot be recorded now
            self._try(lambda: self._record(new, event, by=by, reason=reason))
        unkept = ""
        if new.state in OPEN:
            if self._swap(approval, new) is None:
                raise StoreError("the approval's state has changed")
        elif not self._take_away(approval, new):
            unkept = f"{new.state.value}, but only until the recorder restarts: its state cannot be written"
        self._tell(new, also_waiter=event != "agreed")
        return Answered(message.ref, "trouble" if unkept else "ok", unkept, id=new.id, state=new.state.value)

    def _reject(self, message: Decide | SetKill | LiftKill, error: ApprovalError) -> None:
        """A decision that was not accepted is on record, with who tried."""
        if isinstance(message, Decide):
            self._record_rejected(message.approval, message, str(error))
        else:
            record = KillRecord(event="rejected", reason=str(error), by=message.by)
            self._try(lambda: self._record_one(Kind.KILL, record, NO_ID))

    def _record_rejected(self, id: str, message: Decide, reason: str) -> None:
        approval = self._approvals.get(id)
        session = _session(approval.request) if approval is not None else NO_ID
        record = ApprovalRecord(
            approval=id[:64], event="rejected", decision=message.decision, reason=reason, by=message.by
        )
        self._try(lambda: self._record_one(Kind.APPROVAL, record, session))

    # ------------------------------------------------------------------ changes

    def _fresh(self, approval: Approval, now: Moment) -> Approval:
        """The approval as it is at this moment; an expiry is kept and told."""
        new = tick(approval, now)
        if new is approval:
            return approval
        swapped = self._swap(approval, new)
        if swapped is not None:
            approval = swapped
            if new.state is State.EXPIRED:
                self._record_if_possible(new, "expired", reason=new.reason)
            self._tell(new, also_waiter=True)
        return new

    def _end(self, approval: Approval, reason: str) -> None:
        """Cancel it. Where that cannot be written it is cancelled in memory, and the file still cannot grant it."""
        new = cancel(approval, reason)
        self._take_away(approval, new)
        self._record_if_possible(new, "cancelled", reason=reason)
        self._tell(new, also_waiter=True)

    def _take_away(self, old: Approval, new: Approval) -> bool:
        """End it, whatever can be written. False where that holds only until the recorder restarts."""
        if self._swap(old, new) is not None:
            return True
        self._approvals[new.id] = new
        return self._state.reserve(new)

    def _swap(self, old: Approval, new: Approval) -> Approval | None:
        """Compare and set, on disk first; None where it did not succeed."""
        if self._approvals.get(old.id) != old:
            return None
        try:
            if not self._state.swap(old, new):
                _log.error("approval %s: its state on disk is another one: it is not changed", old.id)
                return None
        except StoreError as error:
            _log.error("approval %s: %s", old.id, error)
            return None
        self._approvals[new.id] = new
        return new

    def _orphan(self, id: str, now: float) -> None:
        approval = self._approvals.get(id)
        if approval is None or approval.state not in OPEN:
            return
        if not approval.request.keep:
            self._orphans[id] = now
        self._tell(approval)

    def _tell(self, approval: Approval, *, also_waiter: bool = False) -> None:
        now = self._clock()
        for watcher in tuple(self._watchers):
            watcher.send(self._changed(approval, now))
        if not also_waiter:
            return
        waiter = self._waiters.get(approval.id)
        if waiter is not None:
            remaining = approval.remaining(now)
            waiter.send(Ruled(approval.id, approval.state.value, approval.reason, _by(approval), remaining))
        if approval.state not in OPEN:
            if self._waiters.pop(approval.id, None) is not None:
                self._swap(approval, replace(approval, told=True))
            self._orphans.pop(approval.id, None)

    def _changed(self, approval: Approval, now: Moment) -> Changed:
        return Changed(approval, approval.remaining(now), missing(approval, self._rules), approval.id in self._waiters)

    def _tell_all(self, message: Kills) -> None:
        for peer in tuple(self._peers):
            peer.send(message)

    def _stop_waiting(self, kill: Kill) -> None:
        for approval in list(self._approvals.values()):
            if approval.state in OPEN and stops(kill, approval.request):
                self._end(approval, kill.text)

    def _mute(self, digest: str) -> str:
        """The digest under the gateway's own key: a plain one would let a reader of the record guess the command."""
        return "hmac-sha256:" + hmac.new(self._key, digest.encode(), hashlib.sha256).hexdigest()

    # ------------------------------------------------------------------ records

    def _record(
        self,
        approval: Approval,
        event: str,
        *,
        by: Approver | None = None,
        reason: str = "",
        expires_at: float = 0.0,
        request: Request | None = None,
        preview: object = None,
    ) -> None:
        record = ApprovalRecord(
            approval=approval.id,
            event=event,  # type: ignore[arg-type]  # one of its literals
            reason=reason,
            by=by,
            request=request,
            preview=preview,  # type: ignore[arg-type]
            expires_at=expires_at,
        )
        self._record_one(Kind.APPROVAL, record, _session(approval.request))

    def _record_if_possible(self, approval: Approval, event: str, *, reason: str = "", preview: object = None) -> None:
        """What takes a right away is done even where it cannot be recorded now."""
        self._try(lambda: self._record(approval, event, reason=reason, preview=preview))

    @staticmethod
    def _try(write: Callable[[], None]) -> None:
        try:
            write()
        except StoreError as error:
            _log.error("a step of an approval is not on record: %s", error)


def _by(approval: Approval) -> str:
    return approval.decided_by.subject if approval.decided_by is not None else ""


def _session(request: Request) -> bytes:
    try:
        return id_bytes(request.session)
    except ValueError:
        return NO_ID
