"""What is kept of the bytes of a command: chunks in the journal up to a bound, beyond it size and keyed digest."""

from __future__ import annotations

from onrecord.policies.model import body_text
from onrecord.recordings.auditor import Auditor, Decision
from onrecord.recordings.records import Direction

BEYOND = "beyond the bound: counted and hashed"


class Kept:
    """One direction of one command. `room` is how many bytes are kept, `sample` how many the outcome shows.

    `record` raises StoreError; then nothing may be delivered.
    """

    __slots__ = ("_auditor", "_decision", "_digest", "_direction", "_room", "_sample", "_sample_room", "size")

    def __init__(
        self, auditor: Auditor, decision: Decision, direction: Direction, *, room: int, sample: int = 0
    ) -> None:
        self._auditor, self._decision, self._direction = auditor, decision, direction
        self._room, self._sample_room = room, sample
        self._sample: list[bytes] = []
        self._digest = decision.opened.digest()
        self.size = 0

    def record(self, data: bytes, channel: str) -> None:
        """Put `data` on record as what is about to go out on `channel`."""
        size = len(data)
        self.size += size
        self._digest.update(data)
        if self._sample_room:
            piece = data[: self._sample_room]
            self._sample_room -= len(piece)
            self._sample.append(piece)
        if self._room >= size:
            self._room -= size
            self._auditor.chunk(self._decision, self._direction, size, data=body_text(data), channel=channel)
            return
        kept, self._room = data[: self._room], 0
        one = self._decision.opened.digest()
        one.update(data)
        self._auditor.chunk(
            self._decision,
            self._direction,
            size,
            data=body_text(kept) if kept else None,
            digest=one.hexdigest(),
            note=BEYOND,
            channel=channel,
        )

    @property
    def digest(self) -> str:
        """The keyed digest of all of it, hex."""
        return self._digest.hexdigest()

    @property
    def sample(self) -> object:
        """The first bytes, as they stand in a record; None where there are none."""
        return body_text(b"".join(self._sample)) if self._sample else None
