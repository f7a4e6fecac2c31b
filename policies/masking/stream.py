"""Cleaning UTF-8 that arrives in pieces, in bounded memory.

The text is cut only where no finding can go on: behind the end of a line, a tab, NUL, `>`, `",`, `"}` and `"]`; within
a private key only where the key ends. Each segment is cleaned alone, so what comes out does not depend on the pieces.
A segment of more than MAX_SEGMENT bytes is refused. A key whose beginning is missing is found by its last line only.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from onrecord.policies.masking.errors import MaskError

MAX_SEGMENT = 256 * 1024
CONTEXT = 1024  # bytes that are out already and count for what follows them

_CUT = re.compile(rb'[\n\t>\x00]|"[,}\]]')
_BEGIN = re.compile(rb"BEGIN(?:[ +_]|%20)(?:[A-Z0-9]{1,20}(?:[ +_]|%20)){0,4}PRIVATE(?:[ +_]|%20)KEY")
_CLOSED = re.compile(rb"END(?:[ +_]|%20)(?:[A-Z0-9]{1,20}(?:[ +_]|%20)){0,4}PRIVATE(?:[ +_]|%20)KEY|[\"'<>{}|\x00\t]")


class StreamCleaner:
    """`found` counts findings by detector. Not to be used any more after an error or after `finish`."""

    def __init__(self, clean: Callable[[str, dict[str, int]], str]) -> None:
        self._clean = clean
        self._held = bytearray()
        self._seen = 0
        self._said = b""  # how what is held was let out already, cleaned
        self._counted: dict[str, int] = {}  # what was found in that
        self.found: dict[str, int] = {}

    @property
    def holds(self) -> bool:
        """Whether something waits for the end of its segment."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """What may go out after `data`. Raises MaskError where a segment is too long to be searched."""
        self._held += data
        made: list[bytes] = []
        start = 0
        for cut in _CUT.finditer(self._held, max(0, self._seen - 1)):
            if cut[0] == b"\n" and self._in_key(start, cut.end()):
                continue
            made.append(self._beyond(self._cleaned(start, cut.end())))
            start = cut.end()
        del self._held[:start]
        self._seen = len(self._held)
        if self._seen > MAX_SEGMENT:
            raise MaskError(
                f"over {MAX_SEGMENT} bytes without a line's end: they cannot be searched for what is masked"
            )
        return b"".join(made)

    def finish(self) -> bytes:
        """The rest."""
        rest = self._beyond(self._cleaned(0, len(self._held)))
        self._held.clear()
        return rest

    def pause(self) -> bytes:
        """The rest, where more of its segment may follow: what follows is searched together with the end of it."""
        made = self._beyond(self._cleaned(0, len(self._held)))
        del self._held[:-CONTEXT]
        self._seen = len(self._held)
        text = self._held.decode("utf-8", "surrogateescape")
        self._said = self._clean(text, self._counted).encode("utf-8", "surrogateescape")
        return made

    def _beyond(self, cleaned: bytes) -> bytes:
        """`cleaned` without what is out already. Where a finding spans both, all of it is still to go."""
        said, self._said = self._said, b""
        common = next((at for at, (a, b) in enumerate(zip(said, cleaned, strict=False)) if a != b), None)
        return cleaned[min(len(said), len(cleaned)) if common is None else common :]

    @property
    def within_key(self) -> bool:
        """Whether what is held may belong to a private key."""
        return b"PRIVATE" in self._held

    def _in_key(self, start: int, end: int) -> bool:
        segment = self._held[start:end]
        if b"PRIVATE" not in segment:
            return False
        begins = [match.end() for match in _BEGIN.finditer(segment)]
        return bool(begins) and _CLOSED.search(segment, begins[-1]) is None

    def _cleaned(self, start: int, end: int) -> bytes:
        if end - start > MAX_SEGMENT:
            raise MaskError(
                f"over {MAX_SEGMENT} bytes without a line's end: they cannot be searched for what is masked"
            )
        text = self._held[start:end].decode("utf-8", "surrogateescape")
        found: dict[str, int] = {}
        clean = self._clean(text, found).encode("utf-8", "surrogateescape")
        for name, count in found.items():
            more = count - self._counted.get(name, 0)
            if more > 0:
                self.found[name] = self.found.get(name, 0) + more
        self._counted = {}
        return clean
