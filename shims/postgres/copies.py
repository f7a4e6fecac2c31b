"""What is known of the data of a COPY: its format, a bounded sample, and what masks it. Pure.

The data are a stream of bytes: CopyData messages may split it anywhere, although PostgreSQL sends a row in each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from onrecord.shims.postgres.wire import HEADER_SIZE, Reader, message

COPY_DATA = ord("d")


class CopyShape(NamedTuple):
    """A CopyInResponse or CopyOutResponse: whether the data are binary, and the format code of each column."""

    binary: bool
    formats: tuple[int, ...]


class CopyMask(Protocol):
    """Masks the data of a COPY on its way to the client.

    `feed` takes the data of one CopyData message, or a piece of a large one, and returns what may be delivered now:
    nothing, as long as a row is not there whole. `finish` is called once at the regular end and returns the rest.
    Either may raise: then nothing more is delivered and the session ends.
    """

    def feed(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


CopyMaskMaker = Callable[[CopyShape], CopyMask | None]


def decode_shape(data: bytes) -> CopyShape:
    """The body of a CopyInResponse or CopyOutResponse. Raises WireError."""
    reader = Reader(data, HEADER_SIZE)
    binary = reader.u8() != 0
    formats = tuple(reader.u16() for _ in range(reader.u16()))
    reader.end()
    return CopyShape(binary, formats)


def copy_data(data: bytes) -> bytes:
    """One CopyData message of `data`."""
    return message(b"d", data)


class CopySample:
    """The first bytes of the data of one COPY, as people read them.

    `shown` has the form of the sample of rows: text as one line a row, binary data as one row in hexadecimal.
    """

    __slots__ = ("_binary", "_cut", "_first", "_left")

    def __init__(self, shape: CopyShape, limit: int) -> None:
        self._binary, self._left = shape.binary, limit
        self._first = bytearray()
        self._cut = False

    def add(self, data: bytes) -> None:
        """More of the data."""
        if not self._left:
            self._cut = self._cut or bool(data)
            return
        piece = data[: self._left]
        self._first += piece
        self._left -= len(piece)
        self._cut = len(piece) < len(data)

    def shown(self) -> dict[str, Any]:
        """The sample as it stands on the record."""
        if self._binary:
            rows = ["\\x" + self._first.hex()] if self._first else []
        else:
            rows = self._first.decode("utf-8", "replace").split("\n")
            if not rows[-1]:
                rows.pop()
        found: dict[str, Any] = {"columns": ["COPY"], "rows": [[row] for row in rows]}
        if self._cut:
            found["truncated"] = True
        return found
