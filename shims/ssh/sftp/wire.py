"""SFTP on the wire: bytes ↔ packets ↔ fields. Pure; junk raises SftpError and nothing else.

Source: draft-ietf-secsh-filexfer-02 (version 3), -04 (4), -05 (5), -13 (6) and OpenSSH's PROTOCOL, section 4.
Attributes of versions 4 to 6 are in `attributes`. A packet here is `type byte + payload`, without the length in front.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from onrecord.policies.errors import DecodeError

VERSION = 3
LATEST = 6
MAX_PACKET = 256 * 1024  # bytes of a packet: what OpenSSH's own server takes
MAX_DATA = MAX_PACKET - 1024  # bytes of one READ's or WRITE's content
MAX_PATH = 4096  # bytes; Linux' own limit
MAX_ATTR_PAIRS = 16

INIT, VERSION_REPLY, OPEN, CLOSE, READ, WRITE, LSTAT, FSTAT, SETSTAT, FSETSTAT = range(1, 11)
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, REALPATH, STAT, RENAME, READLINK, SYMLINK = range(11, 21)
LINK, BLOCK, UNBLOCK = range(21, 24)  # of version 6, which has no SYMLINK
STATUS, HANDLE, DATA, NAME, ATTRS = range(101, 106)
EXTENDED, EXTENDED_REPLY = 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE, NO_CONNECTION, CONNECTION_LOST, OP_UNSUPPORTED = range(
    9
)
STATUS_NAMES = (
    "OK",
    "EOF",
    "NO_SUCH_FILE",
    "PERMISSION_DENIED",
    "FAILURE",
    "BAD_MESSAGE",
    "NO_CONNECTION",
    "CONNECTION_LOST",
    "OP_UNSUPPORTED",
    "INVALID_HANDLE",  # from here on version 4
    "NO_SUCH_PATH",
    "FILE_ALREADY_EXISTS",
    "WRITE_PROTECT",
    "NO_MEDIA",
    "NO_SPACE_ON_FILESYSTEM",  # version 5
    "QUOTA_EXCEEDED",
    "UNKNOWN_PRINCIPAL",
    "LOCK_CONFLICT",
    "DIR_NOT_EMPTY",  # version 6
    "NOT_A_DIRECTORY",
    "INVALID_FILENAME",
    "LINK_LOOP",
    "CANNOT_DELETE",
    "INVALID_PARAMETER",
    "FILE_IS_A_DIRECTORY",
    "BYTE_RANGE_LOCK_CONFLICT",
    "BYTE_RANGE_LOCK_REFUSED",
    "DELETE_PENDING",
    "FILE_CORRUPT",
    "OWNER_INVALID",
    "GROUP_INVALID",
    "NO_MATCHING_BYTE_RANGE_LOCK",
)
INVALID_HANDLE, NO_SUCH_PATH, LINK_LOOP = 9, 10, 21

FLAG_READ, FLAG_WRITE, FLAG_APPEND, FLAG_CREAT, FLAG_TRUNC, FLAG_EXCL = 1, 2, 4, 8, 16, 32
ALL_FLAGS = 0x3F

REGULAR, DIRECTORY, SYMBOLIC_LINK, SPECIAL, UNKNOWN, SOCKET, CHARACTER, BLOCK_DEVICE, FIFO = range(1, 10)
_TYPES = {
    0o100000: REGULAR,
    0o040000: DIRECTORY,
    0o120000: SYMBOLIC_LINK,
    0o140000: SOCKET,
    0o020000: CHARACTER,
    0o060000: BLOCK_DEVICE,
    0o010000: FIFO,
}

_SIZE, _UIDGID, _PERMISSIONS, _TIMES, _EXTENDED = 1, 2, 4, 8, 0x80000000

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_HEAD = struct.Struct(">BI")


class SftpError(DecodeError):
    """A peer sent what its version of SFTP does not allow, or more than a limit allows."""


class Attrs(NamedTuple):
    """File attributes; None is one that was not sent. Times are Unix seconds.

    Version 3 has numbers of owner and group, the later ones their names; `kind` is the type of file that those say
    apart from the permissions.
    """

    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    permissions: int | None = None
    atime: int | None = None
    mtime: int | None = None
    extended: tuple[tuple[bytes, bytes], ...] = ()
    kind: int = UNKNOWN
    allocation: int | None = None
    owner: bytes | None = None
    group: bytes | None = None
    createtime: int | None = None
    ctime: int | None = None
    fractions: tuple[int, int, int, int] | None = None  # nanoseconds of atime, createtime, mtime, ctime
    acl: bytes | None = None
    bits: tuple[int, int] | None = None  # attrib-bits, and which of them are valid
    text_hint: int | None = None
    mime_type: bytes | None = None
    links: int | None = None
    untranslated: bytes | None = None

    @property
    def file_type(self) -> int:
        """REGULAR, DIRECTORY, SYMLINK or what else it is said to be; UNKNOWN where that is not said."""
        if self.kind != UNKNOWN or self.permissions is None:
            return self.kind
        return _TYPES.get(self.permissions & 0o170000, UNKNOWN)


class Splitter:
    """Bytes in pieces → whole packets. Holds at most one packet of `limit` bytes and a piece."""

    def __init__(self, limit: int = MAX_PACKET) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes of a packet that has not wholly come."""
        return self._held

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that `data` completes. Raises SftpError at a length of 0 or over the limit."""
        if not data:
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held < 4:
            return
        if len(self._pieces) > 1:
            first = self._pieces[0]
            if len(first) >= 4 and self._held < 4 + self._length(first, 0):
                return  # more of a large packet: joined once, when all is there
            data = b"".join(self._pieces)
        at, end = 0, len(data)
        self._pieces = []
        self._held = 0
        while end - at >= 4:
            stop = at + 4 + self._length(data, at)
            if stop > end:
                break
            yield data[at + 4 : stop]
            at = stop
        if at < end:
            self._pieces = [data[at:]]
            self._held = end - at

    def _length(self, data: bytes, at: int) -> int:
        length: int = _U32.unpack_from(data, at)[0]
        if not 1 <= length <= self._limit:
            raise SftpError(f"a packet of {length} bytes: 1 to {self._limit} are allowed")
        return length


class Fields:
    """Reads a packet's payload from `at` on, field by field; each raises SftpError where the packet is too short."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 1) -> None:
        self._data, self._at = data, at

    def byte(self) -> int:
        try:
            value = self._data[self._at]
        except IndexError:
            raise SftpError("a packet ends where a byte belongs") from None
        self._at += 1
        return value

    def u32(self) -> int:
        try:
            value: int = _U32.unpack_from(self._data, self._at)[0]
        except struct.error:
            raise SftpError("a packet ends within a number") from None
        self._at += 4
        return value

    def u64(self) -> int:
        try:
            value: int = _U64.unpack_from(self._data, self._at)[0]
        except struct.error:
            raise SftpError("a packet ends within a number") from None
        self._at += 8
        return value

    def string(self) -> bytes:
        length = self.u32()
        start = self._at
        if length > len(self._data) - start:
            raise SftpError(f"a string of {length} bytes goes beyond its packet")
        self._at = start + length
        return self._data[start : self._at]

    def attrs(self) -> Attrs:
        """Attributes as version 3 has them."""
        flags = self.u32()
        if flags & ~(_SIZE | _UIDGID | _PERMISSIONS | _TIMES | _EXTENDED):
            raise SftpError(f"attributes with unknown flags: {flags:#x}")
        size = self.u64() if flags & _SIZE else None
        uid, gid = (self.u32(), self.u32()) if flags & _UIDGID else (None, None)
        permissions = self.u32() if flags & _PERMISSIONS else None
        atime, mtime = (self.u32(), self.u32()) if flags & _TIMES else (None, None)
        pairs = self.pairs() if flags & _EXTENDED else ()
        return Attrs(size, uid, gid, permissions, atime, mtime, pairs)

    def pairs(self) -> tuple[tuple[bytes, bytes], ...]:
        """Extended attributes."""
        count = self.u32()
        if count > MAX_ATTR_PAIRS:
            raise SftpError(f"{count} extended attributes: at most {MAX_ATTR_PAIRS} are allowed")
        return tuple([(self.string(), self.string()) for _ in range(count)])

    def end(self) -> None:
        """Raises SftpError where something follows."""
        if self._at != len(self._data):
            raise SftpError(f"{len(self._data) - self._at} bytes behind the last field of a packet")

    @property
    def rest(self) -> bytes:
        return self._data[self._at :]


def string(value: bytes) -> bytes:
    """A string field."""
    return _U32.pack(len(value)) + value


def byte(value: int) -> bytes:
    """A number of one byte."""
    return bytes((value,))


def u32(value: int) -> bytes:
    """A number of four bytes."""
    return _U32.pack(value)


def u64(value: int) -> bytes:
    """A number of eight bytes."""
    return _U64.pack(value)


def attrs(value: Attrs) -> bytes:
    """An attributes field of version 3, without extended ones."""
    flags, parts = 0, []
    if value.size is not None:
        flags |= _SIZE
        parts.append(_U64.pack(value.size))
    if value.uid is not None and value.gid is not None:
        flags |= _UIDGID
        parts.append(_U32.pack(value.uid) + _U32.pack(value.gid))
    if value.permissions is not None:
        flags |= _PERMISSIONS
        parts.append(_U32.pack(value.permissions))
    if value.atime is not None and value.mtime is not None:
        flags |= _TIMES
        parts.append(_U32.pack(value.atime) + _U32.pack(value.mtime))
    return _U32.pack(flags) + b"".join(parts)


def packet(kind: int, id: int, *parts: bytes) -> bytes:
    """A whole packet with its length in front, ready to be sent."""
    body = b"".join(parts)
    return _U32.pack(5 + len(body)) + _HEAD.pack(kind, id) + body


def with_id(data: bytes, id: int) -> tuple[bytes, bytes | memoryview]:
    """The packet `data` under another request id, as a head (with the length) and the rest, not copied."""
    return _U32.pack(len(data)) + _HEAD.pack(data[0], id), memoryview(data)[5:]


def status(id: int, code: int, message: str = "") -> bytes:
    """A STATUS packet; `message` is what libraries show to people."""
    text = message or STATUS_NAMES[code].replace("_", " ").capitalize()
    return packet(STATUS, id, u32(code), string(text.encode("utf-8", "backslashreplace")), string(b"en"))


def status_name(code: int) -> str:
    """What a status is called in records."""
    return STATUS_NAMES[code] if code < len(STATUS_NAMES) else f"status {code}"
