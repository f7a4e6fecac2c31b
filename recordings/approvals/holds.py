"""A data-path process's side of approvals: what waits here, and what the recorder says about it.

Nothing here grants. A grant is what the recorder answers to `consume`, at that moment, over a channel that is alive.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from time import monotonic

from msgspec.structs import replace

from onrecord.policies.approvals import Preview, Request
from onrecord.policies.errors import ControlError
from onrecord.policies.kills import Kill
from onrecord.recordings.control.messages import (
    CancelHold,
    Consume,
    Consumed,
    HoldAnswer,
    HoldRequest,
    Kills,
    Previewed,
    Ruled,
    ToDataPath,
    ToRecorder,
)

_log = logging.getLogger("onrecord.approvals")

ASKING = "asking"  # the recorder has not answered yet
PENDING = "pending"
GRANTED = "granted"
PATIENCE = 10.0  # seconds for the answer to `consume`
UNANSWERED = "the gateway's recorder did not answer in time"

Send = Callable[[ToRecorder], bool]


class Ticket:
    """One command that waits. `state` is an approval's, or ASKING; `ended` reasons of our own win over all.

    `approval` is the id of the approval that serves it, which may be another one than its request's: a repeat.
    """

    __slots__ = ("_changed", "approval", "by", "deadline", "known", "reason", "request", "state")

    def __init__(self, request: Request, deadline: float) -> None:
        self.request, self.deadline = request, deadline
        self.approval = ""
        self.state, self.reason, self.by = ASKING, "", ""
        self._changed = asyncio.Event()
        self.known = asyncio.Event()  # the recorder keeps an approval for it

    @property
    def waits(self) -> bool:
        """Whether nothing is decided yet."""
        return self.state in (ASKING, PENDING)

    def set(self, state: str, reason: str = "", by: str = "") -> None:
        """What is known now."""
        self.state, self.reason, self.by = state, reason, by
        self._changed.set()

    async def changed(self, within: float) -> bool:
        """Wait for the next `set`, at most `within` seconds; whether there was one."""
        try:
            async with asyncio.timeout(max(within, 0.0)):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class Holds:
    """All tickets of a process. `send` puts a message on the control channel, or says that it cannot."""

    def __init__(self, send: Send, *, clock: Callable[[], float] = monotonic) -> None:
        self._send, self._clock = send, clock
        self._tickets: dict[str, Ticket] = {}  # by request id
        self._uses: dict[str, tuple[Consume, asyncio.Future[Consumed]]] = {}
        self.kills: tuple[Kill, ...] = ()
        self.on_kills: Callable[[tuple[Kill, ...]], None] | None = None

    # ------------------------------------------------------------------ asking

    def open(self, request: Request) -> Ticket:
        """Ask for an approval. While the recorder is away it is asked when it comes back."""
        ticket = Ticket(request, self._clock() + request.timeout)
        self._tickets[request.id] = ticket
        self._ask(ticket, HoldRequest(request))
        return ticket

    def _ask(self, ticket: Ticket, message: HoldRequest) -> None:
        """Send it. What cannot be sent is refused at once: kept, it would end each new connection to the recorder."""
        try:
            self._send(message)
        except ControlError as error:  # over the limit of a message
            self.close(ticket)
            ticket.set("refused", f"the command is too long to be decided by a human: {error}")
        except ValueError:  # a lone surrogate somewhere
            self.close(ticket)
            ticket.set("refused", "something about the command is no text, so no human can decide it")

    def close(self, ticket: Ticket) -> None:
        """Nobody waits for this ticket any more."""
        self._tickets.pop(ticket.request.id, None)

    def cancel(self, ticket: Ticket, reason: str, *, keep: bool) -> None:
        """The client is gone; `keep`: a repeat of the command may still have the approval."""
        self.close(ticket)
        id = ticket.approval or ticket.request.id
        self._send(CancelHold(id, reason[:1000], keep))

    def previewed(self, ticket: Ticket, preview: Preview) -> None:
        """Tell the approver what would happen."""
        if ticket.approval:
            try:
                self._send(Previewed(ticket.approval, preview))
            except ControlError as error:
                self._send(Previewed(ticket.approval, Preview(kind="none", reason=str(error))))

    async def consume(self, ticket: Ticket, digest: str, policies: str) -> Consumed:
        """Take the grant, once. Whatever is not a clear yes within its time is a no."""
        message = Consume(ticket.approval, secrets.token_hex(16), digest, policies)
        future: asyncio.Future[Consumed] = asyncio.get_running_loop().create_future()
        self._uses[message.nonce] = message, future
        try:
            self._send(message)
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            return Consumed(message.nonce, ok=False, reason=UNANSWERED)
        finally:
            self._uses.pop(message.nonce, None)

    # ------------------------------------------------------------------ the channel

    def connected(self) -> None:
        """The channel is new: ask again for everything that waits. The same nonce is the same use."""
        for ticket in list(self._tickets.values()):
            remaining = ticket.deadline - self._clock()
            if remaining > 0 and ticket.state in (ASKING, PENDING, GRANTED):
                id = ticket.approval or ticket.request.id
                self._ask(ticket, HoldRequest(replace(ticket.request, id=id, timeout=remaining), again=True))
        for message, _ in list(self._uses.values()):
            self._send(message)

    def received(self, message: ToDataPath) -> None:
        """One message from the recorder."""
        if isinstance(message, Kills):
            self.kills = message.kills
            if self.on_kills is not None:
                self.on_kills(message.kills)
        elif isinstance(message, HoldAnswer):
            self._answered(message)
        elif isinstance(message, Ruled):
            for ticket in list(self._tickets.values()):
                if ticket.approval == message.approval:
                    self._set(ticket, message.state, message.reason, message.by, message.expires_in)
        else:
            found = self._uses.get(message.nonce)
            if found is not None and not found[1].done():
                found[1].set_result(message)

    def _answered(self, message: HoldAnswer) -> None:
        ticket = self._tickets.get(message.ref)
        if ticket is None:
            ticket = next((one for one in self._tickets.values() if one.approval == message.ref), None)
        if ticket is None:  # its client has left before the answer came
            if message.approval:
                self._send(CancelHold(message.approval, "the client left", keep=True))
            return
        if not message.approval:
            ticket.set("refused", message.reason)
            return
        ticket.approval = message.approval
        ticket.known.set()
        self._set(ticket, message.state, message.reason, message.by, message.expires_in)

    def _set(self, ticket: Ticket, state: str, reason: str, by: str, expires_in: float) -> None:
        """The deadline only comes nearer, but for a grant that may be used again and again."""
        deadline = self._clock() + expires_in
        if ticket.state in (ASKING, PENDING, GRANTED):
            ticket.deadline = deadline if state == GRANTED else min(ticket.deadline, deadline)
            ticket.set(state, reason, by)
