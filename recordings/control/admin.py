"""The admin process's end of the control channel: what waits, and what humans decide about it.

The recorder is the authority: it checks every decision again, and answers what came of it. While it is silent the
snapshot is old and `alive` is false; nothing is decided then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic
from typing import Literal

import msgspec

from onrecord.policies.approvals import OPEN, Approval, Approver
from onrecord.policies.errors import OnrecordError
from onrecord.policies.kills import Kill, Target
from onrecord.recordings.control.channel import Channel
from onrecord.recordings.control.messages import (
    Answered,
    Changed,
    Decide,
    Heartbeat,
    Hello,
    Kills,
    LiftKill,
    SetKill,
    ToProcess,
    ToRecorder,
    Watch,
    Watching,
)
from onrecord.recordings.control.sockets import connect

_log = logging.getLogger("onrecord.admin")

SILENCE = 2.0
PATIENCE = 10.0
MAX_KEPT = 2000
MAX_QUEUED = 1000
_BACKOFF = (0.05, 1.0)


class DecisionError(OnrecordError):
    """The recorder did not accept it. `code`: "forbidden", "conflict", "not_found", or "trouble" (try again)."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Shown(msgspec.Struct, frozen=True):
    """An approval as the recorder told it. `expires_at` is this process's monotonic time.

    `missing` names the groups of which nobody has agreed yet; `waiting` says whether a client waits for it now.
    """

    approval: Approval
    expires_at: float
    missing: tuple[str, ...]
    waiting: bool

    @property
    def expires_in(self) -> float:
        """Seconds until it expires."""
        return max(0.0, self.expires_at - monotonic())


class Snapshot(msgspec.Struct, frozen=True):
    """All approvals that the recorder tells of, oldest first, and the kill switches that are set."""

    approvals: tuple[Shown, ...]
    kills: tuple[Kill, ...]

    @property
    def pending(self) -> tuple[Shown, ...]:
        """Those that are not decided."""
        return tuple(shown for shown in self.approvals if shown.approval.state == "pending")


Event = Shown | Kills


class AdminChannel:
    """Follows the recorder at `path`; `run` never ends by itself."""

    def __init__(self, path: Path, *, process: str = "admin") -> None:
        self._path, self._process = path, process
        self._approvals: dict[str, Shown] = {}
        self._kills: tuple[Kill, ...] = ()
        self._deadline = float("-inf")
        self._synced = asyncio.Event()
        self._channel: Channel | None = None
        self._answers: dict[str, asyncio.Future[Answered]] = {}
        self._listeners: set[asyncio.Queue[Event | None]] = set()

    @property
    def alive(self) -> bool:
        """Whether the recorder was heard in the last 2 s, and what it told is whole."""
        return self._synced.is_set() and monotonic() <= self._deadline

    async def ready(self) -> None:
        """Wait until the first snapshot is whole."""
        await self._synced.wait()

    async def run(self) -> None:
        """Connect, follow, and connect again, until cancelled."""
        pause, longest = _BACKOFF
        while True:
            if await self._follow():
                pause = _BACKOFF[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    # ------------------------------------------------------------------ faces

    def snapshot(self) -> Snapshot:
        """What is known now. Raises DecisionError("trouble") while the recorder is silent."""
        if not self.alive:
            raise DecisionError("trouble", "the gateway's recorder does not answer")
        return Snapshot(tuple(self._approvals.values()), self._kills)

    def approval(self, id: str) -> Shown:
        """One approval, by its id or a unique beginning or end of it. Raises DecisionError."""
        self.snapshot()
        if id in self._approvals:
            return self._approvals[id]
        part = id.strip().lower()
        found = [one for key, one in self._approvals.items() if key.startswith(part) or key.endswith(part)]
        if len(part) < 4 or not found:
            raise DecisionError("not_found", f"there is no approval {id!r}")
        if len(found) > 1:
            raise DecisionError("not_found", f"more than one approval's id begins or ends with {id!r}: give more of it")
        return found[0]

    async def subscribe(self) -> AsyncIterator[Event]:
        """Every change from now on: Shown of an approval, or Kills. Ends where the subscriber is too slow."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MAX_QUEUED)
        self._listeners.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)

    async def decide(
        self, approval: str, decision: Literal["approve", "deny", "revoke"], by: Approver, reason: str = ""
    ) -> Answered:
        """A human's decision; the answer's `state` is where the approval stands now. Raises DecisionError."""
        return await self._ask(lambda ref: Decide(ref, approval, decision, by, reason))

    async def revoke(self, approval: str, by: Approver, reason: str = "") -> Answered:
        """Take an approval back, pending or granted. Raises DecisionError."""
        return await self.decide(approval, "revoke", by, reason)

    async def kill(self, target: Target, value: str, by: Approver, reason: str = "", *, issuer: str = "") -> Answered:
        """Stop a run, a session or an identity; the answer's `id` is the switch's. Raises DecisionError."""
        return await self._ask(lambda ref: SetKill(ref, target, value, by, issuer, reason))

    async def lift(self, kill: str, by: Approver, reason: str = "") -> Answered:
        """Lift a kill switch. Raises DecisionError."""
        return await self._ask(lambda ref: LiftKill(ref, kill, by, reason))

    # ------------------------------------------------------------------ the channel

    async def _ask(self, make: Callable[[str], ToRecorder]) -> Answered:
        channel = self._channel
        if channel is None or not self.alive:
            raise DecisionError("trouble", "the gateway's recorder does not answer: nothing was decided")
        ref = secrets.token_hex(8)
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._answers[ref] = future
        try:
            if not channel.send(make(ref)):
                raise DecisionError("trouble", "the gateway's recorder does not read: nothing was decided")
            async with asyncio.timeout(PATIENCE):
                answer = await future
        except TimeoutError:
            text = "the gateway's recorder gave no answer: look at the approval's state before you try again"
            raise DecisionError("trouble", text) from None
        finally:
            self._answers.pop(ref, None)
        if answer.code != "ok":
            raise DecisionError(answer.code, answer.error)
        return answer

    async def _follow(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            sock = connect(self._path)
        except OSError:
            return False
        try:
            _, channel = await loop.create_unix_connection(lambda: Channel(self.received), sock=sock)
        except (OSError, ValueError):
            sock.close()
            return False
        self._channel = channel
        self._synced.clear()
        self._approvals.clear()
        try:
            channel.send(Hello(process=self._process, pid=os.getpid(), role="admin"))
            channel.send(Watch())
            await channel.closed
        finally:
            self._channel = None
            channel.abort()
            for future in self._answers.values():
                if not future.done():
                    text = "the connection to the recorder was lost: look at the state before you try again"
                    future.set_exception(DecisionError("trouble", text))
        return channel.heard

    def received(self, _channel: Channel, message: ToProcess) -> None:
        """One message from the recorder."""
        if isinstance(message, Heartbeat):
            self._deadline = monotonic() + SILENCE - max(monotonic() - message.at, 0.0)
        elif isinstance(message, Changed):
            shown = Shown(message.approval, monotonic() + message.expires_in, message.missing, message.waiting)
            self._approvals[message.approval.id] = shown
            self._forget()
            self._tell(shown)
        elif isinstance(message, Kills):
            self._kills = message.kills
            self._tell(message)
        elif isinstance(message, Watching):
            self._synced.set()
        elif isinstance(message, Answered):
            future = self._answers.get(message.ref)
            if future is not None and not future.done():
                future.set_result(message)

    def _forget(self) -> None:
        """Of what has ended, only the newest are kept."""
        if len(self._approvals) > MAX_KEPT:
            ended = [id for id, shown in self._approvals.items() if shown.approval.state not in OPEN]
            for id in ended[: len(self._approvals) - MAX_KEPT]:
                del self._approvals[id]

    def _tell(self, event: Event) -> None:
        if not self._synced.is_set():
            return
        for queue in tuple(self._listeners):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._listeners.discard(queue)
                with contextlib.suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
                queue.put_nowait(None)
