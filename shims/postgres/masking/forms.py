"""The forms of single values: bytea, addresses, numbers as detectors may read them. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
import re

from onrecord.shims.postgres.masking.types import Kind, ValueType

_OCTAL = re.compile(rb"\\([0-7]{3}|\\)")
_NO_NUMBERS = re.compile(r"[^0-9.]")
MONEY = 790


def number_readings(text: str, kind: ValueType) -> tuple[str, ...]:
    """How a number may be read: as it stands, and its whole part without separators."""
    if kind.kind is Kind.FLOAT:
        with contextlib.suppress(ValueError, OverflowError):
            number = float(text)
            if number.is_integer() and abs(number) < 1e20:
                return (text, str(abs(int(number))))
        return (text,)
    plain = _NO_NUMBERS.sub("", text)
    whole, dot, rest = plain.partition(".")
    return (text, whole, plain, whole[:-2]) if kind.oid == MONEY else (text, whole) if dot or rest else (text, plain)


def bytea_of(data: bytes) -> bytes | None:
    """The bytes behind a bytea in text form, hexadecimal or escape; None where it is neither."""
    if data[:2] == b"\\x":
        try:
            return bytes.fromhex(data[2:].decode("ascii"))
        except ValueError:
            return None
    if b"\\" not in data:
        return data
    if _OCTAL.sub(b"", data).count(b"\\"):
        return None
    return _OCTAL.sub(lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1], 8) & 255]), data)


def inet_text(data: bytes) -> str | None:
    """inet_send: family, bits, whether it is a cidr, number of bytes, address. None where it is no such thing."""
    if len(data) not in (8, 20) or data[3] != len(data) - 4:
        return None
    try:
        address = ipaddress.ip_address(data[4:])
    except ValueError:
        return None
    most = 32 if address.version == 4 else 128
    return str(address) if data[1] == most else f"{address}/{data[1]}"
