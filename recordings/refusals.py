"""Refusals on record, and no flood of them: of one address so many a minute one by one, the rest counted.

Each reason and identity is counted apart, so that a flood of one thing hides no other. What was only counted gets one
more record, with the count, when its minute is over. A reason is the same whatever numbers it names (a length that was
read).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from msgspec.structs import replace

from onrecord.recordings.auditor import Auditor
from onrecord.recordings.records import RefusalRecord

BURST = 20
WINDOW = 60.0  # seconds
MAX_KEPT = 10_000

_NUMBER = re.compile(r"\d+")

Key = tuple[str, str, str, str]


@dataclass(slots=True)
class _Count:
    timer: asyncio.TimerHandle
    seen: int = 0
    counted: int = 0
    last: RefusalRecord | None = None


class Refusals:
    """Records refusals of clients that nobody vouches for yet."""

    def __init__(self, auditor: Auditor, *, window: float = WINDOW) -> None:
        self._auditor, self._window = auditor, window
        self._counts: dict[Key, _Count] = {}

    def record(self, address: str, refusal: RefusalRecord) -> str:
        """The record's id; empty where this refusal is only counted."""
        subject = refusal.identity.subject if refusal.identity is not None else ""
        key = (address, refusal.what, _NUMBER.sub("0", refusal.reason), subject)
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= MAX_KEPT:
                self._end(next(iter(self._counts)))
            timer = asyncio.get_running_loop().call_later(self._window, self._end, key)
            count = self._counts[key] = _Count(timer)
        count.seen += 1
        if count.seen <= BURST:
            return self._auditor.refuse(refusal)
        count.counted += 1
        count.last = refusal
        return ""

    def close(self) -> None:
        """Put on record what was only counted so far."""
        for key in list(self._counts):
            self._end(key)

    def _end(self, key: Key) -> None:
        count = self._counts.pop(key)
        count.timer.cancel()
        if count.last is not None:
            self._auditor.refuse(replace(count.last, count=count.counted))
