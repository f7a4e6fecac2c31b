"""scp's old protocol (rcp's): what the sending side says, and what the other answers. Pure.

Source: scp.c of OpenSSH, `source`, `rsource`, `sink` and `response`. A sender says `C0644 SIZE NAME`, `D0755 0 NAME`,
`E`, `T mtime 0 atime 0`, each ended by a newline; behind C come SIZE bytes and a status byte. Each is answered by a
byte 0, or by 1 (an error) or 2 (the end) with a line of text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from onrecord.policies.errors import DecodeError

MAX_LINE = 8192
MAX_DEPTH = 256
MAX_HELD = 8 * 1024 * 1024
_ENTRY = re.compile(rb"([CD])([0-7]{4,5}) (\d{1,19}) ([^\n]+)\n", re.DOTALL)
_TIMES = re.compile(rb"T\d{1,12} \d{1,7} \d{1,12} \d{1,7}\n")


class ScpError(DecodeError):
    """A peer said what scp's protocol does not allow."""


class Entry(NamedTuple):
    """A file (`C`) or a folder (`D`) that is about to be sent. `raw` are the bytes that said so."""

    what: Literal["C", "D"]
    mode: int
    size: int
    name: bytes
    raw: bytes


class Line(NamedTuple):
    """Anything else that is answered: times, the end of a folder, an error of the sender (not answered)."""

    what: Literal["T", "E", "error"]
    raw: bytes


class Content(NamedTuple):
    """A piece of the file that was announced last."""

    data: bytes


class Done(NamedTuple):
    """The file is over. `raw` is its status: a byte 0, or an error with its text."""

    raw: bytes

    @property
    def good(self) -> bool:
        return self.raw == b"\0"


Said = Entry | Line | Content | Done


class Sender:
    """What a sender says, piece by piece. `depth` counts open folders."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._left = 0
        self._closing = False
        self.depth = 0

    @property
    def in_file(self) -> bool:
        """Whether a file has begun and is not over."""
        return self._left > 0 or self._closing

    def feed(self, data: bytes) -> None:
        """More bytes. Raises ScpError where nobody takes them."""
        self._held += data
        if len(self._held) > MAX_HELD:
            raise ScpError("the sender does not wait for answers")

    def next(self) -> Said | None:
        """The next thing that was wholly said; None until there is more. Raises ScpError."""
        held = self._held
        if self._left:
            if not held:
                return None
            piece = bytes(held[: self._left])
            del held[: len(piece)]
            self._left -= len(piece)
            return Content(piece)
        if self._closing:
            return self._status()
        if not held:
            return None
        end = held.find(b"\n", 0, MAX_LINE)
        if end < 0:
            if len(held) >= MAX_LINE:
                raise ScpError(f"a line of over {MAX_LINE} bytes")
            return None
        raw = bytes(held[: end + 1])
        del held[: end + 1]
        return self._line(raw)

    def skip(self) -> None:
        """The file that was just announced was refused: its content will not come."""
        self._left, self._closing = 0, False

    def _status(self) -> Done | None:
        held = self._held
        if not held:
            return None
        if held[0] == 0:
            del held[:1]
            self._closing = False
            return Done(b"\0")
        end = held.find(b"\n", 0, MAX_LINE)
        if held[0] not in (1, 2) or (end < 0 and len(held) >= MAX_LINE):
            raise ScpError("no status behind a file's content")
        if end < 0:
            return None
        raw = bytes(held[: end + 1])
        del held[: end + 1]
        self._closing = False
        return Done(raw)

    def _line(self, raw: bytes) -> Said:
        if raw[0] in (1, 2):
            return Line("error", raw)
        if raw == b"E\n":
            self.depth -= 1
            if self.depth < 0:
                raise ScpError("the end of a folder that was not begun")
            return Line("E", raw)
        if _TIMES.fullmatch(raw):
            return Line("T", raw)
        found = _ENTRY.fullmatch(raw)
        if found is None:
            raise ScpError("a line that is none of the protocol")
        name = found[4]
        if b"/" in name or name in (b".", b"..") or b"\0" in name:
            raise ScpError("a name that is a path")
        size = int(found[3])
        if found[1] == b"D":
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise ScpError(f"over {MAX_DEPTH} folders in each other")
            return Entry("D", int(found[2], 8), 0, name, raw)
        self._left, self._closing = size, True
        return Entry("C", int(found[2], 8), size, name, raw)


class Answers:
    """What a receiver answers, piece by piece."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The answers that are complete. Raises ScpError."""
        self._held += data
        while self._held:
            if self._held[0] == 0:
                del self._held[:1]
                yield b"\0"
                continue
            if self._held[0] not in (1, 2):
                raise ScpError("an answer that is none")
            end = self._held.find(b"\n", 0, MAX_LINE)
            if end < 0:
                if len(self._held) >= MAX_LINE:
                    raise ScpError(f"an answer of over {MAX_LINE} bytes")
                return
            answer = bytes(self._held[: end + 1])
            del self._held[: end + 1]
            yield answer
