"""Deliveries: each notice to each of its targets, tried again with growing pauses; what never arrived is listed.

Attempts end when the approval has expired: nobody needs to hear of it then. The list of what never arrived is a file of
this process, so it outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from onrecord.policies.config import NotifyEvent
from onrecord.recordings.admin.notify.delivery import UndeliveredError
from onrecord.recordings.admin.notify.notice import Notice

log = logging.getLogger("onrecord.notify")

ATTEMPTS = 8
FIRST_PAUSE, LAST_PAUSE = 1.0, 120.0
MAX_UNDER_WAY = 500
MAX_DEAD = 200


class Sender(Protocol):
    """One way to send."""

    async def send(self, notice: Notice, delivery: str) -> None:
        """One attempt. Raises UndeliveredError."""


class Target(msgspec.Struct, frozen=True):
    """One `[[notify]]`, ready to send."""

    name: str
    events: tuple[NotifyEvent, ...]
    sender: Sender


class DeadLetter(msgspec.Struct, frozen=True):
    """What never arrived."""

    id: str
    target: str
    at: float
    attempts: int
    reason: str
    notice: Notice


class Dispatcher:
    """Sends in the background. `file` keeps the dead letters; None keeps them in memory alone."""

    def __init__(
        self,
        targets: Sequence[Target] = (),
        file: Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._targets = list(targets)
        self._file, self._clock, self._sleep = file, clock, sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead: deque[DeadLetter] = deque(self._load(), maxlen=MAX_DEAD)
        self.delivered = 0

    @property
    def names(self) -> list[str]:
        """The targets' names."""
        return [target.name for target in self._targets]

    def dead(self) -> list[DeadLetter]:
        """What never arrived, newest first."""
        return list(self._dead)[::-1]

    def announce(self, notice: Notice) -> None:
        """Send `notice` to every target that wants its event. Returns at once."""
        for target in self._targets:
            if notice.event in target.events:
                self._begin(target, notice)

    def again(self, id: str) -> bool:
        """Try a dead letter once more; it leaves the list. False where there is none."""
        letter = next((letter for letter in self._dead if letter.id == id), None)
        if letter is None:
            return False
        self._dead.remove(letter)
        self._save()
        target = next((target for target in self._targets if target.name == letter.target), None)
        if target is None:
            return False
        self._begin(target, letter.notice, asked=True)
        return True

    async def close(self) -> None:
        """Stop; what is under way becomes a dead letter."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, target: Target, notice: Notice, *, asked: bool = False) -> None:
        if len(self._tasks) >= MAX_UNDER_WAY:
            self._bury(target, notice, 0, "too many deliveries under way")
            return
        task = asyncio.get_running_loop().create_task(self._deliver(target, notice, asked=asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, target: Target, notice: Notice, *, asked: bool) -> None:
        delivery = secrets.token_hex(16)
        attempt = 0
        reason = "the process ended before it arrived"
        try:
            while True:
                attempt += 1
                try:
                    await target.sender.send(notice, delivery)
                except UndeliveredError as error:
                    reason = str(error)
                    pause = self._pause(attempt, error.after)
                    expired = notice.event == "pending" and 0 < notice.expires <= self._clock() + pause and not asked
                    if error.final or attempt >= ATTEMPTS or expired:
                        more = "; the approval expires before the next attempt" if expired and not error.final else ""
                        self._bury(target, notice, attempt, reason + more)
                        return
                    await self._sleep(pause)
                else:
                    self.delivered += 1
                    return
        except asyncio.CancelledError:
            self._bury(target, notice, attempt, reason)
            raise
        except Exception as error:
            log.exception("a notification to %s failed", target.name)
            self._bury(target, notice, attempt, f"an error of ours ({type(error).__name__})")

    @staticmethod
    def _pause(attempt: int, asked: float) -> float:
        most = min(LAST_PAUSE, FIRST_PAUSE * 2.0 ** (attempt - 1))
        jitter = 0.5 + random.random() / 2  # noqa: S311  # no secret
        return max(asked, most * jitter)

    def _bury(self, target: Target, notice: Notice, attempts: int, reason: str) -> None:
        log.warning("a notification to %s was not delivered: %s", target.name, reason)
        self._dead.append(DeadLetter(secrets.token_hex(8), target.name, self._clock(), attempts, reason, notice))
        self._save()

    def _load(self) -> list[DeadLetter]:
        if self._file is None:
            return []
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=list[DeadLetter])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s: the list of undelivered notifications cannot be read: %s", self._file, error)
            return []

    def _save(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside = self._file.with_suffix(".new")
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(list(self._dead)))
            aside.replace(self._file)
