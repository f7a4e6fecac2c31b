"""Content codings of bodies, decoded within a bound. Pure.

A body that a policy or a record must read is decoded as the server would; one that is damaged, of an unknown coding or
larger than the bound once decoded raises CodingError.
"""

from __future__ import annotations

import zlib

from onrecord.policies.errors import DecodeError

MAX_LAYERS = 3


class CodingError(DecodeError):
    """The body's coding is unknown, damaged, or it decodes to more than the bound."""


def decode_body(data: bytes, codings: str, limit: int) -> bytes:
    """`data` without its content codings (RFC 9110 §8.4), at most `limit` bytes. Raises CodingError."""
    names = [name for part in codings.lower().split(",") if (name := part.strip()) and name != "identity"]
    if len(names) > MAX_LAYERS:
        raise CodingError(f"{len(names)} content codings on one body")
    for name in reversed(names):
        data = _decode_one(data, name, limit)
    return data


def _decode_one(data: bytes, name: str, limit: int) -> bytes:
    if name in ("gzip", "x-gzip"):
        return _inflate(data, 31, limit)
    if name == "deflate":
        try:
            decoded = _inflate(data, 15, limit)
        except CodingError:
            return _inflate(data, -15, limit)
        if _is_raw_too(data):
            raise CodingError("the body has two readings as deflate")
        return decoded
    if name == "zstd":
        return _zstd(data, limit)
    raise CodingError(f"the content coding {name[:40]!r} is not supported")


def _inflate(data: bytes, window: int, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    while data:
        inflater = zlib.decompressobj(window)
        try:
            part = inflater.decompress(data, room + 1)
        except zlib.error:
            raise CodingError("the body is not what its content-encoding says") from None
        if len(part) > room:
            raise CodingError(f"the body decodes to more than {limit} bytes")
        if not inflater.eof:
            raise CodingError("the body ends inside its content coding")
        parts.append(part)
        room -= len(part)
        data = inflater.unused_data
        if data and window != 31:  # only gzip has members that follow each other
            raise CodingError("bytes behind the end of the content coding")
    return b"".join(parts)


def _is_raw_too(data: bytes) -> bool:
    """Whether what decodes as zlib (RFC 1950) begins like bare deflate (RFC 1951), too, as some servers read it."""
    try:
        return bool(zlib.decompressobj(-15).decompress(data, 1))
    except zlib.error:
        return False


def _zstd(data: bytes, limit: int) -> bytes:
    import zstandard

    try:
        reader = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).stream_reader(
            data, read_across_frames=True
        )
        decoded = reader.read(limit + 1)
    except zstandard.ZstdError:
        raise CodingError("the body is not what its content-encoding says") from None
    if len(decoded) > limit:
        raise CodingError(f"the body decodes to more than {limit} bytes")
    return bytes(decoded)
