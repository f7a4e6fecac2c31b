"""Refusals on record, and no flood of them: of one address so many a minute one by one, the rest counted.

Each address that was only counted gets one more record, with the count, when its minute is over.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from msgspec.structs import replace

from onrecord.recordings.auditor import Auditor
from onrecord.recordings.records import RefusalRecord

BURST = 20
WINDOW = 60.0  # seconds
MAX_ADDRESSES = 10_000


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
        self._counts: dict[str, _Count] = {}

    def record(self, address: str, refusal: RefusalRecord) -> str:
        """The record's id; empty where this refusal is only counted."""
        count = self._counts.get(address)
        if count is None:
            if len(self._counts) >= MAX_ADDRESSES:
                self._end(next(iter(self._counts)))
            timer = asyncio.get_running_loop().call_later(self._window, self._end, address)
            count = self._counts[address] = _Count(timer)
        count.seen += 1
        if count.seen <= BURST:
            return self._auditor.refuse(refusal)
        count.counted += 1
        count.last = refusal
        return ""

    def close(self) -> None:
        """Put on record what was only counted so far."""
        for address in list(self._counts):
            self._end(address)

    def _end(self, address: str) -> None:
        count = self._counts.pop(address)
        count.timer.cancel()
        if count.last is not None:
            self._auditor.refuse(replace(count.last, count=count.counted))
