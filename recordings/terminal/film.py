"""A recorded terminal that can be shown at any time of it: keyframes, so that a seek need not play all before it."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from onrecord.recordings.terminal.emulator import Emulator
from onrecord.recordings.terminal.pieces import DEFAULT_SIZE, Piece

KEYFRAME_BYTES = 64 * 1024
KEYFRAME_SECONDS = 5.0
MAX_KEYFRAMES = 64


class Film:
    """Pieces in order of time. Keyframes are made as it is played, and kept evenly apart."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.pieces = list(pieces)
        self.start = self.pieces[0].at if self.pieces else 0.0
        first = next((piece for piece in self.pieces if piece.kind == "resize"), None)
        self.size = DEFAULT_SIZE if first is None else (first.columns, first.rows)
        self._times: list[float] = []
        latest = self.start
        for piece in self.pieces:
            latest = max(latest, piece.at)
            self._times.append(latest - self.start)
        self._keyframes: dict[int, Emulator] = {}  # by the number of pieces that were played
        self._spacing = 1

    @property
    def duration(self) -> float:
        """Seconds from the first piece to the last."""
        return self._times[-1] if self._times else 0.0

    def time(self, index: int) -> float:
        """Seconds from the beginning to piece number `index`."""
        return self._times[index]

    def seek(self, seconds: float) -> tuple[Emulator, int]:
        """The terminal as it was `seconds` after the beginning, and the number of the piece that comes next."""
        stop = bisect.bisect_right(self._times, seconds)
        index = max((number for number in self._keyframes if number <= stop), default=0)
        emulator = self._keyframes[index].copy() if index else Emulator(*self.size)
        since_bytes, since_time = 0, self._times[index - 1] if index else 0.0
        while index < stop:
            piece = self.pieces[index]
            emulator.play(piece)
            since_bytes += len(piece.text)
            if since_bytes >= KEYFRAME_BYTES or self._times[index] - since_time >= KEYFRAME_SECONDS:
                self._keep(index + 1, emulator)
                since_bytes, since_time = 0, self._times[index]
            index += 1
        return emulator, stop

    def _keep(self, number: int, emulator: Emulator) -> None:
        if number in self._keyframes or any(abs(number - other) < self._spacing for other in self._keyframes):
            return
        if len(self._keyframes) >= MAX_KEYFRAMES:
            self._spacing *= 2
            for other in sorted(self._keyframes)[::2]:
                del self._keyframes[other]
        self._keyframes[number] = emulator.copy()
