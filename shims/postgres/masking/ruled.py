"""Values of a masked column: what the rule makes of each, if it fits its type. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from collections.abc import Callable

from onrecord.policies.masking import REDACTED, WHOLE, MaskError, Masks, Rule
from onrecord.shims.postgres.masking.forms import bytea_of, inet_text
from onrecord.shims.postgres.masking.types import Kind, Types, ValueType
from onrecord.shims.postgres.masking.values import AS_INT8, Found, Values
from onrecord.shims.postgres.parameters import value_text

_TEXTUAL = frozenset({Kind.TEXT, Kind.JSON, Kind.JSONB, Kind.JSONPATH, Kind.BYTEA})
_SIMPLE = frozenset({Kind.TEXT, Kind.NUMBER, Kind.FLOAT, Kind.PASS, Kind.SCALAR, Kind.INET})
_INTEGERS = {20: 8, 23: 4, 21: 2}


class UndecodableError(MaskError):
    """A value of a column that must be masked cannot be decoded: its row must not be released."""


class Ruled(Values):
    """Every value is masked by one rule; what the rule makes of it must fit the type, else it is NULL."""

    def __init__(self, types: Types, masks: Masks, rule: Rule) -> None:
        super().__init__(types, masks)
        self._rule = rule
        self._whole = rule is WHOLE

    def mask(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        if self._whole and kind.kind not in _TEXTUAL:
            self._count(found)
            return None
        return super().mask(kind, binary, data, found)

    @property
    def name(self) -> str:
        """What values are counted under."""
        return self._rule.name

    def fixed(self, kind: ValueType) -> bool:
        """Whether all values of the type become the same, whatever they are."""
        if self._rule.strategy == "null" or self._whole:
            return True
        return self._rule.strategy == "redact" and kind.kind is Kind.TEXT

    @property
    def whole(self) -> bool:
        """Whether the values are made from masked columns by an expression, or may be."""
        return self._whole

    def constant(self, kind: ValueType, binary: bool) -> bytes | None:
        """What they become, where they are `fixed`."""
        if self._whole and kind.kind in (Kind.JSON, Kind.JSONB):
            text = encode_json_text(REDACTED)
            return b"\1" + text if binary and kind.kind is Kind.JSONB else text
        if self._rule.strategy == "redact" and kind.kind is Kind.TEXT:
            return REDACTED.encode()
        return None

    def masker(self, kind: ValueType) -> Callable[[bytes, Found], bytes | None] | None:
        """`mask` for the usual column in fewer calls: a text under a rule of its own."""
        if self._whole or kind.kind is not Kind.TEXT:
            return None
        name, apply = self._rule.name, self._rule.apply

        def text(data: bytes, found: Found) -> bytes | None:
            try:
                value = data.decode()
            except UnicodeDecodeError:
                raise UndecodableError("a value of a masked column is not valid UTF-8") from None
            masked = apply(value)
            found[name] = found.get(name, 0) + 1
            return None if masked is None else masked.replace("\0", "").encode("utf-8", "replace")

        return text

    def _count(self, found: Found) -> None:
        found[self._rule.name] = found.get(self._rule.name, 0) + 1

    def _torn(self, data: bytes, found: Found) -> bytes | None:  # noqa: ARG002
        raise UndecodableError("a value of a masked column cannot be decoded")

    def _leaf(self, kind: ValueType, binary: bool, data: bytes, found: Found) -> bytes | None:
        what = kind.kind
        if self._whole and what is Kind.BYTEA:
            new = None
        elif what in _TEXTUAL:
            new = self._textual(kind, binary, data)
        elif what in _SIMPLE:
            new = self._simple(kind, binary, data)
        elif what is Kind.UNKNOWN and binary:
            raise UndecodableError("a value of a masked column has a type whose binary form is not known")
        else:
            new = None
        self._count(found)
        return new

    def _textual(self, kind: ValueType, binary: bool, data: bytes) -> bytes | None:
        what = kind.kind
        body = data
        if what in (Kind.JSONB, Kind.JSONPATH) and binary:
            if data[:1] != b"\1":
                raise UndecodableError("a value of a masked column has an unknown version")
            body = data[1:]
        if what is Kind.BYTEA and not binary:
            raw = bytea_of(data)
            if raw is None:
                raise UndecodableError("a value of a masked column cannot be decoded")
            body = raw
        masked = self._rule.apply(self._read(body, kind))
        if masked is None or what is Kind.JSONPATH:
            return None
        if what in (Kind.JSON, Kind.JSONB):
            new = encode_json_text(masked)
            return b"\1" + new if what is Kind.JSONB and binary else new
        new = masked.replace("\0", "").encode("utf-8", "replace")
        return b"\\x" + new.hex().encode() if what is Kind.BYTEA and not binary else new

    def _read(self, body: bytes, kind: ValueType) -> str:
        try:
            return body.decode()
        except UnicodeDecodeError:
            if self._whole or kind.kind is Kind.BYTEA:
                return body.decode("latin-1")
            raise UndecodableError("a value of a masked column is not valid UTF-8") from None

    def _simple(self, kind: ValueType, binary: bool, data: bytes) -> bytes | None:
        """A number, an address, an identifier, a date: the rule's text, if it is one of the type."""
        if not binary:
            text = data.decode("latin-1")
        elif kind.kind is Kind.INET:
            text = inet_text(data) or ""
        else:
            text = value_text(data, AS_INT8.get(kind.oid, kind.oid), 1)
        masked = self._rule.apply(text)
        if masked is None or not _fits(kind, masked):
            return None
        if not binary:
            return masked.encode()
        if kind.oid == 2950:
            return bytes.fromhex(masked.replace("-", ""))
        if kind.oid in _INTEGERS:
            return int(masked).to_bytes(_INTEGERS[kind.oid], "big", signed=True)
        return None


def encode_json_text(text: str) -> bytes:
    """`text` as a JSON string."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")


def _fits(kind: ValueType, text: str) -> bool:
    size = _INTEGERS.get(kind.oid)
    if size is not None:
        if not re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", text, re.ASCII):
            return False
        return -(1 << (8 * size - 1)) <= int(text) < 1 << (8 * size - 1)
    if kind.kind is Kind.INET:
        with contextlib.suppress(ValueError):
            ipaddress.ip_interface(text)
            return kind.oid == 869
        return False
    if kind.oid == 2950:
        return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.ASCII) is not None
    if kind.oid == 1700:
        return re.fullmatch(r"-?[0-9]{1,300}(\.[0-9]{1,300})?", text, re.ASCII) is not None
    return False
