"""Bytes ↔ messages of the PostgreSQL frontend/backend protocol 3 (its manual, chapter "Message Formats"). No I/O.

A message is one type byte, a big-endian length that counts itself, and a body. The startup packets have no type byte.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from onrecord.policies.errors import DecodeError

HEADER = struct.Struct(">BI")
U32 = struct.Struct(">I")
HEADER_SIZE = HEADER.size

KIB, MIB = 1024, 1024 * 1024
TEXT_LIMIT = 16 * MIB  # Query and Parse
LARGE_LIMIT = 0x3FFFFFFE  # PQ_LARGE_MESSAGE_LIMIT of PostgreSQL
CALL_LIMIT = MIB
SMALL_LIMIT = 64 * KIB
PASSWORD_LIMIT = 64 * KIB

# What a client may send once it is logged in, and how long each may be.
CLIENT_LIMITS: Mapping[int, int] = {
    ord("Q"): TEXT_LIMIT,
    ord("P"): TEXT_LIMIT,
    ord("B"): LARGE_LIMIT,
    ord("F"): CALL_LIMIT,
    ord("d"): LARGE_LIMIT,
    ord("c"): 4,
    ord("f"): SMALL_LIMIT,
    ord("E"): SMALL_LIMIT,
    ord("D"): SMALL_LIMIT,
    ord("C"): SMALL_LIMIT,
    ord("S"): 4,
    ord("H"): 4,
    ord("X"): 4,
}
# Longer ones of these are given out in pieces.
CLIENT_PIECES: Mapping[int, int] = {ord("d"): 256 * KIB, ord("B"): MIB}
PIECE = 0x100  # beside the type byte: the first piece of a message, header included
REST = 0x200  # instead of it: a further piece
WHOLE = 0x400  # beside it: all of it was here
PASSWORD_LIMITS: Mapping[int, int] = {ord("p"): PASSWORD_LIMIT}
# What a server may send before the first ReadyForQuery.
LOGIN_LIMITS: Mapping[int, int] = dict.fromkeys(map(ord, "RSKNEZv"), MIB)


class WireError(DecodeError):
    """The bytes are no message of this protocol in this state. `sqlstate` is what the peer is told."""

    def __init__(self, reason: str, sqlstate: str = "08P01") -> None:
        super().__init__(reason)
        self.sqlstate = sqlstate


class MessageBuffer:
    """Collects bytes and gives whole messages. Memory: at most the limit of one message and one read.

    `limits` maps each acceptable type byte to the greatest length; anything else is a WireError as soon as its header
    is there. After a WireError the buffer is of no more use. `pieces` maps type bytes to the length from which on a
    message that is not here whole is given out in pieces: the first as `PIECE | type`, all others as `REST`.
    """

    __slots__ = ("_data", "_partial", "_pieces", "_position", "_rest", "_wanted", "limits")

    def __init__(self, limits: Mapping[int, int], pieces: Mapping[int, int] | None = None) -> None:
        self.limits = limits
        self._pieces = pieces or {}
        self._rest = 0  # bytes to come of a message that is given out in pieces
        self._data = b""
        self._position = 0
        self._partial = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> None:
        """Add bytes as they came."""
        if self._wanted:
            self._partial += data
            if len(self._partial) < self._wanted:
                return
            data = bytes(self._partial)
            self._partial = bytearray()
            self._wanted = 0
            self._data, self._position = data, 0
        elif self._position == len(self._data):
            self._data, self._position = data, 0
        else:
            self._data = self._data[self._position :] + data
            self._position = 0

    def next(self) -> tuple[int, bytes] | None:
        """The next message as (type byte, all of its bytes), or None where it is not complete. Raises WireError."""
        if self._wanted:
            return None
        data, position = self._data, self._position
        size = len(data) - position
        if self._rest:
            return self._next_piece(data[position : position + self._rest])
        if size < HEADER_SIZE:
            if size and data[position] not in self.limits:
                raise WireError(f"unexpected message type {_name(data[position])}")
            self._keep(HEADER_SIZE)
            return None
        kind, length = HEADER.unpack_from(data, position)
        limit = self.limits.get(kind)
        if limit is None:
            raise WireError(f"unexpected message type {_name(kind)}")
        if length < 4:
            raise WireError(f"message {_name(kind)} has the impossible length {length}")
        if length > limit:
            if limit <= SMALL_LIMIT:
                raise WireError(f"message {_name(kind)} of {length} bytes is over its limit of {limit}")
            raise WireError(f"message {_name(kind)} of {length} bytes is over the limit of {limit}", "54000")
        if size <= length:
            if length > self._pieces.get(kind, limit):
                self._rest = length + 1
                found = self._next_piece(data[position:])
                return found and (kind | PIECE, found[1])
            self._keep(length + 1)
            return None
        end = position + length + 1
        self._position = end
        if position == 0 and end == len(data):
            return kind, data
        return kind, data[position:end]

    def all(self) -> list[tuple[int, bytes]]:
        """All messages that are here whole, as `next` gives them. Raises WireError only if the first is bad."""
        found: list[tuple[int, bytes]] = []
        unpack, limits = HEADER.unpack_from, self.limits
        while not self._wanted:
            data, position = self._data, self._position
            size = len(data) if not self._rest else position
            while size - position >= HEADER_SIZE:
                kind, length = unpack(data, position)
                end = position + length + 1
                limit = limits.get(kind)
                if end > size or limit is None or not 4 <= length <= limit:
                    break
                found.append((kind, data[position:end]))
                position = end
            self._position = position
            if found:
                return found
            one = self.next()  # an unfinished or a bad message
            if one is None:
                return found
            found.append(one)
        return found

    def _next_piece(self, piece: bytes) -> tuple[int, bytes] | None:
        if not piece:
            return None
        self._position += len(piece)
        self._rest -= len(piece)
        return REST, piece

    @property
    def pending(self) -> int:
        """Bytes that are here and not yet given out."""
        return len(self._partial) + len(self._data) - self._position

    def _keep(self, wanted: int) -> None:
        rest = self._data[self._position :]
        self._data, self._position = b"", 0
        if rest:
            self._partial = bytearray(rest)
            self._wanted = wanted


def message(kind: bytes, body: bytes = b"") -> bytes:
    """One message."""
    return kind + U32.pack(len(body) + 4) + body


def _name(kind: int) -> str:
    return repr(chr(kind)) if 32 < kind < 127 else f"0x{kind:02x}"


class Reader:
    """Reads fields from the body of a message. Raises WireError where it is too short."""

    __slots__ = ("data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position = data, position

    def u8(self) -> int:
        return self.take(1)[0]

    def i16(self) -> int:
        return int.from_bytes(self.take(2), "big", signed=True)

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def i32(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise WireError("a message ends in the middle of a field")
        found = self.data[self.position : end]
        self.position = end
        return found

    def cstring(self) -> bytes:
        """The bytes up to the next NUL, which is consumed."""
        end = self.data.find(b"\0", self.position)
        if end < 0:
            raise WireError("a string in a message has no end")
        found = self.data[self.position : end]
        self.position = end + 1
        return found

    def text(self) -> str:
        """A NUL-terminated UTF-8 string."""
        return utf8(self.cstring())

    def end(self) -> None:
        """Nothing may follow."""
        if self.position != len(self.data):
            raise WireError("a message has bytes behind its last field")


def utf8(data: bytes) -> str:
    """`data` as text. Raises WireError where it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise WireError("a text is not valid UTF-8", "22021") from None
