"""Encoding and decoding of single messages; pure. `data` is always a whole message with its header."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from typing import NamedTuple

from onrecord.shims.postgres.wire import HEADER_SIZE, Reader, WireError, message, utf8

_U16 = struct.Struct(">H").unpack_from
_I32 = struct.Struct(">i").unpack_from
_SHORT = 128
_SHORT_DESCRIPTION = 4096  # what is remembered for good, over all sessions, is bounded
NAME_LIMIT = 63  # NAMEDATALEN - 1: the server compares no more of a name than this

TOO_LONG = f"the name of a statement or portal is longer than {NAME_LIMIT} bytes"

SYNC = message(b"S")
FLUSH = message(b"H")
TERMINATE = message(b"X")
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
AUTHENTICATION_OK = message(b"R", (0).to_bytes(4, "big"))
AUTHENTICATION_CLEARTEXT = message(b"R", (3).to_bytes(4, "big"))


class Parse(NamedTuple):
    """A Parse message: statement name, SQL text, parameter type OIDs (0: the server decides)."""

    name: str
    text: str
    types: tuple[int, ...]


class Bind(NamedTuple):
    """A Bind message: formats are 0 (text) or 1 (binary), one for all or one each; values as sent."""

    portal: str
    statement: str
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


class Column(NamedTuple):
    """A column of a result."""

    name: str
    table: int
    attribute: int
    type: int
    format: int


def query_text(data: bytes, *, lenient: bool = False) -> str:
    """The SQL of a Query message; `lenient`: what is not UTF-8 stands as `\\x…` (for texts that are unknown anyway)."""
    if data[-1] != 0 or data.find(b"\0", HEADER_SIZE) != len(data) - 1:
        raise WireError("a Query message is not one NUL-terminated string")
    return data[HEADER_SIZE:-1].decode(errors="backslashreplace") if lenient else utf8(data[HEADER_SIZE:-1])


def decode_parse(data: bytes, *, lenient: bool = False) -> Parse:
    """A Parse message; `lenient` as in query_text."""
    reader = Reader(data, HEADER_SIZE)
    name = _name(reader)
    text = reader.cstring().decode(errors="backslashreplace") if lenient else reader.text()
    types = tuple(reader.u32() for _ in range(reader.u16()))
    reader.end()
    return Parse(name, text, types)


def decode_bind(data: bytes) -> Bind:
    """Hand-unrolled: every execution of a prepared statement passes here."""
    try:
        end = data.index(0, HEADER_SIZE)
        portal = data[HEADER_SIZE:end].decode()
        start, end = end + 1, data.index(0, end + 1)
        if end - start > NAME_LIMIT or start - HEADER_SIZE > NAME_LIMIT + 1:
            raise WireError(TOO_LONG, "42622")
        statement = data[start:end].decode()
        formats, at = _formats(data, end + 1)
        (count,) = _U16(data, at)
        at += 2
        values: list[bytes | None] = []
        for _ in range(count):
            (size,) = _I32(data, at)
            at += 4
            if size < 0:
                if size != -1:
                    raise WireError("a parameter of a Bind message has an impossible length")
                values.append(None)
                continue
            value = data[at : at + size]
            if len(value) != size:
                raise WireError("a Bind message ends in the middle of a parameter")
            values.append(value)
            at += size
        result_formats, at = _formats(data, at)
    except UnicodeDecodeError:
        raise WireError("a text is not valid UTF-8", "22021") from None
    except (ValueError, struct.error):
        raise WireError("a Bind message ends in the middle of a field") from None
    if at != len(data):
        raise WireError("a Bind message has bytes behind its last field")
    if len(formats) > 1 and len(formats) != count:
        raise WireError(f"a Bind message has {len(formats)} formats for {count} parameters")
    return Bind(portal, statement, formats, tuple(values), result_formats)


def _formats(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """Format codes at `at`, and the position behind them. Raises struct.error where they are cut off."""
    (count,) = _U16(data, at)
    at += 2
    if not count:
        return (), at
    formats = struct.unpack_from(f">{count}h", data, at)
    if max(formats) > 1 or min(formats) < 0:
        raise WireError("a Bind message has an unknown format code")
    return formats, at + 2 * count


def _name(reader: Reader) -> str:
    """The name of a statement or portal. Two that differ only beyond the limit are one to the server."""
    name = reader.cstring()
    if len(name) > NAME_LIMIT:
        raise WireError(TOO_LONG, "42622")
    return utf8(name)


def decode_execute(data: bytes) -> tuple[str, int]:
    """Portal name and the greatest number of rows (0: all)."""
    return _known_execute(data) if len(data) < _SHORT else _decode_execute(data)


def _decode_execute(data: bytes) -> tuple[str, int]:
    reader = Reader(data, HEADER_SIZE)
    portal, limit = _name(reader), reader.i32()
    reader.end()
    return portal, limit


def decode_target(data: bytes) -> tuple[str, str]:
    """What a Describe or Close message is about: "S" or "P", and its name."""
    return _known_target(data) if len(data) < _SHORT else _decode_target(data)


def _decode_target(data: bytes) -> tuple[str, str]:
    reader = Reader(data, HEADER_SIZE)
    what, name = chr(reader.u8()), _name(reader)
    reader.end()
    if what not in "SP":
        raise WireError("a Describe or Close message names neither a statement nor a portal")
    return what, name


# Clients send the same few of these over and over.
_known_execute = functools.lru_cache(maxsize=1024)(_decode_execute)
_known_target = functools.lru_cache(maxsize=1024)(_decode_target)


def decode_row_description(data: bytes) -> tuple[Column, ...]:
    """The columns that a RowDescription message announces."""
    return _known_row_description(data) if len(data) < _SHORT_DESCRIPTION else _decode_row_description(data)


def _decode_row_description(data: bytes) -> tuple[Column, ...]:
    reader = Reader(data, HEADER_SIZE)
    columns: list[Column] = []
    for _ in range(reader.u16()):
        name = reader.cstring().decode("utf-8", "replace")
        table, attribute, type_oid = reader.u32(), reader.i16(), reader.u32()
        reader.take(6)  # type size and modifier
        columns.append(Column(name, table, attribute, type_oid, reader.i16()))
    reader.end()
    return tuple(columns)


_known_row_description = functools.lru_cache(maxsize=512)(_decode_row_description)


def decode_parameter_description(data: bytes) -> tuple[int, ...]:
    """The parameter type OIDs of a statement."""
    reader = Reader(data, HEADER_SIZE)
    types = tuple(reader.u32() for _ in range(reader.u16()))
    reader.end()
    return types


def decode_row(data: bytes, position: int, end: int) -> list[bytes | None]:
    """The cells of the DataRow message that stands at `data[position:end]`."""
    at = position + HEADER_SIZE + 2
    count = int.from_bytes(data[position + HEADER_SIZE : at], "big")
    cells: list[bytes | None] = []
    for _ in range(count):
        size = int.from_bytes(data[at : at + 4], "big", signed=True)
        at += 4
        if size == -1:
            cells.append(None)
            continue
        if size < 0 or at + size > end:
            raise WireError("a DataRow message ends in the middle of a field")
        cells.append(data[at : at + size])
        at += size
    if at != end:
        raise WireError("a DataRow message has bytes behind its last field")
    return cells


def decode_fields(data: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter; a torn tail is dropped."""
    fields: dict[str, str] = {}
    for field in data[HEADER_SIZE:].split(b"\0"):
        if not field:
            break
        fields[chr(field[0])] = field[1:].decode("utf-8", "replace")
    return fields


def decode_status(data: bytes) -> tuple[str, str]:
    """Name and value of a ParameterStatus message."""
    reader = Reader(data, HEADER_SIZE)
    name, value = reader.text(), reader.text()
    reader.end()
    return name, value


def encode_error(fields: Mapping[str, str]) -> bytes:
    """An ErrorResponse. Fields: S and V severity, C SQLSTATE, M message, D detail, H hint. Empty ones are left out."""
    parts = [
        letter.encode() + value.replace("\0", "�").encode("utf-8", "replace") + b"\0"
        for letter, value in fields.items()
        if value
    ]
    return message(b"E", b"".join(parts) + b"\0")


def error(sqlstate: str, text: str, *, detail: str = "", hint: str = "", severity: str = "ERROR") -> bytes:
    """An ErrorResponse as PostgreSQL would send it."""
    return encode_error({"S": severity, "V": severity, "C": sqlstate, "M": text, "D": detail, "H": hint})


def encode_notice(sqlstate: str, text: str, *, detail: str = "", hint: str = "") -> bytes:
    """A NoticeResponse: the fields of an error under another type."""
    return b"N" + error(sqlstate, text, detail=detail, hint=hint, severity="NOTICE")[1:]


def fatal(sqlstate: str, text: str, *, detail: str = "", hint: str = "") -> bytes:
    """An ErrorResponse that ends the session."""
    return error(sqlstate, text, detail=detail, hint=hint, severity="FATAL")


def encode_query(text: str) -> bytes:
    return message(b"Q", text.encode() + b"\0")


def encode_parse(name: str, text: str) -> bytes:
    return message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def encode_run(text: bytes) -> bytes:
    """Parse, Bind, Execute and Flush of one statement without parameters, unnamed; no Sync: nothing is committed."""
    parse = message(b"P", b"\0" + text + b"\0\0\0")
    return parse + message(b"B", b"\0\0" + bytes(6)) + message(b"E", b"\0" + bytes(4)) + FLUSH


def encode_status(name: str, value: str) -> bytes:
    return message(b"S", name.encode() + b"\0" + value.encode() + b"\0")


def encode_backend_key(pid: int, secret: bytes) -> bytes:
    return message(b"K", pid.to_bytes(4, "big") + secret)


def encode_startup(parameters: Mapping[str, str]) -> bytes:
    """A StartupMessage of protocol 3.0."""
    body = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in parameters.items()) + b"\0"
    return (len(body) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + body


def encode_cancel(pid: int, secret: bytes) -> bytes:
    """A CancelRequest packet."""
    return (12 + len(secret)).to_bytes(4, "big") + (80877102).to_bytes(4, "big") + pid.to_bytes(4, "big") + secret


def encode_negotiate(version: int, options: tuple[str, ...]) -> bytes:
    """NegotiateProtocolVersion: the newest version served and the `_pq_.` options not known."""
    names = b"".join(option.encode() + b"\0" for option in options)
    return message(b"v", version.to_bytes(4, "big") + len(options).to_bytes(4, "big") + names)
