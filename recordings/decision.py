"""What the auditor hands out: an open session, and the decision on one command."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Command, Outcome, Session
from onrecord.policies.verdict import Hold, Ruling
from onrecord.recordings.approvals.bound import Previewer
from onrecord.recordings.approvals.holds import Ticket
from onrecord.recordings.frames import id_text

WITHDRAWN = "withdrawn"


class Engine(Protocol):
    """What decides: policies/engine.py."""

    @property
    def digest(self) -> str: ...

    def decide(self, command: Command) -> Ruling | Awaitable[Ruling]: ...

    def session_start(self, session: Session) -> Ruling | None: ...

    def session_end(self, session: Session) -> None: ...

    def outcome(self, command: Command, outcome: Outcome) -> None: ...


class RefusedError(OnrecordError):
    """The gateway says no. `record` is the id under which the refusal is on record."""

    def __init__(self, ruling: Ruling, record: str) -> None:
        self.ruling, self.record = ruling, record
        super().__init__(explain(ruling, record))


class Waiting(NamedTuple):
    """A command waits for an approval: its id, who may give it, why, and until when (Unix seconds).

    `waited` is 0 where the wait begins; then seconds.
    """

    approval: str
    approvers: str
    reason: str
    expires_at: float
    waited: float = 0.0


class Approved(NamedTuple):
    """What became of a command's approval. With `retry_after` (seconds) the client did not wait, and may ask again."""

    id: str
    state: str
    by: str = ""
    reason: str = ""
    retry_after: int = 0


class OpenSession:
    """A session and what its records need: raw id, digest key, number of commands.

    `clean` masks the payload (JSON) of a command's record, and of what it sends; policies have seen the real values by
    then. It must not raise. The protocol that opened the session sets two more, which must not raise either:
    `on_wait` tells its client, in the client's own way, that a command waits for a human: when it begins to wait and
    again each minute. `on_kill` ends the session at once, with a reason for the client. `preview` finds out what a
    command would do, for whoever decides it.
    """

    __slots__ = ("clean", "commands", "ended", "key", "on_kill", "on_wait", "preview", "raw", "session", "waits")

    def __init__(self, session: Session, raw: bytes, key: bytes) -> None:
        self.session, self.raw, self.key = session, raw, key
        self.clean: Callable[[bytes], bytes] | None = None
        self.on_wait: Callable[[Waiting], None] | None = None
        self.on_kill: Callable[[str], None] | None = None
        self.preview: Previewer | None = None
        self.waits: set[Ticket] = set()  # commands that wait for a human
        self.commands = 0
        self.ended = False

    def stop_waiting(self, reason: str) -> bool:
        """The client takes back what waits for a human; whether anything did. Each gets a refusal of its own."""
        waiting = [ticket for ticket in self.waits if ticket.state != WITHDRAWN]
        for ticket in waiting:
            ticket.set(WITHDRAWN, reason)
        return bool(waiting)

    def digest(self) -> hmac.HMAC:
        """A fresh keyed digest (HMAC-SHA256) for one result or stream."""
        return hmac.new(self.key, digestmod=hashlib.sha256)


class Decision:
    """The answer to one command. Bytes may go upstream only where `allowed`."""

    __slots__ = ("allowed", "approval", "code", "command", "moved", "opened", "policies", "raw", "ruling", "started")

    def __init__(
        self,
        command: Command,
        opened: OpenSession,
        raw: bytes,
        ruling: Ruling,
        policies: str,
        *,
        allowed: bool,
    ) -> None:
        self.command, self.opened, self.raw = command, opened, raw
        self.ruling, self.policies, self.allowed = ruling, policies, allowed
        self.started = time.perf_counter_ns()
        self.moved = 0  # bytes of chunks to the client
        self.approval: Approved | None = None  # how it was decided by a human, or why not
        self.code = ""  # what the client reads, where it is not the one of every refusal

    @property
    def id(self) -> str:
        """The record's id as people and clients read it."""
        return id_text(self.raw)

    @property
    def message(self) -> str:
        """Why it was refused, in one line for a client: policy, reason, what to do, record id."""
        return explain(self.ruling, self.id)


def explain(ruling: Ruling, record: str) -> str:
    """The one-line text of a refusal."""
    verdict = ruling.verdict
    reason = getattr(verdict, "reason", "") or "refused"
    if isinstance(verdict, Hold):
        reason = explain_hold(ruling)
    hint = getattr(verdict, "hint", "")
    return f"{ruling.policy}: {reason}" + (f" ({hint})" if hint else "") + f" [record {record}]"


def explain_hold(ruling: Ruling) -> str:
    """That a human must agree, who, and why."""
    verdict = ruling.verdict
    who = f" by {verdict.who}" if isinstance(verdict, Hold) and verdict.who else ""
    return f"approval required{who}: {getattr(verdict, 'reason', '')}"


def elapsed_ms(started: int) -> float:
    """Milliseconds since `started` (time.perf_counter_ns)."""
    return round((time.perf_counter_ns() - started) / 1e6, 3)


_REFUSAL_CODES = {"sql": "42501", "http": "403", "kubernetes": "403", "llm": "403", "mcp": "403", "ssh": "126"}
_OWN_TROUBLE = ("onrecord:store", "onrecord:control")


def refusal_code(command: Command, ruling: Ruling) -> str:
    """What the client of a refused command reads: SQLSTATE, HTTP status (503 for our own trouble, 429 over a quota),
    exit status."""
    code = _REFUSAL_CODES.get(command.command_kind, "")
    if code != "403":
        return code
    return "503" if ruling.policy in _OWN_TROUBLE else "429" if ruling.policy == "onrecord:quotas" else code
