"""Values as text: bind parameters and cells, in text format and in the binary formats of common types. Pure."""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from collections.abc import Callable

_EPOCH = dt.datetime(2000, 1, 1)  # as timestamps without time zone are
_DAYS = dt.date(2000, 1, 1)


def _integer(data: bytes) -> str:
    return str(int.from_bytes(data, "big", signed=True))


def _unsigned(data: bytes) -> str:
    return str(int.from_bytes(data, "big"))


def _boolean(data: bytes) -> str:
    if data not in (b"\0", b"\1"):
        raise ValueError("no boolean")
    return "true" if data == b"\1" else "false"


def _float4(data: bytes) -> str:
    return repr(struct.unpack(">f", data)[0])


def _float8(data: bytes) -> str:
    return repr(struct.unpack(">d", data)[0])


def _text(data: bytes) -> str:
    return data.decode()


def _jsonb(data: bytes) -> str:
    if data[:1] != b"\1":
        raise ValueError("unknown version of jsonb")
    return data[1:].decode()


def _uuid(data: bytes) -> str:
    return str(uuid.UUID(bytes=data))


def _bytea(data: bytes) -> str:
    return "\\x" + data.hex()


def _date(data: bytes) -> str:
    return (_DAYS + dt.timedelta(days=struct.unpack(">i", data)[0])).isoformat()


def _timestamp(data: bytes) -> str:
    return (_EPOCH + dt.timedelta(microseconds=struct.unpack(">q", data)[0])).isoformat(" ")


def _timestamptz(data: bytes) -> str:
    return _timestamp(data) + "+00:00"


def _time(data: bytes) -> str:
    return (_EPOCH + dt.timedelta(microseconds=struct.unpack(">q", data)[0])).time().isoformat()


def _numeric(data: bytes) -> str:
    """numeric_recv: count of base-10000 digits, weight of the first, sign, display scale."""
    count, weight, sign, scale = struct.unpack_from(">HhHH", data)
    if sign in (0xC000, 0xD000, 0xF000):
        return {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}[sign]
    if len(data) != 8 + 2 * count or sign not in (0, 0x4000) or abs(weight) > 5000:
        raise ValueError("no numeric")
    digits = struct.unpack_from(f">{count}H", data, 8)
    number = 0
    for digit in digits:
        number = number * 10000 + digit
    shift = 4 * (weight + 1 - count)  # power of ten of the last digit
    value = number * 10 ** (shift + scale) if shift + scale >= 0 else number // 10 ** -(shift + scale)
    text = str(value).rjust(scale + 1, "0")
    if scale:
        text = f"{text[:-scale]}.{text[-scale:]}"
    return "-" + text if sign else text


# OIDs: pg_type.dat of PostgreSQL
_BINARY: dict[int, Callable[[bytes], str]] = {
    16: _boolean,
    17: _bytea,
    20: _integer,
    21: _integer,
    23: _integer,
    26: _unsigned,
    700: _float4,
    701: _float8,
    1082: _date,
    1083: _time,
    1114: _timestamp,
    1184: _timestamptz,
    1700: _numeric,
    2950: _uuid,
    3802: _jsonb,
    **dict.fromkeys((18, 19, 25, 114, 142, 705, 1042, 1043), _text),
}


def value_text(data: bytes, type_oid: int, code: int) -> str:
    """A value as people read it; `\\x…` in hexadecimal where it cannot be decoded."""
    try:
        return data.decode() if code == 0 else _BINARY[type_oid](data)
    except (KeyError, ValueError, struct.error, OverflowError):
        return "\\x" + data.hex()


def parameter_texts(
    values: tuple[bytes | None, ...], formats: tuple[int, ...], types: tuple[int, ...]
) -> tuple[str | None, ...]:
    """The bind values; `formats` as in a Bind message, `types` as far as they are known."""
    if not values:
        return ()
    known = len(types)
    one = formats[0] if len(formats) == 1 else 0
    several = len(formats) > 1
    return tuple(
        None if value is None else value_text(value, types[i] if i < known else 0, formats[i] if several else one)
        for i, value in enumerate(values)
    )
