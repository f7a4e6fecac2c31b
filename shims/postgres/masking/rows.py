"""DataRow messages under a plan: what nothing concerns passes as it is, the rest is written again. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from onrecord.policies.masking import Detectors
from onrecord.shims.postgres.masking.ruled import Ruled
from onrecord.shims.postgres.masking.types import Kind, ValueType
from onrecord.shims.postgres.masking.values import DIGITS, Detecting, Found, Values
from onrecord.shims.postgres.wire import HEADER, HEADER_SIZE, WireError

Masker = Callable[[bytes, Found], bytes | None]
Place = tuple[int, int, int]  # number of the row, start and end of the value
Texts = tuple[list[bytes], list[Place]]  # of one column
Changes = dict[int, list[tuple[int, int, bytes | None]]]  # by number of the row

_I32 = struct.Struct(">i")
# Between texts that are cleaned at once: NUL, which no text of PostgreSQL holds, and what ends a finding of one line. A
# finding over several lines swallows it, and then each text is cleaned alone.
_BETWEEN = b"\n\0\n"
_NULL = b"\xff\xff\xff\xff"
_DATA_ROW = ord("D")
_PASS, _TOGETHER, _CONSTANT, _ALONE, _EVERY, _LONG = range(6)

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

    @property
    def name(self) -> str:
        """The name of the rule, "" where there is none."""
        return self.values.name if isinstance(self.values, Ruled) else ""

    def constant(self) -> bytes | None:
        """What every value becomes, where that does not depend on it (see `fixed`)."""
        return self.values.constant(self.kind, self.binary) if isinstance(self.values, Ruled) else None

    @property
    def fixed(self) -> bool:
        """Whether every value becomes `constant()`."""
        return isinstance(self.values, Ruled) and self.values.fixed(self.kind)

    @property
    def whole(self) -> bool:
        """Whether NULL is masked too."""
        return isinstance(self.values, Ruled) and self.values.whole

    def masker(self) -> Masker | None:
        """The function for one value."""
        values, kind, binary = self.values, self.kind, self.binary
        if values is None:
            return None
        quick = values.masker(kind) if isinstance(values, Ruled) else None
        if quick is not None:
            return quick
        return lambda data, found: values.mask(kind, binary, data, found)


def _how(column: Column, masker: Masker | None, *, together: bool) -> int:
    if masker is None or (column.kind.kind is Kind.PASS and not column.forced):
        return _PASS
    if column.kind.kind is Kind.NUMBER and not column.forced and not column.binary:
        return _LONG
    if column.fixed:
        return _EVERY if column.whole else _CONSTANT
    return _TOGETHER if together and column.kind.kind is Kind.TEXT and not column.forced else _ALONE


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
    """What happens to the rows of one result. `idle`: nothing at all.

    Texts of a column in a whole slice are cleaned at once: a call a cell would cost more than the search, and most
    columns hold nothing.
    """

    __slots__ = ("_always", "_detectors", "_steps", "_triggers", "columns", "idle", "maskers")

    def __init__(self, columns: Sequence[Column], detectors: Detectors | None, *, documents: bool) -> None:
        self.columns = tuple(columns)
        self._detectors = detectors
        self.maskers = [column.masker() for column in columns]
        searched = [column for column in columns if isinstance(column.values, Detecting)]
        needs = [column.triggers for column in searched]
        self._always = any(column.forced for column in columns) or any(need is None for need in needs)
        self._always = self._always or (documents and bool(searched))
        self._triggers = tuple(dict.fromkeys(piece for need in needs if need for piece in need))
        together = detectors is not None and not documents
        self._steps = [
            (masker, _how(column, masker, together=together), column.constant(), column.name)
            for masker, column in zip(self.maskers, columns, strict=True)
        ]
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
        rows = data[start:end]
        if self.idle or not self.concerns(rows):
            return rows
        try:
            starts, changes, columns = self._walk(rows, found)
        except struct.error:
            raise WireError("a DataRow message ends in the middle of a field") from None
        for texts, places in columns:
            self._clean(texts, places, changes, found)
        return _rewritten(rows, starts, changes) if changes else rows

    def _walk(self, rows: bytes, found: Found) -> tuple[list[int], Changes, list[Texts]]:
        """Where rows start, what changes in them, and by column the texts that are still to be cleaned."""
        unpack, size_of, count = HEADER.unpack_from, _I32.unpack_from, len(self._steps)
        columns: list[Texts] = [([], []) for _ in self._steps]
        steps = [(*step, *texts) for step, texts in zip(self._steps, columns, strict=True)]
        starts: list[int] = []
        changes: Changes = {}
        position, size, row = 0, len(rows), 0
        while position < size:
            stop = position + 1 + unpack(rows, position)[1]
            at = position + HEADER_SIZE + 2
            if stop > size or stop < at or (rows[at - 2] << 8 | rows[at - 1]) != count:
                raise WireError("a row has another number of columns than was announced")
            here: list[tuple[int, int, bytes | None]] = []
            for masker, how, constant, name, texts, places in steps:
                (length,) = size_of(rows, at)
                at += 4
                if length <= 0:
                    if length < -1:
                        raise WireError("a DataRow message has a field of an impossible length")
                    if how == _EVERY and (length == 0 or constant is not None):
                        here.append((at, at, constant))  # NULL or not would be an answer about the masked column
                    continue
                end = at + length
                if how == _TOGETHER:
                    texts.append(rows[at:end])
                    places.append((row, at, end))
                elif how in (_CONSTANT, _EVERY):
                    found[name] = found.get(name, 0) + 1
                    here.append((at, end, constant))
                elif how != _PASS and masker is not None and (how != _LONG or length >= DIGITS):
                    if end > stop:
                        raise WireError("a DataRow message ends in the middle of a field")
                    cell = rows[at:end]
                    new = masker(cell, found)
                    if new is not cell:
                        here.append((at, end, new))
                at = end
            if at != stop:
                raise WireError("a DataRow message has bytes behind its last field")
            if here:
                changes[row] = here
            starts.append(position)
            position, row = stop, row + 1
        starts.append(position)
        return starts, changes, [column for column in columns if column[0]]

    def _clean(self, texts: list[bytes], places: list[Place], changes: Changes, found: Found) -> None:
        """Add to `changes` what detectors find in the texts of one column."""
        detectors = self._detectors
        together = _BETWEEN.join(texts)
        if detectors is None or not detectors.hit(together):
            return
        local: Found = {}
        try:
            cleaned = detectors.clean(together.decode(), local).encode().split(_BETWEEN)
        except UnicodeError:
            cleaned = []
        if len(cleaned) == len(texts):
            for name, number in local.items():
                found[name] = found.get(name, 0) + number
            if not local:
                return
            for text, new, (row, at, end) in zip(texts, cleaned, places, strict=True):
                if new != text:
                    changes.setdefault(row, []).append((at, end, new))
            return
        masker = next(step[0] for step in self._steps if step[1] == _TOGETHER and step[0] is not None)
        for text, (row, at, end) in zip(texts, places, strict=True):
            single = masker(text, found)
            if single is not text:
                changes.setdefault(row, []).append((at, end, single))


def _rewritten(rows: bytes, starts: list[int], changes: Changes) -> bytes:
    """`rows` with `changes` in them; their lengths follow."""
    out: list[bytes] = []
    copied = 0
    for row in sorted(changes):
        start, stop = starts[row], starts[row + 1]
        cells = changes[row]
        if len(cells) > 1:
            cells.sort(key=_position)
        body: list[bytes] = []
        at, length = start + HEADER_SIZE, stop - start - 1
        for begin, end, new in cells:
            body.append(rows[at : begin - 4])
            length -= end - begin
            if new is None:
                body.append(_NULL)
            else:
                body += (_I32.pack(len(new)), new)
                length += len(new)
            at = end
        out += (rows[copied:start], HEADER.pack(_DATA_ROW, length), *body, rows[at:stop])
        copied = stop
    out.append(rows[copied:])
    return b"".join(out)


def _position(change: tuple[int, int, bytes | None]) -> int:
    return change[0]
