"""SPDY/3.1 frames: bytes ↔ frames, with compressed header blocks. Pure.

After the SPDY/3.1 draft (sections 2.2 to 2.6), as far as Kubernetes speaks it. A frame's length is known before it is
kept: control frames are bounded, data is handed out as it comes, and a header block inflates to MAX_HEADERS bytes at
most, so that a few bytes cannot fill memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.spdy_dictionary import DICTIONARY

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FLAG_FIN, FLAG_UNIDIRECTIONAL = 1, 2
MAX_CONTROL = 16 * 1024  # bytes of a control frame
MAX_HEADERS = 16 * 1024  # bytes of an inflated header block
MAX_DATA = (1 << 24) - 1

_NAMES = {
    SYN_STREAM: "SYN_STREAM", SYN_REPLY: "SYN_REPLY", RST_STREAM: "RST_STREAM", SETTINGS: "SETTINGS", PING: "PING",
    GOAWAY: "GOAWAY", HEADERS: "HEADERS", WINDOW_UPDATE: "WINDOW_UPDATE",
}  # fmt: skip


class Control(NamedTuple):
    """A whole control frame, its header block still compressed."""

    type: int
    flags: int
    payload: bytes

    @property
    def name(self) -> str:
        return _NAMES.get(self.type, f"type {self.type}")


class DataPart(NamedTuple):
    """A part of a data frame; `ends` on the last part of a frame with FIN."""

    stream: int
    data: bytes
    ends: bool


Frame = Control | DataPart


class FrameReader:
    """Bytes of one direction → frames. Not to be used any more after a StreamError."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stream = self._left = 0
        self._fin = False

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing of a frame is missing."""
        return not self._buffer and not self._left

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes, and parts of a data frame as they come. Raises StreamError."""
        self._buffer += data
        while True:
            if self._left:
                if not self._buffer:
                    return
                part = bytes(self._buffer[: self._left])
                del self._buffer[: len(part)]
                self._left -= len(part)
                yield DataPart(self._stream, part, self._fin and not self._left)
                continue
            if len(self._buffer) < 8:
                return
            first, rest = struct.unpack_from(">II", self._buffer)
            flags, length = rest >> 24, rest & MAX_DATA
            if not first >> 31:
                del self._buffer[:8]
                if flags & ~FLAG_FIN:
                    raise StreamError(f"a SPDY data frame with the flags {flags:#x}")
                self._stream, self._left, self._fin = first, length, bool(flags & FLAG_FIN)
                if not length:
                    yield DataPart(first, b"", self._fin)
                continue
            version, type = first >> 16 & 0x7FFF, first & 0xFFFF
            if version != VERSION:
                raise StreamError(f"a SPDY frame of version {version}; only {VERSION} is spoken")
            if length > MAX_CONTROL:
                raise StreamError(f"a SPDY control frame of {length} bytes is over the limit of {MAX_CONTROL}")
            if len(self._buffer) < 8 + length:
                return
            payload = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            yield Control(type, flags, payload)


class HeaderReader:
    """Inflates the header blocks of one direction; they share one zlib stream."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def read(self, block: bytes) -> dict[str, str]:
        """A block's fields, names in lower case. Raises StreamError."""
        try:
            plain = self._inflate.decompress(block, MAX_HEADERS + 1)
        except zlib.error:
            raise StreamError("a SPDY header block that does not inflate") from None
        if len(plain) > MAX_HEADERS or self._inflate.unconsumed_tail:
            raise StreamError(f"a SPDY header block that inflates beyond {MAX_HEADERS} bytes")
        if self._inflate.eof:
            raise StreamError("a SPDY header block that ends the compressed stream")
        return _fields(plain)


class HeaderWriter:
    """Deflates the header blocks of one direction."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def write(self, fields: Mapping[str, str]) -> bytes:
        parts = [struct.pack(">I", len(fields))]
        for name, value in fields.items():
            for text in (name.encode(), value.encode()):
                parts += (struct.pack(">I", len(text)), text)
        return self._deflate.compress(b"".join(parts)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def control(type: int, payload: bytes, flags: int = 0) -> bytes:
    """A control frame."""
    return struct.pack(">II", 1 << 31 | VERSION << 16 | type, flags << 24 | len(payload)) + payload


def data_frames(stream: int, data: bytes, *, ends: bool = False) -> bytes:
    """`data` in as few data frames as there can be; an empty one where there is only the end to tell."""
    made = []
    for start in range(0, max(len(data), 1), MAX_DATA):
        part = data[start : start + MAX_DATA]
        last = start + MAX_DATA >= len(data)
        made.append(struct.pack(">II", stream, (FLAG_FIN if ends and last else 0) << 24 | len(part)) + part)
    return b"".join(made)


def words(frame: Control, count: int, *, exact: bool = True) -> tuple[int, ...]:
    """The first `count` 32-bit numbers of a control frame. Raises StreamError where it has another length."""
    size = 4 * count
    if len(frame.payload) < size or (exact and len(frame.payload) != size):
        raise StreamError(f"a SPDY {frame.name} frame of {len(frame.payload)} bytes")
    return struct.unpack_from(f">{count}I", frame.payload)


def _fields(plain: bytes) -> dict[str, str]:
    position = 0

    def number() -> int:
        nonlocal position
        if position + 4 > len(plain):
            raise StreamError("a SPDY header block that is cut short")
        (value,) = struct.unpack_from(">I", plain, position)
        position += 4
        return int(value)

    def text() -> str:
        nonlocal position
        size = number()
        found = plain[position : position + size]
        position += size
        if len(found) != size:
            raise StreamError("a SPDY header block that is cut short")
        try:
            return found.decode("ascii")
        except UnicodeDecodeError:
            raise StreamError("a SPDY header that is not ASCII") from None

    fields: dict[str, str] = {}
    for _ in range(number()):
        name = text()
        if not name or name != name.lower() or name in fields:
            raise StreamError("a SPDY header whose name is empty, twice there or not in lower case")
        fields[name] = text()
    if position != len(plain):
        raise StreamError("a SPDY header block with bytes behind its end")
    return fields
