"""Journal frames: pure bytes ↔ frames, checksummed and hash-chained. No I/O.

    journal  = file header, then frames
    file     = magic "onrecord-journal-1\n" · chain seed (32 bytes)
    frame    = length u32 · crc32 u32 · chain (32 bytes) · header (HEADER.size bytes) · payload
    length   = bytes of header and payload;  crc32 over chain, header and payload
    chain    = SHA-256(chain of the frame before · header · payload); the first continues the seed
    leaf     = header · payload: what the Merkle tree commits to (recordings/evidence/merkle.py)

All integers are big-endian. The header stays clear so that a sealed payload can be placed, linked and counted
without its key: version, kind, key id (0: payload in clear), record, session and command ids (UUIDv7), time.
"""

from __future__ import annotations

import enum
import hashlib
import os
import struct
import time
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from onrecord.policies.errors import DecodeError

MAGIC = b"onrecord-journal-1\n"
FILE_HEADER_SIZE = len(MAGIC) + 32
PREFIX = struct.Struct(">II32s")
HEADER = struct.Struct(">BBI16s16s16sQ")
MAX_FRAME = 64 * 1024 * 1024
VERSION = 1
NO_ID = bytes(16)
_sha256 = hashlib.sha256
_BEFORE_CHAIN = 8  # bytes of a frame that its checksum is not over


class Kind(enum.IntEnum):
    """What a record is about. Values are in committed bytes: never renumber."""

    PROCESS = 1
    SESSION = 2
    COMMAND = 3
    CHUNK = 4
    OUTCOME = 5
    SESSION_END = 6
    REFUSAL = 7
    POLICY = 8
    GAP = 9
    LOOK = 20
    APPROVAL = 10
    KILL = 11


_KINDS = frozenset(int(kind) for kind in Kind)


class FrameError(DecodeError):
    """The bytes are no journal, or a frame was damaged. `offset` is where the bad frame starts."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"journal damaged at byte {offset}: {reason}")
        self.offset = offset


class Frame(NamedTuple):
    """One record as stored. `leaf` is what is hashed; `end` the offset behind it in its file."""

    kind: Kind
    key: int
    id: bytes
    session: bytes
    command: bytes
    at: int
    payload: bytes
    leaf: bytes
    chain: bytes
    end: int


class Leaves(NamedTuple):
    """What `take_leaves` found: `end` is the offset in `data` behind the last leaf, `chain` the value there."""

    leaves: list[bytes]
    end: int
    chain: bytes
    error: FrameError | None


_RANDOM_BITS = ((1 << 80) - 1) & ~(0xF << 76) & ~(0x3 << 62)  # all of the low 80 but version and variant
_VERSION_AND_VARIANT = 0x7 << 76 | 0x2 << 62
_randomness = bytearray()


def new_id(now_ns: int | None = None) -> bytes:
    """A UUIDv7 (RFC 9562) as 16 bytes; time-ordered to the millisecond."""
    if not _randomness:
        _randomness.extend(os.urandom(4096 - 4096 % 10))  # one system call for many ids
    low = int.from_bytes(_randomness[-10:])
    del _randomness[-10:]
    milliseconds = (now_ns if now_ns is not None else time.time_ns()) // 1_000_000
    return (milliseconds << 80 | low & _RANDOM_BITS | _VERSION_AND_VARIANT).to_bytes(16)


def id_text(raw: bytes) -> str:
    """The canonical form of a 16-byte id; empty for NO_ID."""
    if raw == NO_ID:
        return ""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def id_bytes(text: str) -> bytes:
    """The 16 bytes of a canonical id; NO_ID for the empty text. Raises ValueError for anything else."""
    if not text:
        return NO_ID
    raw = bytes.fromhex(text.replace("-", ""))
    if len(raw) != 16 or id_text(raw) != text:
        raise ValueError(f"not a record id: {text!r}")
    return raw


def file_header(seed: bytes) -> bytes:
    """The first bytes of a journal whose chain starts at `seed` (32 bytes)."""
    return MAGIC + seed


def read_file_header(data: bytes) -> bytes:
    """The chain seed of a journal that starts with `data`. Raises FrameError."""
    if len(data) < FILE_HEADER_SIZE or not data.startswith(MAGIC):
        raise FrameError("not an onrecord journal", 0)
    return data[len(MAGIC) : FILE_HEADER_SIZE]


def encode_frame(
    chain: bytes,
    kind: int,
    record: bytes,
    session: bytes,
    command: bytes,
    at: int,
    payload: bytes,
    key: int = 0,
) -> tuple[bytes, bytes]:
    """The frame's bytes and the new chain value. `at` is Unix time in nanoseconds."""
    leaf = HEADER.pack(VERSION, kind, key, record, session, command, at) + payload
    if len(leaf) > MAX_FRAME:
        raise FrameError(f"a record of {len(leaf)} bytes is over the limit of {MAX_FRAME}", 0)
    chain = hashlib.sha256(chain + leaf).digest()
    return PREFIX.pack(len(leaf), zlib.crc32(leaf, zlib.crc32(chain)), chain) + leaf, chain


def split_leaf(leaf: bytes) -> tuple[Kind, int, bytes, bytes, bytes, int, bytes]:
    """Kind, key id, record id, session id, command id, time (ns) and payload of a leaf. Raises FrameError."""
    if len(leaf) < HEADER.size:
        raise FrameError("shorter than a header", 0)
    version, kind, key, record, session, command, at = HEADER.unpack_from(leaf)
    if version != VERSION or kind not in Kind:
        raise FrameError(f"unknown version {version} or kind {kind}", 0)
    return Kind(kind), key, record, session, command, at, leaf[HEADER.size :]


def decode_frames(data: bytes, chain: bytes, base: int = 0) -> Iterator[Frame]:
    """The whole frames at the start of `data`, which continues `chain`; `base` is its offset in the file.

    An unfinished frame at the end is left alone: the writer may be in the middle of it. Zero bytes where a
    length should stand are preallocated space, the end of what was written. Raises FrameError on damage.
    """
    position, size = 0, len(data)
    while size - position >= PREFIX.size:
        length, crc, stored_chain = PREFIX.unpack_from(data, position)
        if length == 0:
            return
        if not HEADER.size <= length <= MAX_FRAME:
            raise FrameError(f"a frame of {length} bytes", base + position)
        end = position + PREFIX.size + length
        if end > size:
            return
        leaf = bytes(data[position + PREFIX.size : end])
        if zlib.crc32(leaf, zlib.crc32(stored_chain)) != crc:
            raise FrameError("checksum mismatch", base + position)
        if hashlib.sha256(chain + leaf).digest() != stored_chain:
            raise FrameError("the hash chain is broken", base + position)
        try:
            parts = split_leaf(leaf)
        except FrameError as error:
            raise FrameError(str(error), base + position) from None
        chain = stored_chain
        yield Frame(*parts, leaf=leaf, chain=chain, end=base + end)
        position = end


def take_leaves(data: bytes, start: int, chain: bytes, base: int, limit: int) -> Leaves:
    """At most `limit` leaves of what `decode_frames(data[start:], chain, base + start)` gives, and what stopped it.

    The recorder's way through every record: the same checks, and nothing made that it does not store.
    """
    found: list[bytes] = []
    view = memoryview(data)
    position, size = start, len(data)
    while size - position >= PREFIX.size and len(found) < limit:
        length, crc, stored_chain = PREFIX.unpack_from(data, position)
        if length == 0:
            break
        if not HEADER.size <= length <= MAX_FRAME:
            return Leaves(found, position, chain, FrameError(f"a frame of {length} bytes", base + position))
        begin = position + PREFIX.size
        end = begin + length
        if end > size:
            break
        reason = ""
        leaf = data[begin:end]
        if zlib.crc32(view[position + _BEFORE_CHAIN : end]) != crc:
            reason = "checksum mismatch"
        elif _sha256(chain + leaf).digest() != stored_chain:
            reason = "the hash chain is broken"
        elif leaf[0] != VERSION or leaf[1] not in _KINDS:
            reason = f"unknown version {leaf[0]} or kind {leaf[1]}"
        if reason:
            return Leaves(found, position, chain, FrameError(reason, base + position))
        found.append(leaf)
        position, chain = end, stored_chain
    return Leaves(found, position, chain, None)
