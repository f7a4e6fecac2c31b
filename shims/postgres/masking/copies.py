"""The data of a COPY to the client under a plan: text, CSV and binary, in pieces of any size. Pure.

The forms: PostgreSQL's manual, COPY, "File Formats"; copyto.c writes them. One row at most is held, up to `ROW_LIMIT`.
"""

from __future__ import annotations

import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable

from onrecord.policies.masking import MaskError
from onrecord.shims.postgres.masking.copy_options import CopyOptions
from onrecord.shims.postgres.masking.rows import Plan
from onrecord.shims.postgres.masking.values import Found

ROW_LIMIT = 16 * 1024 * 1024

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_I32 = struct.Struct(">i")
_I16 = struct.Struct(">h")
_NULL = b"\xff\xff\xff\xff"
_UNESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPES = {8: b"\\b", 12: b"\\f", 10: b"\\n", 13: b"\\r", 9: b"\\t", 11: b"\\v", 92: b"\\\\"}


class CopyMasking(ABC):
    """Rows as they are complete; what is not is held. Raises MaskError where the data are not what was announced."""

    def __init__(self, plan: Plan, options: CopyOptions, found: Found) -> None:
        self._plan, self._options, self._found = plan, options, found
        self._maskers = plan.maskers
        self._held = bytearray()
        self._scanned = 0
        self._header = options.header

    def feed(self, data: bytes) -> bytes:
        """More data; returns the rows that are whole now."""
        self._held += data
        out: list[bytes] = []
        while (end := self._end()) is not None:
            row = bytes(self._held[:end])
            del self._held[:end]
            self._scanned = 0
            out.append(self._masked(row))
        if len(self._held) > ROW_LIMIT:
            raise MaskError(f"a row of COPY is longer than {ROW_LIMIT} bytes: it cannot be held to be masked")
        return b"".join(out)

    def finish(self) -> bytes:
        """The regular end: what is held is the last row without its line end."""
        row = bytes(self._held)
        self._held.clear()
        return self._masked(row) if row else b""

    @abstractmethod
    def _end(self) -> int | None:
        """Where the first row that is held ends; None where it is not whole."""

    @abstractmethod
    def _masked(self, row: bytes) -> bytes: ...


class TextCopy(CopyMasking):
    """Lines; a line end inside a value is escaped."""

    @property
    def _may_be_value(self) -> bool:
        """Whether NULL looks like a value that is equal to it: then it is masked like that one, or it would tell."""
        return self._options.null not in (b"\\N", b"")

    def _end(self) -> int | None:
        at = self._held.find(b"\n", self._scanned)
        if at < 0:
            self._scanned = len(self._held)
            return None
        return at + 1

    def _masked(self, row: bytes) -> bytes:
        if not self._header and not self._plan.concerns(row) and b"\\" not in row:
            return row
        options = self._options
        body = row.rstrip(b"\r\n")
        if body == b"\\.":
            return row
        fields = _split_text(body, options.delimiter)
        if len(fields) != len(self._maskers):
            raise MaskError("a row of COPY has another number of columns than was announced")
        if self._header:
            self._header = False
            return row
        changed = False
        for i, masker in enumerate(self._maskers):
            field = fields[i]
            if masker is None or (field == options.null and not self._may_be_value):
                continue
            value = _unescaped(field)
            new = masker(value, self._found)
            if new is not value:
                changed = True
                fields[i] = options.null if new is None else _escaped(new, options.delimiter)
        return options.delimiter.join(fields) + row[len(body) :] if changed else row


class CsvCopy(CopyMasking):
    """Lines; a line end inside quotes belongs to the value."""

    _inside = False

    def _end(self) -> int | None:
        held, quote, escape = self._held, self._options.quote[0], self._options.escape[0]
        at, size, inside = self._scanned, len(self._held), self._inside
        while at < size:
            char = held[at]
            if inside and char == escape and escape != quote:
                if at + 1 >= size:
                    break
                at += 2
                continue
            if char == quote:
                inside = not inside
            elif char == 10 and not inside:
                self._inside = False
                return at + 1
            at += 1
        self._scanned, self._inside = at, inside
        return None

    def _masked(self, row: bytes) -> bytes:
        options = self._options
        plain = options.escape not in row and options.quote not in row
        if not self._header and plain and not self._plan.concerns(row):
            return row
        body = row[:-1] if row.endswith(b"\n") else row
        body = body[:-1] if body.endswith(b"\r") else body
        fields = _split_csv(body, options)
        if len(fields) != len(self._maskers):
            raise MaskError("a row of COPY has another number of columns than was announced")
        if self._header:
            self._header = False
            return row
        changed = False
        out: list[bytes] = []
        for masker, (raw, value) in zip(self._maskers, fields, strict=True):
            if masker is not None and raw != options.null:
                new = masker(value, self._found)
                if new is not value:
                    changed = True
                    out.append(options.null if new is None else _csv_quoted(new, options))
                    continue
            out.append(raw)
        return options.delimiter.join(out) + row[len(body) :] if changed else row


class BinaryCopy(CopyMasking):
    """A header, then tuples of sized values, then a trailer."""

    _begun = _ended = False

    def _end(self) -> int | None:
        held, size = self._held, len(self._held)
        if self._ended:
            return size or None
        if not self._begun:
            if size < len(_SIGNATURE) + 8:
                return None
            if bytes(held[: len(_SIGNATURE)]) != _SIGNATURE:
                raise MaskError("the data of COPY are not of the binary format")
            (extra,) = _I32.unpack_from(held, len(_SIGNATURE) + 4)
            if extra < 0:
                raise MaskError("the data of COPY are not of the binary format")
            end = len(_SIGNATURE) + 8 + extra
            return end if end <= size else None
        if size < 2:
            return None
        (count,) = _I16.unpack_from(held)
        if count == -1:
            return 2
        if count != len(self._maskers):
            raise MaskError("a row of COPY has another number of columns than was announced")
        at = 2
        for _ in range(count):
            if at + 4 > size:
                return None
            (length,) = _I32.unpack_from(held, at)
            if length < -1:
                raise MaskError("the data of COPY are not of the binary format")
            at += 4 + max(0, length)
        return at if at <= size else None

    def _masked(self, row: bytes) -> bytes:
        if not self._begun:
            if not row.startswith(_SIGNATURE):
                raise MaskError("the data of COPY end in the middle of their header")
            self._begun = True
            return row
        if self._ended:
            raise MaskError("data of COPY behind their end")
        if row == b"\xff\xff":
            self._ended = True
            return row
        if not self._plan.concerns(row):
            return row
        pieces, at = [row[:2]], 2
        for masker, column in zip(self._maskers, self._plan.columns, strict=True):
            (size,) = _I32.unpack_from(row, at)
            at += 4
            if size < 0:
                pieces.append(_NULL)
                continue
            value = row[at : at + size]
            if len(value) != size:
                raise MaskError("the data of COPY end in the middle of a row")
            at += size
            if masker is None or (not size and not column.whole):
                new: bytes | None = value
            else:  # empty or not would be an answer about the masked column that an expression is over
                new = masker(value, self._found)
            pieces.append(_NULL if new is None else _I32.pack(len(new)) + new)
        return b"".join(pieces)

    def finish(self) -> bytes:
        if self._held:
            raise MaskError("the data of COPY end in the middle of a row")
        return b""


def masking_of(plan: Plan, options: CopyOptions, found: Found) -> CopyMasking:
    """What masks data of this format."""
    return _FORMATS[options.format](plan, options, found)


_FORMATS: dict[str, Callable[[Plan, CopyOptions, Found], CopyMasking]] = {
    "text": TextCopy,
    "csv": CsvCopy,
    "binary": BinaryCopy,
}


def _split_text(line: bytes, delimiter: bytes) -> list[bytes]:
    """Fields as they stand; an escaped delimiter belongs to its field."""
    pieces = line.split(delimiter)
    if b"\\" not in line:
        return pieces
    fields: list[bytes] = []
    joined = False
    for piece in pieces:
        if joined:
            fields[-1] += delimiter + piece
        else:
            fields.append(piece)
        joined = (len(fields[-1]) - len(fields[-1].rstrip(b"\\"))) % 2 == 1
    return fields


def _unescaped(field: bytes) -> bytes:
    if b"\\" not in field:
        return field

    def one(match: re.Match[bytes]) -> bytes:
        what = match[1]
        if what[:1] == b"x" and len(what) > 1:
            return bytes([int(what[1:], 16)])
        if what[0] in b"01234567":
            return bytes([int(what, 8) & 255])
        return _LETTERS.get(what, what)

    return _UNESCAPE.sub(one, field)


def _escaped(value: bytes, delimiter: bytes) -> bytes:
    special = {**_ESCAPES, delimiter[0]: _ESCAPES.get(delimiter[0], b"\\" + delimiter)}
    return b"".join(special.get(byte) or bytes((byte,)) for byte in value)


def _split_csv(line: bytes, options: CopyOptions) -> list[tuple[bytes, bytes]]:
    """Each field as it stands and its value."""
    delimiter, quote, escape = options.delimiter[0], options.quote[0], options.escape[0]
    fields: list[tuple[bytes, bytes]] = []
    at, size = 0, len(line)
    while True:
        begin, value, inside = at, bytearray(), False
        while at < size:
            char = line[at]
            if inside:
                if char == escape and at + 1 < size and line[at + 1] in (quote, escape):
                    value.append(line[at + 1])
                    at += 2
                    continue
                if char == quote:
                    inside = False
                else:
                    value.append(char)
            elif char == quote:
                inside = True
            elif char == delimiter:
                break
            else:
                value.append(char)
            at += 1
        if inside:
            raise MaskError("a quote in a row of COPY is not closed")
        fields.append((line[begin:at], bytes(value)))
        if at >= size:
            return fields
        at += 1


def _csv_quoted(value: bytes, options: CopyOptions) -> bytes:
    quote, escape = options.quote, options.escape
    if escape != quote:
        value = value.replace(escape, escape + escape)
    return quote + value.replace(quote, escape + quote) + quote
