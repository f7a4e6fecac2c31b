"""The clock of a replay: moments of a recording at a speed, long pauses cut short. Pure: time comes from outside.

`at` is where the replay stands, in recorded seconds from the first moment; `index` how many moments lie behind it.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
IDLE = 2.0  # seconds a pause lasts at most, where long ones are skipped


class Player:
    """`times`: seconds of each moment from the first, never falling."""

    def __init__(self, times: Sequence[float], *, idle: float = IDLE) -> None:
        self._times = list(times)
        self._idle = idle
        self.at = 0.0
        self.index = 0
        self.playing = False
        self.skips = True
        self.speed = 1.0
        self._waited = 0.0  # of the pause before the next moment, in recorded seconds that were played

    @property
    def duration(self) -> float:
        """Seconds from the first moment to the last."""
        return self._times[-1] if self._times else 0.0

    @property
    def ended(self) -> bool:
        """Whether no moment lies ahead."""
        return self.index >= len(self._times)

    def toggle(self) -> None:
        """Play or pause; at the end play from the beginning."""
        if not self.playing and self.ended:
            self.seek(-1.0)
        self.playing = not self.playing

    def tick(self, seconds: float) -> int:
        """Let `seconds` of the viewer's time pass; returns how many moments lie behind now."""
        budget = seconds * self.speed
        while self.playing and not self.ended:
            pause = max(0.0, self._times[self.index] - (self._times[self.index - 1] if self.index else 0.0))
            length = min(pause, self._idle * self.speed) if self.skips else pause
            left = length - self._waited
            if left > budget:
                self._waited += budget
                self.at = min(self._times[self.index], self.at + budget)
                break
            budget -= max(0.0, left)
            self._behind(self.index + 1)
        if self.ended:
            self.playing = False
        return self.index

    def seek(self, at: float) -> int:
        """Stand `at` seconds behind the first moment; what happened until then lies behind."""
        self.at = max(0.0, min(at, self.duration))
        self.index = 0 if at < 0 else bisect.bisect_right(self._times, self.at)
        before = self._times[self.index - 1] if self.index else 0.0
        self._waited = 0.0 if self.ended else self.at - before
        if self.skips:
            self._waited = min(self._waited, self._idle * self.speed)
        return self.index

    def step(self, by: int) -> int:
        """One moment on or back, and pause there."""
        self.playing = False
        self._behind(max(0, min(len(self._times), self.index + by)))
        return self.index

    def faster(self, by: int) -> None:
        """The next speed up or down."""
        at = SPEEDS.index(self.speed)
        self.speed = SPEEDS[max(0, min(len(SPEEDS) - 1, at + by))]

    def _behind(self, index: int) -> None:
        self.index = index
        self.at = self._times[index - 1] if index else 0.0
        self._waited = 0.0
