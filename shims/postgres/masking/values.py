"""One value of a result under detectors or under a rule, in text and in binary format. Pure.

A masker returns the very object it was given where nothing changes, the new bytes, or None for SQL NULL. Whatever does
not fit its type any more, or cannot be read where something may be in it, becomes NULL. Binary forms are those of the
types' send functions (array_send, record_send, range_send, inet_send, jsonb_send, hstore_send).
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable

from onrecord.policies.masking import Detectors, Masks
from onrecord.shims.postgres.masking.documents import mask_document
from onrecord.shims.postgres.masking.forms import bytea_of, inet_text, number_readings
from onrecord.shims.postgres.masking.nested import NestedError, map_array, map_composite
from onrecord.shims.postgres.masking.types import Kind, Types, ValueType
from onrecord.shims.postgres.parameters import value_text

Found = dict[str, int]

_I32 = struct.Struct(">i")
_HEAD = struct.Struct(">iiI")
DIGITS = 9  # what a detector looks for in a number is longer
AS_INT8 = {790: 20, 5069: 20}  # types whose binary form is that of int8


class Values(ABC):
    """What detectors and rules share: the way into arrays. `mask` is the only entrance."""

    def __init__(self, types: Types, masks: Masks) -> None:
        self._types, self._masks = types, masks

    def mask(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        """`data` of a cell of this type. Raises UndecodableError."""
        if kind.kind is Kind.ARRAY and kind.element is not None:
            return self._array(kind.element, data, found) if binary else self._array_text(kind, data, found)
        return self._leaf(kind, binary, data, found)

    @abstractmethod
    def _leaf(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None: ...

    @abstractmethod
    def _torn(self, data: bytes, found: Found) -> bytes | None:
        """A value whose form is not what its type says."""

    def _array_text(self, kind: ValueType, data: bytes, found: Found) -> bytes | None:
        element = kind.element
        if element is None:
            return self._torn(data, found)

        def leaf(text: str) -> str | None:
            raw = text.encode("utf-8", "surrogateescape")
            new = self.mask(element, False, raw, found)
            if new is raw:
                return text
            return None if new is None else new.decode("utf-8", "surrogateescape")

        text = data.decode("utf-8", "surrogateescape")
        try:
            new = map_array(text, leaf, ";" if element.oid == 603 else ",")
        except NestedError:
            return self._torn(data, found)
        return data if new == text else new.encode("utf-8", "surrogateescape")

    def _array(self, element: ValueType, data: bytes, found: Found) -> bytes | None:
        try:
            dimensions, flags, oid = _HEAD.unpack_from(data)
            at = _HEAD.size + 8 * dimensions
            if not 0 <= dimensions <= 6 or at > len(data):
                return self._torn(data, found)
            inner = element if element.oid in (oid, 0) or element.kind is not Kind.UNKNOWN else self._types.of(oid)
            body, changed, nulls = self._elements(inner, data, at, found)
        except (struct.error, NestedError):
            return self._torn(data, found)
        if not changed:
            return data
        return _HEAD.pack(dimensions, 1 if nulls else flags, oid) + data[_HEAD.size : at] + body

    def _elements(self, element: ValueType, data: bytes, at: int, found: Found) -> tuple[bytes, bool, bool]:
        """All sized values from `at` to the end: as they shall be, whether one changed, whether one is NULL."""
        out: list[bytes] = []
        changed = nulls = False
        while at < len(data):
            (size,) = _I32.unpack_from(data, at)
            at += 4
            if size < 0:
                nulls = True
                out.append(b"\xff\xff\xff\xff")
                continue
            value = data[at : at + size]
            if len(value) != size:
                raise NestedError("an element is cut off")
            at += size
            new = self.mask(element, True, value, found)
            changed = changed or new is not value
            if new is None:
                nulls = True
                out.append(b"\xff\xff\xff\xff")
            else:
                out += (_I32.pack(len(new)), new)
        return b"".join(out), changed, nulls


class Detecting(Values):
    """Every value is searched; what is found is replaced, or the value becomes NULL where no text fits."""

    def __init__(self, types: Types, masks: Masks, detectors: Detectors | None) -> None:
        super().__init__(types, masks)
        self._detectors = detectors
        self._paths = bool(masks.json_paths)
        self._handlers: dict[Kind, Callable[[ValueType, bool, bytes, Found], bytes | None]] = {
            Kind.TEXT: self._text,
            Kind.JSON: self._json,
            Kind.JSONB: self._json,
            Kind.JSONPATH: self._versioned,
            Kind.BYTEA: self._bytea,
            Kind.NUMBER: self._number,
            Kind.FLOAT: self._number,
            Kind.INET: self._inet,
            Kind.PASS: lambda _kind, _binary, data, _found: data,
            Kind.COMPOSITE: self._composite,
            Kind.RANGE: self._range,
            Kind.MULTIRANGE: self._multirange,
            Kind.HSTORE: self._hstore,
        }

    def _leaf(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        if not kind.oid and not binary:
            return self._guessed(data, found)  # of COPY
        handler = self._handlers.get(kind.kind)
        return self._opaque(data, found) if handler is None else handler(kind, binary, data, found)

    def clean(self, text: str, found: Found) -> str:
        """`text` with what detectors find replaced."""
        return text if self._detectors is None else self._detectors.clean(text, found)

    def _hit(self, data: bytes) -> bool:
        return self._detectors is not None and self._detectors.hit(data)

    def _torn(self, data: bytes, found: Found) -> bytes | None:
        return self._opaque(data, found)

    def _opaque(self, data: bytes, found: Found) -> bytes | None:
        """Nothing can take the place of a part of it: NULL where anything might be in it."""
        if not self._hit(data):
            return data
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode("latin-1")
        local: Found = {}
        if self.clean(text, local) == text and not local and data.isascii() and b"\0" not in data:
            return data
        _add(found, local or {"unreadable": 1})
        return None

    def _text(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:  # noqa: ARG002
        if self._paths and data[:64].lstrip()[:1] in (b"{", b"["):
            new = mask_document(data, self._masks, found, only_documents=True)
            if new is not None:
                return new
        if not self._hit(data):
            return data
        return self._cleaned(data, found)

    def _cleaned(self, data: bytes, found: Found) -> bytes:
        encoding = "utf-8"
        try:
            text = data.decode()
        except UnicodeDecodeError:
            encoding = "latin-1"
            text = data.decode(encoding)
        new = self.clean(text, found)
        return data if new == text else new.encode(encoding, "replace")

    def _json(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        if binary and kind.kind is Kind.JSONB:
            if data[:1] != b"\1":
                return self._opaque(data, found)
            body = data[1:]
            new = self._document(body, found)
            return data if new is body else b"\1" + new
        return self._document(data, found)

    def _document(self, data: bytes, found: Found) -> bytes:
        if not self._paths and b"\\" not in data and not self._hit(data):
            return data
        new = mask_document(data, self._masks, found, only_documents=False)
        return data if new is None else new

    def _versioned(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:  # noqa: ARG002
        return self._opaque(data, found)

    def _bytea(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:  # noqa: ARG002
        if binary:
            return self._cleaned(data, found) if self._hit(data) else data
        raw = bytea_of(data)
        if raw is None:
            return self._opaque(data, found)
        if not self._hit(raw):
            return data
        new = self._cleaned(raw, found)
        return data if new is raw else b"\\x" + new.hex().encode()

    def _number(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        if not binary:
            if len(data) < DIGITS:
                return data
            text = data.decode("latin-1")
        elif len(data) == 8 and kind.oid in (20, 790, 5069):
            value = int.from_bytes(data, "big", signed=True)
            if -(10 ** (DIGITS - 1)) < value < 10 ** (DIGITS - 1):
                return data
            text = str(value)
        else:
            text = value_text(data, AS_INT8.get(kind.oid, kind.oid), 1)
            if text.startswith("\\x"):
                return self._opaque(data, found)
        local: Found = {}
        for candidate in number_readings(text, kind):
            if self.clean(candidate, local) != candidate or local:
                _add(found, local)
                return None
        return data

    def _inet(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:  # noqa: ARG002
        text = inet_text(data) if binary else data.decode("latin-1")
        if text is None:
            return self._opaque(data, found)
        local: Found = {}
        for candidate in (text, text.partition("/")[0]):
            if self.clean(candidate, local) != candidate or local:
                _add(found, local)
                return None
        return data

    def _composite(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        return self._record(data, found) if binary else self._record_text(kind, data, found)

    def _record_text(self, kind: ValueType, data: bytes, found: Found) -> bytes | None:
        fields = kind.fields

        def field(index: int, text: str) -> str | None:
            raw = text.encode("utf-8", "surrogateescape")
            if fields is not None and index < len(fields):
                new = self.mask(fields[index][1], False, raw, found)
            else:
                new = self._guessed(raw, found)
            if new is raw:
                return text
            return None if new is None else new.decode("utf-8", "surrogateescape")

        text = data.decode("utf-8", "surrogateescape")
        try:
            new = map_composite(text, field)
        except NestedError:
            return self._opaque(data, found)
        return data if new == text else new.encode("utf-8", "surrogateescape")

    def _guessed(self, data: bytes, found: Found) -> bytes | None:
        """A field of a record in text format: its type is not known, its form says what it may be."""
        if data[:2] == b"\\x" and bytea_of(data) is not None:
            return self._bytea(_BYTEA, False, data, found)
        first = data[:1]
        if first in (b"{", b"["):
            new = mask_document(data, self._masks, found, only_documents=True)
            if new is not None:
                return new
            if first == b"{" and data[-1:] == b"}":
                return self.mask(_TEXTS, False, data, found)
        if first == b"(" and data[-1:] == b")":
            return self._record_text(_ANONYMOUS, data, found)
        return self._text(_TEXT, False, data, found)

    def _record(self, data: bytes, found: Found) -> bytes | None:
        """record_send: number of fields; for each its type OID, its size and its value."""
        out = [data[:4]]
        changed = False
        try:
            (count,) = _I32.unpack_from(data)
            at = 4
            for _ in range(count):
                (size,) = _I32.unpack_from(data, at + 4)
                head, at = data[at : at + 4], at + 8
                out.append(head)
                value = data[at : at + max(0, size)]
                if len(value) != max(0, size):
                    raise NestedError("a field is cut off")
                at += len(value)
                new: bytes | None = None
                if size >= 0:
                    new = self.mask(self._types.of(int.from_bytes(head, "big")), True, value, found)
                    changed = changed or new is not value
                out += (b"\xff\xff\xff\xff",) if new is None else (_I32.pack(len(new)), new)
            if at != len(data):
                raise NestedError("bytes behind the last field")
        except (struct.error, NestedError):
            return self._opaque(data, found)
        return b"".join(out) if changed else data

    def _range(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        element = kind.element
        if not binary or element is None or not data:
            return self._opaque(data, found)
        try:
            if not data[0] & 0x01:
                _, changed, _ = self._elements(element, data, 1, found)
                return None if changed else data
        except (struct.error, NestedError):
            return self._opaque(data, found)
        return data

    def _multirange(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        element = kind.element
        if not binary or element is None:
            return self._opaque(data, found)
        try:
            _, changed, _ = self._elements(element, data, 4, found)
        except (struct.error, NestedError):
            return self._opaque(data, found)
        return None if changed else data

    def _hstore(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:  # noqa: ARG002
        if binary:
            try:
                _, changed, _ = self._elements(_TEXT, data, 4, found)
            except (struct.error, NestedError):
                return self._opaque(data, found)
            return None if changed else data
        return self._opaque(data, found)


def _add(found: Found, more: Found) -> None:
    for name, count in more.items():
        found[name] = found.get(name, 0) + count


_TEXT = ValueType(25, Kind.TEXT, "pg_catalog.text")
_BYTEA = ValueType(17, Kind.BYTEA, "pg_catalog.bytea")
_ANONYMOUS = ValueType(2249, Kind.COMPOSITE, "pg_catalog.record")
_TEXTS = ValueType(1009, Kind.ARRAY, "pg_catalog.text[]", _TEXT)
