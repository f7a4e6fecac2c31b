"""What was typed on a terminal, as far as its echo shows it. Pure.

What the host does not echo may be a password, so it is not kept. Typed text counts as shown only where the output that
follows begins with it; what does not come back like that is dropped, and with it all that was typed to the end of its
line: else the letters of a password would wait until some output happens to begin with one of them. Control characters
and the sequences of keys carry no text: they are kept as they are, in their place.
"""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

MAX_PENDING = 4096
MAX_LINE = 4096

_PIECES = re.compile(
    rb"(?P<key>\x1b\[[0-9;?]{0,8}[@-~]|\x1bO[ -~]|[\x00-\x1f\x7f]+)|(?P<text>[^\x00-\x1f\x7f]+)", re.DOTALL
)
_SEQUENCES = re.compile(
    rb"\x1b\[[0-9;?]{0,16}[ -/]{0,2}[@-~]|\x1b\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\r(?!\n)"
)
_ENDS = frozenset(b"\r\n\x03\x04\x1a")


class Shown(NamedTuple):
    """A line of what was typed, or a part of one; `hidden` bytes in it were not echoed."""

    text: bytes
    hidden: int


class Typed:
    """One terminal's keyboard. `typed` and `output` give what is certain now, a line at a time."""

    def __init__(self) -> None:
        self._pending: deque[tuple[bool, bytearray]] = deque()  # (is text, bytes)
        self._size = 0
        self._line = bytearray()
        self._hidden = 0

    def typed(self, data: bytes) -> list[Shown]:
        """Keys that go to the host now."""
        for piece in _PIECES.finditer(data):
            text = piece["text"]
            self._pending.append((text is not None, bytearray(piece[0])))
            self._size += len(piece[0])
        found = self._settle()
        while self._size > MAX_PENDING:
            found += self._drop()
        return found

    def output(self, data: bytes) -> list[Shown]:
        """What the host printed next."""
        if not self._pending:
            return []
        rest = _SEQUENCES.sub(b"", data[: 2 * MAX_PENDING])
        before = len(self._line)
        while rest and self._pending and self._pending[0][0]:
            wanted = self._pending[0][1]
            size = _common(rest, wanted)
            if not size:
                return self._not_echoed(before)
            self._line += wanted[:size]
            self._size -= size
            rest = rest[size:]
            if size == len(wanted):
                self._pending.popleft()
                found = self._settle()
                if found:
                    return found + (self.output(rest.lstrip(b"\r\n")) if rest else [])
            else:
                del wanted[:size]
                if rest:
                    return self._not_echoed(before)
        return []

    def finish(self) -> list[Shown]:
        """The end: what is still open was not echoed."""
        found: list[Shown] = []
        while self._pending:
            found += self._drop()
        return found + self._cut()

    def _settle(self) -> list[Shown]:
        """Keys whose turn it is: nothing typed before them waits for its echo."""
        found: list[Shown] = []
        while self._pending and not self._pending[0][0]:
            _, keys = self._pending.popleft()
            self._size -= len(keys)
            self._line += keys
            if not _ENDS.isdisjoint(keys) or len(self._line) > MAX_LINE:
                found += self._cut()
        return found

    def _drop(self) -> list[Shown]:
        """The text at the front was not echoed."""
        is_text, piece = self._pending.popleft()
        self._size -= len(piece)
        if is_text:
            self._hidden += len(piece)
        else:
            self._line += piece
        return self._settle()

    def _not_echoed(self, before: int) -> list[Shown]:
        """The output is something else: what it had in common with the line beyond `before` was chance."""
        self._hidden += len(self._line) - before
        del self._line[before:]
        found: list[Shown] = []
        while self._pending and self._pending[0][0] and not found:
            found += self._drop()
        return found

    def _cut(self) -> list[Shown]:
        if not self._line and not self._hidden:
            return []
        shown = Shown(bytes(self._line), self._hidden)
        self._line.clear()
        self._hidden = 0
        return [shown]


def _common(one: bytes, other: bytes | bytearray) -> int:
    size = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        size += 1
    return size


class Lines:
    """The lines that Enter completes, as they stand on the screen: an aid to search, and nothing to decide by.

    pyte reads only what was printed since the last line's end, and only for a line that was entered.
    """

    def __init__(self, columns: int) -> None:
        self._columns = _sane(columns)
        self._tail = bytearray()
        self._entered = 0

    def resize(self, columns: int) -> None:
        """The terminal has another width now."""
        self._columns = _sane(columns)

    def typed(self, data: bytes) -> None:
        """Keys that go to the host now."""
        self._entered = min(self._entered + data.count(b"\r") + data.count(b"\n"), MAX_ENTERED)

    def output(self, data: bytes) -> list[str]:
        """What the host printed next; the lines that are complete with it."""
        found = []
        at = 0
        while self._entered and (end := data.find(b"\n", at)) >= 0:
            self._entered -= 1
            self._keep(data[at:end])
            line = self._current()
            if line:
                found.append(line)
            self._tail.clear()
            at = end + 1
        cut = data.rfind(b"\n", at) + 1
        if cut:
            self._tail.clear()
        self._keep(data[max(at, cut) :])
        return found

    def _keep(self, data: bytes) -> None:
        self._tail += data[-_TAIL:]
        del self._tail[: max(0, len(self._tail) - _TAIL)]

    def _current(self) -> str:
        import pyte

        screen: pyte.Screen = pyte.Screen(self._columns, 4)
        stream: pyte.ByteStream = pyte.ByteStream(screen)
        try:
            stream.feed(bytes(self._tail))
        except (ValueError, IndexError, TypeError, KeyError, AssertionError):
            return ""  # pyte does not know every sequence
        return "\n".join(screen.display[: screen.cursor.y + 1]).strip()


_TAIL = 1024
MAX_ENTERED = 16


def _sane(columns: int) -> int:
    return min(max(columns, 20), 500)
