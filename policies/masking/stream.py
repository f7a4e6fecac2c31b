"""Cleaning text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Callable


class StreamCleaner:
    """Bytes in, cleaned bytes out."""

    def __init__(self, clean: Callable[[str, dict[str, int]], str]) -> None:
        self._clean = clean
        self._held = bytearray()
        self.found: dict[str, int] = {}

    def feed(self, data: bytes) -> bytes:
        """What is safe to let go after `data`."""
        self._held += data
        return b""

    def finish(self) -> bytes:
        """The rest. Nothing may be fed after it."""
        text = bytes(self._held).decode("utf-8", "surrogateescape")
        self._held.clear()
        return self._clean(text, self.found).encode("utf-8", "surrogateescape")
