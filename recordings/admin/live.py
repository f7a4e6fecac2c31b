"""What changes, told to open event streams: a bounded queue each, and who cannot keep up is told to read anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Hashable, Iterator

import msgspec

MAX_STREAMS = 200
MAX_OF_PERSON = 20
MAX_WAITING = 64


class Change(msgspec.Struct, frozen=True):
    """An approval's new state; an empty id means that anything may have changed. Nothing of its content."""

    id: str = ""
    state: str = ""


class Live:
    """One process's streams."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Change]] = set()
        self._persons: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._queues)

    def tell(self, change: Change) -> None:
        """Tell every stream. Never waits."""
        for queue in self._queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                change = Change()
            queue.put_nowait(change)

    @contextlib.contextmanager
    def stream(self, person: Hashable = None) -> Iterator[asyncio.Queue[Change] | None]:
        """The queue of one more stream; None where there are too many, in all or of one person."""
        if len(self._queues) >= MAX_STREAMS or self._persons[person] >= MAX_OF_PERSON:
            yield None
            return
        queue: asyncio.Queue[Change] = asyncio.Queue(MAX_WAITING)
        self._queues.add(queue)
        self._persons[person] += 1
        try:
            yield queue
        finally:
            self._queues.discard(queue)
            self._persons[person] -= 1
            if not self._persons[person]:
                del self._persons[person]
