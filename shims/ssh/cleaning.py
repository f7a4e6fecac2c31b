"""Masking output as it flows. What has no line's end yet is held back: how long depends on what reads it.

Without a terminal, a rest that could be the beginning of something is held until its line is complete, and everything
before it for a moment only, so that a prompt shows; it still counts for what follows on the line. On a terminal the
rest passes after 20 ms, unless `strict`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from onrecord.policies.errors import OnrecordError
from onrecord.policies.masking import Detectors, MaskError, StreamCleaner

ECHO = 0.008  # seconds; the whole detour stays under 20 ms
PROMPT = 0.1
MAX_HELD = 256 * 1024

# What the beginning of a secret can look like: a word, or groups of digits.
_OPEN = re.compile(rb"[\w.%+@/=~-]+(?:[ -][\d]+)*[ -]?\Z")
_WORD = bytes(byte for byte in range(128) if re.match(rb"[\w.%+@/=~-]", bytes((byte,))))
_LOOK = 512


def _open_at(held: bytearray) -> int:
    """Where what could be the beginning of a secret begins at the end of `held`, however long it is."""
    found = _OPEN.search(held, max(0, len(held) - _LOOK))
    return len(held[: found.start()].rstrip(_WORD)) if found else len(held)


class Cleaning:
    """One channel's output. `deliver` gets what may go out; it may raise, and then nothing more is delivered."""

    def __init__(self, detectors: Detectors, deliver: Callable[[bytes], None], *, terminal: bool, strict: bool) -> None:
        self._detectors, self._deliver = detectors, deliver
        self._terminal, self._strict = terminal, strict
        self._cleaner = StreamCleaner(detectors.clean)
        self._held = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._found: dict[str, int] = {}

    def feed(self, data: bytes) -> None:
        """Take output of the host. Raises MaskError where too much has no line's end."""
        self._stop_timer()
        self._held += data
        end = self._held.rfind(b"\n") + 1
        if end:
            lines = bytes(self._held[:end])
            del self._held[:end]
            self._deliver(self._clean(lines))
        if len(self._held) > MAX_HELD:
            raise MaskError(f"over {MAX_HELD} bytes without a line's end: they cannot be searched for what is masked")
        if self._held and not self._strict:
            delay = ECHO if self._terminal else PROMPT
            self._timer = asyncio.get_running_loop().call_later(delay, self._release)

    def finish(self) -> None:
        """Deliver the rest."""
        self._stop_timer()
        rest = bytes(self._held)
        self._held.clear()
        self._deliver(self._clean(rest) + self._flush())

    def stop(self) -> None:
        """Nothing more is wanted."""
        self._stop_timer()
        self._held.clear()

    def _release(self) -> None:
        """Let go what nobody completed in time."""
        self._timer = None
        keep = 0
        if not self._terminal:
            keep = len(self._held) - _open_at(self._held)
        ready = bytes(self._held[: len(self._held) - keep])
        del self._held[: len(ready)]
        if ready:
            try:
                self._deliver(self._clean(ready, rest=True))
            except OnrecordError:
                self._held.clear()

    def _clean(self, data: bytes, *, rest: bool = False) -> bytes:
        """`data` without what is masked; with `rest` nothing is held back, but for a private key that is not whole."""
        cleaner = self._cleaner
        clean = cleaner.feed(data)
        if rest and not cleaner.within_key:
            clean += self._flush() if self._terminal else cleaner.pause()
        return clean

    def _flush(self) -> bytes:
        """What the cleaner holds; the next one begins anew."""
        cleaner, self._cleaner = self._cleaner, StreamCleaner(self._detectors.clean)
        clean = cleaner.finish()
        for name, count in cleaner.found.items():
            self._found[name] = self._found.get(name, 0) + count
        return clean

    @property
    def found(self) -> dict[str, int]:
        """How many findings there were, by detector."""
        total = dict(self._found)
        for name, count in self._cleaner.found.items():
            total[name] = total.get(name, 0) + count
        return total

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def cleaning_for(
    detectors: Detectors | None, deliver: Callable[[bytes], None], *, terminal: bool, strict: bool
) -> Cleaning | None:
    """None where nothing is masked: then every byte passes as it is."""
    return None if detectors is None else Cleaning(detectors, deliver, terminal=terminal, strict=strict)
