"""A Bind message that is too large for memory, read piece by piece: its large values are told by size and digest. Pure.

What is small in it is known in full before anything is decided, wherever it stands.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Generator
from typing import TypeVar

from onrecord.shims.postgres.messages import NAME_LIMIT, TOO_LONG, Bind
from onrecord.shims.postgres.wire import HEADER_SIZE, KIB, MIB, WireError, utf8

LARGE_VALUE = 64 * KIB
MAX_KEPT = MIB  # of the small values together; from there on the others count as large

_T = TypeVar("_T")
_Reading = Generator[None, bytes, _T]


class BindScanner:
    """Feed it all of a message; at the end, `bind` holds None for large values and `large` says what they are.

    `digest` begins a keyed digest. Raises WireError for what `decode_bind` would refuse.
    """

    def __init__(self, digest: Callable[[], hmac.HMAC]) -> None:
        self._digest = digest
        self._data = b""
        self._at = 0
        self._kept = 0
        self.large: dict[int, str] = {}
        self._bind: Bind | None = None
        self._scanning = self._scan()
        next(self._scanning)

    def feed(self, piece: bytes) -> None:
        """More of the message."""
        if self._bind is not None:
            if piece:
                raise WireError("a Bind message has bytes behind its last field")
            return
        try:
            self._scanning.send(piece)
        except StopIteration as end:
            self._bind = end.value
            if self._at != len(self._data):
                raise WireError("a Bind message has bytes behind its last field") from None

    @property
    def bind(self) -> Bind:
        """The message, when all of it was fed."""
        if self._bind is None:
            raise WireError("a Bind message ends in the middle of a field")
        return self._bind

    @property
    def kept(self) -> int:
        """Bytes of the values that are in memory."""
        return self._kept

    def _scan(self) -> _Reading[Bind]:
        yield from self._take(HEADER_SIZE)
        portal = yield from self._name()
        statement = yield from self._name()
        formats = yield from self._formats()
        count = yield from self._u16()
        if len(formats) > 1 and len(formats) != count:
            raise WireError(f"a Bind message has {len(formats)} formats for {count} parameters")
        values: list[bytes | None] = []
        for number in range(count):
            size = int.from_bytes((yield from self._take(4)), "big", signed=True)
            if size < -1:
                raise WireError("a parameter of a Bind message has an impossible length")
            if size < 0:
                values.append(None)
            elif size > LARGE_VALUE or self._kept + size > MAX_KEPT:
                values.append(None)
                digest = yield from self._pass(size)
                self.large[number] = f"[{size} bytes, keyed digest {digest}]"
            else:
                self._kept += size
                values.append((yield from self._take(size)))
        result_formats = yield from self._formats()
        return Bind(portal, statement, formats, tuple(values), result_formats)

    def _take(self, size: int) -> _Reading[bytes]:
        while len(self._data) - self._at < size:
            more = yield
            self._data = self._data[self._at :] + more
            self._at = 0
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    def _pass(self, size: int) -> _Reading[str]:
        """Skip a value; returns its digest."""
        hasher = self._digest()
        while True:
            piece = memoryview(self._data)[self._at : self._at + size]
            hasher.update(piece)
            self._at += len(piece)
            size -= len(piece)
            if not size:
                return hasher.hexdigest()
            self._data = yield
            self._at = 0

    def _u16(self) -> _Reading[int]:
        return int.from_bytes((yield from self._take(2)), "big")

    def _formats(self) -> _Reading[tuple[int, ...]]:
        count = yield from self._u16()
        codes = struct.unpack(f">{count}h", (yield from self._take(2 * count)))
        if any(code not in (0, 1) for code in codes):
            raise WireError("a Bind message has an unknown format code")
        return codes

    def _name(self) -> _Reading[str]:
        name = bytearray()
        while (byte := (yield from self._take(1))) != b"\0":
            name += byte
            if len(name) > NAME_LIMIT:
                raise WireError(TOO_LONG, "42622")
        return utf8(bytes(name))
