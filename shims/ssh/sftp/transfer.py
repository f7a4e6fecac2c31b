"""What was read from, or written to, one open file: counted, hashed and captured as it passes. No I/O.

A SHA-256 is said only of what is known to be one piece: bytes that came in order without gap or overlap (parallel
requests may be answered out of order by up to `REORDER` bytes). It is the whole file's where the piece begins at 0 and
ends where the file ends. The keyed digest covers every byte in the order in which it passed.
"""

from __future__ import annotations

import hashlib

from onrecord.policies.model import Outcome, OutcomeStatus, body_text
from onrecord.recordings.auditor import Auditor, Decision, elapsed_ms
from onrecord.recordings.records import Direction

REORDER = 4 * 1024 * 1024  # bytes that wait for their place


class Transfer:
    """One direction of one open file, and the command that it is part of.

    `capture` is the number of bytes whose content is recorded; the rest is counted and digested. `end` is where the
    file is known to end.
    """

    def __init__(
        self,
        decision: Decision,
        direction: Direction,
        capture: int,
    ) -> None:
        self.decision = decision
        self.size = 0
        self.end: int | None = None
        self.failed = ""  # why a part of it did not arrive
        self.masked: dict[str, int] = {}
        self.finished = False
        self.appended = False  # the server chooses where it goes: behind what is there
        self._direction, self._room = direction, capture
        self._digest = decision.opened.digest()
        self._sha = hashlib.sha256()
        self._start = -1
        self._next = 0
        self._held: dict[int, bytes] = {}
        self._held_size = 0
        self.sequential = True
        self._pending = 0
        self._captured: list[bytes] = []

    @property
    def is_dirty(self) -> bool:
        """Whether something passed that is not recorded yet."""
        return self._pending > 0

    @property
    def next(self) -> int:
        """The offset behind what came in order."""
        return self._next

    @property
    def starts_at_zero(self) -> bool:
        """Whether what came in order is the file's beginning."""
        return self._start <= 0

    def add(self, offset: int, data: bytes | memoryview) -> None:
        """`data` at `offset` is about to pass."""
        length = len(data)
        if not length:
            return
        self.size += length
        self._pending += length
        self._digest.update(data)
        if self._room > 0:
            part = bytes(data[: self._room])
            self._room -= len(part)
            self._captured.append(part)
        if not self.sequential:
            return
        if self._start < 0:
            self._start = self._next = offset
        if offset == self._next:
            self._sha.update(data)
            self._next += length
            if self._held:
                self._take_held()
        elif offset < self._next or offset in self._held or self._held_size + length > REORDER:
            self._scatter()
        else:
            self._held[offset] = bytes(data)
            self._held_size += length

    def _take_held(self) -> None:
        while (data := self._held.pop(self._next, None)) is not None:
            self._sha.update(data)
            self._next += len(data)
            self._held_size -= len(data)
        if any(offset < self._next for offset in self._held):
            self._scatter()

    def _scatter(self) -> None:
        """It came out of order, overlaps, or is not all one piece."""
        self.sequential = False
        self._held.clear()
        self._held_size = 0

    def at_end(self, offset: int) -> None:
        """The server said that the file ends at `offset` or before. A claim only where all before it has come."""
        if self.end is None and offset == self._next and not self._held:
            self.end = offset

    @property
    def wants_end(self) -> bool:
        """Whether the file's size decides if what passed is the whole of it."""
        return self.end is None and self.sequential and not self._held and self._start <= 0 and not self.failed

    def truncated(self, size: int) -> None:
        """The file gets another size; where that is what has come, it stays one piece (scp ends its uploads so)."""
        if size != self._next or self._held or self._start > 0:
            self._scatter()

    def scatter(self) -> None:
        """Bytes of the file changed in a way that was not seen here (copied by the server)."""
        self._scatter()

    def record(self, auditor: Auditor) -> None:
        """Record what passed since the last call, without flushing. Raises StoreError."""
        if not self._pending:
            return
        data = b"".join(self._captured)
        cut = len(data) < self._pending
        auditor.chunk(
            self.decision,
            self._direction,
            self._pending,
            data=body_text(data) if data else None,
            digest=self._digest.hexdigest(),
            note="file; its content is not kept from here on" if cut and data else "file",
            flush=False,
        )
        self._pending = 0
        self._captured = []

    def sha256(self) -> tuple[str, str]:
        """The hex SHA-256 of what passed, or "", and what it is of (or why there is none)."""
        if self._held:
            self._scatter()
        if not self.sequential:
            return "", f"{self.size} bytes out of order, with gaps or overlapping: no SHA-256 of the whole"
        if self.failed:
            return "", f"incomplete: {self.failed}"
        start = max(self._start, 0)
        whole = start == 0 and self.end == self._next
        said = "the whole file"
        if not whole:
            piece = f"{self.size} bytes appended" if self.appended else f"bytes {start} to {self._next}"
            said = f"{piece}, not known to be the whole file"
        return self._sha.hexdigest(), said

    def finish(self, auditor: Auditor, status: OutcomeStatus, *, code: str = "", error: str | None = None) -> None:
        """Record the rest and the outcome, once, without flushing. Raises StoreError."""
        if self.finished:
            return
        self.record(auditor)
        sha, of = self.sha256()
        auditor.finish(
            self.decision,
            Outcome(
                status=status,
                code=code,
                bytes=self.size,
                size=self.size,
                duration_ms=elapsed_ms(self.decision.started),
                error=error,
                tag=of,
                masked=dict(self.masked),
                sha256=sha,
                digest=self._digest.hexdigest(),
            ),
            flush=False,
        )
        self.finished = True
