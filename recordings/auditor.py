"""The seam between protocols and everything else: submit a command, then finish it.

An addon or a shim opens a session, submits each command before its first byte goes upstream, and reports chunks and
the outcome before it delivers them. It never decides and never stores by itself. What returns from here is on disk.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial

from onrecord.policies.config.types import QuotasConfig
from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.policies.model import Command, Identity, Outcome, Resource, Run, Session
from onrecord.policies.verdict import Allow, Deny, Hold, Ruling, combine
from onrecord.recordings.approvals.bound import PLAIN, Bound
from onrecord.recordings.approvals.holding import POLICY, Left, hold, objection, request_of
from onrecord.recordings.approvals.holds import Holds
from onrecord.recordings.decision import (
    Approved,
    Decision,
    Engine,
    OpenSession,
    RefusedError,
    elapsed_ms,
    explain,
    explain_hold,
)
from onrecord.recordings.frames import Kind, id_text, new_id
from onrecord.recordings.journal import Journal
from onrecord.recordings.quotas import Quotas
from onrecord.recordings.records import (
    ApprovalRecord,
    ChunkRecord,
    Direction,
    RefusalRecord,
    SessionEndRecord,
    SessionRecord,
    encode,
)
from onrecord.recordings.stops import Control, Stops
from onrecord.recordings.writing import Writer, alike

__all__ = ["Auditor", "Decision", "OpenSession", "RefusedError", "elapsed_ms", "explain"]

QUOTAS = "onrecord:quotas"


class Auditor:
    """Decides, records, and only then lets go.

    `redact` sees every payload before it is framed; `observing` says whether verdicts are recorded but not applied.
    Methods that write raise StoreError where the journal cannot; the caller must then forward nothing. With
    `flush=False` the caller flushes itself, once for many records, before any of their bytes move.
    """

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        control: Control,
        *,
        redact: Callable[[bytes], bytes] = lambda payload: payload,
        observing: Callable[[], bool] = lambda: False,
        now: Callable[[], int] = time.time_ns,
        grace: float = 0.0,
        quotas: Quotas | None = None,
        holds: Holds | None = None,
    ) -> None:
        self.journal = journal
        self._engine = engine
        self._observing = observing
        self._writer = Writer(journal, redact)
        self._now = now
        self._quotas = quotas or Quotas(QuotasConfig(sessions=0))
        self._holds = holds
        self._stops = Stops(control, holds, now=now, grace=grace)

    def open_session(
        self, identity: Identity, resource: Resource, *, run: str, protocol: str, client: str, login: str = ""
    ) -> OpenSession:
        """Begin a session. Raises RefusedError (recorded) where control, policy or the journal says no."""
        at = self._now()
        raw = new_id(at)
        session = Session(
            id=id_text(raw),
            run=Run(run),
            identity=identity,
            resource=resource,
            protocol=protocol,
            client=client,
            started_at=at,
            login=login,
        )
        opened = OpenSession(session, raw, os.urandom(32))
        ruling = self._stops.blocked(session) or self._engine.session_start(session)
        if ruling is not None and not isinstance(ruling.verdict, Allow):
            self._refuse_session(session, ruling)
        full = self._quotas.enter(identity)
        if full is not None:
            self._refuse_session(session, Ruling(Deny(full, "end some of them"), QUOTAS))
        record = SessionRecord(
            run=run,
            identity=identity,
            resource=resource.name,
            protocol=protocol,
            client=client,
            login=login,
            digest_key=opened.key.hex(),
        )
        try:
            self._writer.append(Kind.SESSION, encode(record), id=raw, session=raw, at=at)
            self.journal.flush()
        except StoreError as error:
            self._quotas.leave(identity)
            self._refuse_session(session, Ruling(Deny(str(error)), "onrecord:store"))
        self._stops.entered(opened)
        return opened

    def end_session(self, opened: OpenSession, reason: str) -> None:
        """End a session, once; a journal that cannot write is not an error here (nothing is let go)."""
        if opened.ended:
            return
        opened.ended = True
        self._stops.left(opened)
        self._quotas.leave(opened.session.identity)
        self._engine.session_end(opened.session)
        self._writer.anyway(
            Kind.SESSION_END, SessionEndRecord(reason=reason, commands=opened.commands), session=opened.raw
        )

    def submit(
        self,
        opened: OpenSession,
        command: Command,
        *,
        detail: bytes | None = None,
        flush: bool = True,
        extra: Ruling | None = None,
        bound: Bound | Callable[[], Bound] = PLAIN,
    ) -> Decision | Awaitable[Decision]:
        """Decide and record one command. Never raises: what goes wrong is a refusal.

        Returns the decision at once where nothing had to wait, else an awaitable of it: a human may decide, which takes
        minutes; cancelling it withdraws what was asked. `bound` is what such an approval binds to, or makes that.
        `detail` is the command's detail as encoded JSON, where the caller has it at hand. `extra` is one more ruling
        beside those of policies, of masking: the strictest wins, and `mode = "observe"` does not lift it.
        """
        ruling = self._stops.blocked(command.session) or self._over(command.session.identity)
        if ruling is not None:
            return self._settle(opened, command, ruling, detail, flush=flush)
        answer = self._engine.decide(command)
        if isinstance(answer, Ruling):
            if extra is not None:
                answer = self._stricter(answer, extra)
            if self._is_held(answer):
                return self._held(opened, command, answer, detail, flush=flush, bound=bound)
            return self._settle(opened, command, answer, detail, flush=flush)
        return self._submit_later(opened, command, answer, detail, flush=flush, extra=extra, bound=bound)

    async def submit_async(
        self,
        opened: OpenSession,
        command: Command,
        *,
        detail: bytes | None = None,
        flush: bool = True,
        extra: Ruling | None = None,
        bound: Bound | Callable[[], Bound] = PLAIN,
    ) -> Decision:
        """`submit` for callers that are coroutines anyway."""
        answer = self.submit(opened, command, detail=detail, flush=flush, extra=extra, bound=bound)
        return await answer if inspect.isawaitable(answer) else answer

    def deny(
        self, opened: OpenSession, command: Command, reason: str, policy: str, hint: str = "", *, code: str = ""
    ) -> Decision:
        """Record a command that the gateway itself refuses (not decodable, not supported) without asking policies.

        `code` is what the client reads, where it is not the one of every refusal.
        """
        return self._settle(opened, command, Ruling(Deny(reason, hint), policy), None, flush=True, code=code)

    def chunk(
        self,
        decision: Decision,
        direction: Direction,
        size: int,
        *,
        data: object = None,
        digest: str = "",
        rows: int = 0,
        note: str = "",
        channel: str = "",
        flush: bool = True,
    ) -> None:
        """Record a part of a stream before it is delivered. Raises StoreError."""
        payload = encode(
            ChunkRecord(direction=direction, size=size, digest=digest, data=data, rows=rows, note=note, channel=channel)
        )
        clean = decision.opened.clean
        if clean is not None and direction == "to_upstream" and data is not None:
            payload = clean(payload)
        self._writer.append(Kind.CHUNK, payload, session=decision.opened.raw, command=decision.raw)
        decision.moved += size if direction == "to_client" else 0
        self._quotas.moved(decision.opened.session.identity, size)
        if flush:
            self.journal.flush()

    def finish(self, decision: Decision, outcome: Outcome, *, flush: bool = True) -> None:
        """Record what became of a command, before the end of its answer is delivered. Raises StoreError."""
        self._writer.append(Kind.OUTCOME, encode(outcome), session=decision.opened.raw, command=decision.raw)
        if flush:
            self.journal.flush()
        self._quotas.moved(decision.opened.session.identity, max(0, outcome.size - decision.moved))
        self._engine.outcome(decision.command, outcome)

    def abort(self, decision: Decision, error: str) -> None:
        """Record that a command's answer never came to its end. Never raises."""
        outcome = Outcome(status="aborted", error=error, duration_ms=elapsed_ms(decision.started))
        self._writer.anyway(Kind.OUTCOME, outcome, session=decision.opened.raw, command=decision.raw)
        self._engine.outcome(decision.command, outcome)

    def refuse(self, refusal: RefusalRecord) -> str:
        """Record a refusal that has no session: a bad token, an unknown host, junk. Never raises; returns its id."""
        return id_text(self._writer.anyway(Kind.REFUSAL, refusal))

    def flush(self) -> None:
        """Put on disk what was recorded with `flush=False`. Raises StoreError."""
        self.journal.flush()

    def _over(self, identity: Identity) -> Ruling | None:
        """Whether the identity has used up what it may."""
        reason = None if self._quotas.idle else self._quotas.command(identity)
        return None if reason is None else Ruling(Deny(reason, "try again in a minute"), QUOTAS)

    def _stricter(self, ruling: Ruling, extra: Ruling) -> Ruling:
        """Both as one. Where verdicts are only observed, one that will not be applied may not hide `extra`."""
        if not isinstance(extra.verdict, Allow) and self._observing() and _is_observable(ruling):
            return extra
        return combine((ruling, extra), ruling)

    async def _submit_later(
        self,
        opened: OpenSession,
        command: Command,
        answer: Awaitable[Ruling],
        detail: bytes | None,
        *,
        flush: bool,
        extra: Ruling | None,
        bound: Bound | Callable[[], Bound],
    ) -> Decision:
        ruling = await answer
        if extra is not None:
            ruling = self._stricter(ruling, extra)
        blocked = self._stops.blocked(command.session)
        if blocked is None and self._is_held(ruling):
            held = self._held(opened, command, ruling, detail, flush=flush, bound=bound)
            return held if isinstance(held, Decision) else await held
        return self._settle(opened, command, blocked or ruling, detail, flush=flush)

    def _is_held(self, ruling: Ruling) -> bool:
        """Whether a human must agree first."""
        return isinstance(ruling.verdict, Hold) and not (self._observing() and _is_observable(ruling))

    def _held(
        self,
        opened: OpenSession,
        command: Command,
        ruling: Ruling,
        detail: bytes | None,
        *,
        flush: bool,
        bound: Bound | Callable[[], Bound],
    ) -> Decision | Awaitable[Decision]:
        """What to do where a human must agree: wait, or refuse at once where nobody can be asked."""
        if not isinstance(bound, Bound):
            bound = bound()
        if bound.deferred and isinstance(ruling.verdict, Hold):
            passed = Ruling(Allow(mask=ruling.verdict.mask), ruling.policy)
            return self._settle(opened, command, passed, detail, flush=flush, held=ruling, deferred=True)
        no = "this process cannot ask anybody" if self._holds is None else objection(ruling, bound)
        if self._holds is None or no:
            hint = f"it cannot be asked for: {no}"
            denied = Ruling(Deny(explain_hold(ruling), hint), ruling.policy)
            return self._settle(opened, command, denied, detail, flush=flush, held=ruling)
        return self._hold(self._holds, opened, command, ruling, detail, flush=flush, bound=bound)

    async def _hold(
        self,
        holds: Holds,
        opened: OpenSession,
        command: Command,
        ruling: Ruling,
        detail: bytes | None,
        *,
        flush: bool,
        bound: Bound,
    ) -> Decision:
        """Wait for a human, then decide."""
        policies = self._engine.digest
        plain = self._writer.plain(command, ruling, policies, detail, applied=True)
        shown = self._writer.redacted(opened, plain)
        clean, hidden = partial(self._writer.clean_text, opened), not alike(shown, plain)
        request = request_of(command, ruling, bound, policies, shown, hidden=hidden, clean=clean)

        def check() -> Ruling | None:
            if self._engine.digest != policies:
                return Ruling(Deny("the policies have changed while it waited", "ask again"), POLICY)
            return self._stops.blocked(command.session)

        try:
            settled = await hold(holds, opened, command, ruling, request, bound, check, clean)
        except asyncio.CancelledError as error:
            why = str(error.args[0]) if error.args else "the client left"
            denied = Ruling(Deny(f"{why} while it waited for approval"), ruling.policy)
            self._settle(
                opened,
                command,
                denied,
                detail,
                flush=True,
                held=ruling,
                approval=Approved(error.approval if isinstance(error, Left) else request.id, "left"),
            )
            raise
        if settled.denied is not None:
            return self._settle(
                opened, command, settled.denied, detail,
                flush=flush, code=settled.code, held=ruling, approval=settled.approval,
            )  # fmt: skip
        return self._settle(opened, command, ruling, detail, flush=flush, held=ruling, approval=settled.approval)

    def _settle(
        self,
        opened: OpenSession,
        command: Command,
        ruling: Ruling,
        detail: bytes | None,
        *,
        flush: bool,
        code: str = "",
        held: Ruling | None = None,
        approval: Approved | None = None,
        deferred: bool = False,
    ) -> Decision:
        """Write the command's record; what cannot be written is refused.

        `held` is the Hold that the record tells of, whatever came of it in `approval`; where `ruling` is that same one,
        the approval was taken.
        """
        opened.commands += 1
        at = self._now()
        raw = new_id(at)
        policies = self._engine.digest
        granted = approval is not None and held is ruling
        allowed = granted or isinstance(ruling.verdict, Allow)
        observed = self._observing() and _is_observable(ruling)
        applied = not deferred and (allowed or held is not None or not observed)
        id = approval.id if approval is not None else ""
        payload = self._writer.command(opened, command, held or ruling, policies, detail, applied=applied, approval=id)
        if allowed or not applied:
            try:
                if granted:
                    used = encode(ApprovalRecord(approval=id, event="used"))
                    self._writer.append(Kind.APPROVAL, used, session=opened.raw, command=raw, at=at)
                self._writer.append(Kind.COMMAND, payload, id=raw, session=opened.raw, command=raw, at=at)
                if flush:
                    self.journal.flush()
            except OnrecordError as error:
                ruling, allowed = Ruling(Deny(str(error)), "onrecord:store"), False
                applied = True
                payload = self._writer.command(opened, command, ruling, policies, detail, applied=True)
        decision = Decision(command, opened, raw, ruling, policies, allowed=allowed or not applied)
        decision.approval, decision.code = approval, code
        if not decision.allowed:
            self._writer.denied(decision, payload, code)
        return decision

    def _refuse_session(self, session: Session, ruling: Ruling) -> None:
        record = RefusalRecord(
            what=ruling.policy,
            reason=getattr(ruling.verdict, "reason", ""),
            protocol=session.protocol,
            client=session.client,
            text=f"session {session.id}",
            resource=session.resource.name,
            identity=session.identity,
        )
        raise RefusedError(ruling, self.refuse(record))


def _is_observable(ruling: Ruling) -> bool:
    """Whether `mode = "observe"` may let the command pass: policies and defaults, never identity or decoding."""
    return not ruling.policy.startswith("onrecord:") or ruling.policy in {"onrecord:default", "onrecord:admin"}
