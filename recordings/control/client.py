"""A process's end of the control channel: what may stop everything, and where policies come from."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Protocol

from onrecord.policies.errors import ControlError, PolicyError
from onrecord.policies.policy_set import PolicySet
from onrecord.recordings.control.channel import Channel
from onrecord.recordings.control.messages import (
    Commit,
    Consumed,
    Heartbeat,
    Hello,
    HoldAnswer,
    Kills,
    PolicyFailed,
    Prepare,
    Ready,
    Refusals,
    Ruled,
    ToDataPath,
    ToProcess,
    ToRecorder,
    clip,
)
from onrecord.recordings.control.sockets import connect
from onrecord.recordings.records import PolicyRecord

_log = logging.getLogger("onrecord.control")

SILENCE = 2.0
_BACKOFF = (0.05, 1.0)
_MAX_BUFFER = 1024 * 1024


class Holds(Protocol):
    """What waits for approvals: recordings/approvals/holds.py."""

    def connected(self) -> None: ...

    def received(self, message: ToDataPath) -> None: ...


class Engine(Protocol):
    """What the channel needs of policies/engine.py."""

    @property
    def digest(self) -> str: ...

    def prepare(self, policy_set: PolicySet) -> None: ...

    def commit(self, digest: str) -> None: ...

    def mark_stale(self, error: str, *, age: float = 0.0) -> None: ...


class ControlClient:
    """Follows the recorder at `path`; `run` never ends by itself.

    `refusal` says why nothing may start now. `on_policy` gets a record of each set taken into use and of each failure.
    `clock` is monotonic time in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        process: str,
        engine: Engine,
        on_policy: Callable[[PolicyRecord], None] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path, self._process, self._engine, self._on_policy = path, process, engine, on_policy
        self._clock = clock
        self._deadline = float("-inf")
        self._blocked = "no policies are loaded"
        self._store_error = ""
        self._names: dict[str, tuple[str, ...]] = {}
        self._recorded: tuple[str, str] = ("", "")
        self._policy_error = ""
        self._committed = asyncio.Event()
        self._told = asyncio.Event()  # committed, or why not
        self._channel: Channel | None = None
        self.holds: Holds | None = None  # what waits in this process

    @property
    def refusal(self) -> str | None:
        """Why nothing may start now: the recorder is silent, cannot store, or no policies are loaded; else None."""
        if self._clock() > self._deadline:
            return "the gateway's recorder does not answer"
        return self._blocked or None

    async def ready(self) -> None:
        """Wait until the first policy set is in force. Raises PolicyError where the newest one cannot be."""
        await self._told.wait()
        if not self._committed.is_set():
            raise PolicyError(self._policy_error)

    async def run(self) -> None:
        """Connect, follow, and connect again, until cancelled."""
        pause, longest = _BACKOFF
        while True:
            if await self._follow():
                pause = _BACKOFF[0]
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    def report_refusals(self, count: int, reason: str) -> bool:
        """Tell the recorder about refusals that the journal could not take; whether it was sent."""
        return self._channel is not None and self._channel.send(Refusals(count, clip(reason)))

    def send(self, message: ToRecorder) -> bool:
        """Send to the recorder; False where it is away. Raises ControlError for a message over the limit."""
        return self._channel is not None and self._channel.send(message)

    async def _follow(self) -> bool:
        """One connection's life; whether anything was heard on it."""
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
        try:
            channel.send(Hello(process=self._process, pid=os.getpid(), digest=self._engine.digest))
            if self.holds is not None:
                self.holds.connected()
            await channel.closed
        finally:
            self._channel = None
            channel.abort()
        return channel.heard

    def received(self, channel: Channel, message: ToProcess) -> None:
        """One message from the recorder. Raises ControlError where it makes no sense."""
        if isinstance(message, Heartbeat):
            self._deadline = max(self._deadline, self._clock() + SILENCE - max(monotonic() - message.at, 0.0))
            if message.store_error != self._store_error:
                self._store_error = message.store_error
                _log.error("the recorder's store: %s", message.store_error or "can write again")
        elif isinstance(message, Prepare):
            channel.send(self._prepare(message))
        elif isinstance(message, Commit):
            self._commit(message.digest)
        elif isinstance(message, PolicyFailed):
            self._engine.mark_stale(message.error, age=message.age)
            self._policy_error = message.error
            self._told.set()
            self._record(self._engine.digest, message.error)
        elif isinstance(message, HoldAnswer | Ruled | Consumed | Kills) and self.holds is not None:
            self.holds.received(message)
        self._set_blocked()

    def _prepare(self, message: Prepare) -> Ready:
        try:
            if message.policies.digest != message.digest:
                raise ControlError("the policy set does not match its digest")
            self._engine.prepare(message.policies)
        except Exception as error:  # noqa: BLE001  # whatever it is, this process cannot use the set
            return Ready(message.digest, ok=False, error=clip(str(error) or type(error).__name__))
        self._names = {message.digest: message.policies.names}
        return Ready(message.digest, ok=True)

    def _commit(self, digest: str) -> None:
        try:
            self._engine.commit(digest)
        except Exception as error:  # noqa: BLE001
            self._engine.mark_stale(str(error))
            self._record(digest, str(error))
            raise ControlError(f"cannot put policy set {digest} into force: {error}") from None
        self._committed.set()
        self._told.set()
        self._record(digest, "")

    def _record(self, digest: str, error: str) -> None:
        """Once a change: neither a reconnection nor a repeated failure is news."""
        if (digest, error) == self._recorded:
            return
        self._recorded = (digest, error)
        if self._on_policy is not None:
            self._on_policy(PolicyRecord(digest=digest, files=self._names.get(digest, ()), error=error))

    def _set_blocked(self) -> None:
        if not self._committed.is_set():
            self._blocked = "no policies are loaded"
        elif self._store_error:
            self._blocked = "recordings cannot be stored now"
        else:
            self._blocked = ""
