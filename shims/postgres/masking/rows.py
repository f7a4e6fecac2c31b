"""DataRow messages under a plan: what nothing concerns passes as it is, the rest is written again. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from onrecord.policies.masking import Detectors
from onrecord.shims.postgres.masking.types import Kind, ValueType
from onrecord.shims.postgres.masking.values import Detecting, Found, Ruled, Values
from onrecord.shims.postgres.wire import HEADER, HEADER_SIZE, WireError

Masker = Callable[[bytes, Found], bytes | None]

_I32 = struct.Struct(">i")
_U16 = struct.Struct(">H")
_NULL = b"\xff\xff\xff\xff"
_DATA_ROW = ord("D")

# Bytes that show that a value of this kind is written with escapes, so that a scan of the raw bytes could miss it.
_TEXT_TRIGGERS: dict[Kind, tuple[bytes, ...]] = {
    Kind.JSON: (b"\\",),
    Kind.JSONB: (b"\\",),
    Kind.BYTEA: (b"\\",),
    Kind.FLOAT: (b"e+1",),
    Kind.ARRAY: (b"\\", b'""'),
    Kind.COMPOSITE: (b"\\", b'""'),
    Kind.HSTORE: (b"\\",),
    Kind.SCALAR: (b"\\", b"''"),
    Kind.UNKNOWN: (b"\\", b'""'),
}
_BINARY_RAW = frozenset({Kind.TEXT, Kind.BYTEA, Kind.UNKNOWN, Kind.SCALAR, Kind.JSONPATH, Kind.HSTORE})
_MONEY = 790


class Column:
    """What happens to the values of one column: `values` is None where they pass as they are."""

    __slots__ = ("binary", "kind", "values")

    def __init__(self, kind: ValueType, binary: bool, values: Values | None) -> None:
        self.kind, self.binary, self.values = kind, binary, values

    @property
    def forced(self) -> bool:
        """Whether every value changes."""
        return isinstance(self.values, Ruled)

    @property
    def triggers(self) -> tuple[bytes, ...] | None:
        """What makes a raw scan insufficient; None: it always is."""
        return raw_triggers(self.kind, self.binary)

    def masker(self) -> Masker | None:
        """The function for one value."""
        values, kind, binary = self.values, self.kind, self.binary
        if values is None:
            return None
        return lambda data, found: values.mask(kind, binary, data, found)


def raw_triggers(kind: ValueType, binary: bool) -> tuple[bytes, ...] | None:
    """Bytes beside which a scan of raw bytes is not enough for values of this type; None: it never is."""
    if binary:
        if kind.kind in (Kind.JSON, Kind.JSONB):
            return (b"\\",)
        if kind.kind is Kind.ARRAY and kind.element is not None:
            return raw_triggers(kind.element, True)
        return () if kind.kind in _BINARY_RAW else None
    if kind.kind is Kind.ARRAY and kind.element is not None:
        inner = raw_triggers(kind.element, False)
        return None if inner is None else (*_TEXT_TRIGGERS[Kind.ARRAY], *inner)
    if kind.oid == _MONEY:
        return None
    return _TEXT_TRIGGERS.get(kind.kind, ())


class Plan:
    """What happens to the rows of one result. `idle`: nothing at all."""

    __slots__ = ("_always", "_count", "_detectors", "_documents", "_triggers", "columns", "idle", "maskers")

    def __init__(self, columns: Sequence[Column], detectors: Detectors | None, *, documents: bool) -> None:
        self.columns = tuple(columns)
        self._detectors = detectors
        self.maskers = [column.masker() for column in columns]
        self._count = len(self.maskers)
        searched = [column for column in columns if isinstance(column.values, Detecting)]
        needs = [column.triggers for column in searched]
        self._always = any(column.forced for column in columns) or any(need is None for need in needs)
        self._always = self._always or (documents and bool(searched))
        self._triggers = tuple(dict.fromkeys(piece for need in needs if need for piece in need))
        self.idle = not any(self.maskers)

    def concerns(self, data: bytes) -> bool:
        """Whether rows in `data` may have to change."""
        if self._always:
            return True
        if any(piece in data for piece in self._triggers):
            return True
        return self._detectors is not None and self._detectors.hit(data)

    def mask(self, data: bytes, start: int, end: int, found: Found) -> bytes:
        """The whole DataRow messages at `data[start:end]` as they may be delivered. Raises WireError, MaskError."""
        slice_ = data[start:end]
        if self.idle or not self.concerns(slice_):
            return slice_
        out: list[bytes] = []
        position, size, always = 0, len(slice_), self._always
        while position < size:
            stop = position + 1 + HEADER.unpack_from(slice_, position)[1]
            if stop > size:
                raise WireError("a DataRow message is cut off")
            row = slice_[position:stop]
            out.append(self._row(row, found) if always or self.concerns(row) else row)
            position = stop
        return b"".join(out)

    def _row(self, row: bytes, found: Found) -> bytes:
        size_of = _I32.unpack_from
        if _U16.unpack_from(row, HEADER_SIZE)[0] != self._count:
            raise WireError("a row has another number of columns than was announced")
        at, end, copied = HEADER_SIZE + 2, len(row), HEADER_SIZE
        pieces: list[bytes] = []
        try:
            for masker in self.maskers:
                (size,) = size_of(row, at)
                at += 4
                if size <= 0:
                    if size < -1:
                        raise WireError("a DataRow message has a field of an impossible length")
                    continue
                stop = at + size
                if masker is not None:
                    cell = row[at:stop]
                    if len(cell) != size:
                        raise WireError("a DataRow message ends in the middle of a field")
                    new = masker(cell, found)
                    if new is not cell:
                        pieces.append(row[copied : at - 4])
                        pieces.append(_NULL if new is None else _I32.pack(len(new)) + new)
                        copied = stop
                at = stop
        except struct.error:
            raise WireError("a DataRow message ends in the middle of a field") from None
        if at != end:
            raise WireError("a DataRow message has bytes behind its last field")
        if not pieces:
            return row
        pieces.append(row[copied:])
        body = b"".join(pieces)
        return HEADER.pack(_DATA_ROW, len(body) + 4) + body
