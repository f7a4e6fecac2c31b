"""Secrets out of records, logs and messages: one google-re2 alternation finds them, `[redacted]` takes their place.

Two kinds are known: values that were resolved from references (`Redactor.add`), in every usual encoding, and secrets
that look like ones: JWTs, PEM private keys, tokens with well-known prefixes, passwords in URLs, members and form
fields whose name says it. A record that holds none costs one linear scan (`clean` returns the very same bytes); only
where the scan hits is the JSON decoded, cleaned string by string, and encoded again, so it is valid JSON whatever was
found. Values shorter than MIN_SECRET characters are not searched: they would hit everywhere.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

import msgspec
import re2

from onrecord.policies.redaction_patterns import (
    GENERIC,
    GENERIC_GROUPS,
    GENERIC_PREFILTER,
    MARK,
    MIN_SECRET,
    SECRET_NAMES,
    needles,
)

__all__ = ["MARK", "MIN_SECRET", "RedactingFilter", "Redactor", "clean_generic"]

_MARK = MARK.encode()
_MAX_MEMORY = 256 * 1024 * 1024


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    return re2.compile(pattern.encode(), options)


_generic = _compile(GENERIC)
_generic_prefilter = _compile(GENERIC_PREFILTER)
_MEMBER = GENERIC_GROUPS.index("name") + 1
_merge = _compile(r"(?:\[redacted\]){2,}")


class Redactor:
    """Knows the secrets of this process. `add` before the first byte that could hold one is recorded."""

    def __init__(self, secrets: list[str] | None = None) -> None:
        self._parts: list[str] = []
        self._known: set[str] = set()
        self._exact: Any = None
        self._prefilter: Any = _generic_prefilter
        for secret in secrets or ():
            self.add(secret)

    def __repr__(self) -> str:
        return f"<Redactor: {len(self._known)} secrets>"

    def add(self, secret: str) -> None:
        """Learn a secret. One that is shorter than MIN_SECRET characters is not searched."""
        secret = secret.strip()
        if len(secret) < MIN_SECRET or secret in self._known:
            return
        self._known.add(secret)
        self._parts = list(dict.fromkeys([*self._parts, *needles(secret)]))
        pattern = "|".join(sorted(self._parts, key=len, reverse=True))
        self._exact = _compile(pattern)
        self._prefilter = _compile(f"{GENERIC_PREFILTER}|{pattern}")

    def clean(self, payload: bytes) -> bytes:
        """JSON in, the same JSON without secrets out; the same object where there is none."""
        if self._prefilter.search(payload) is None:
            return payload
        try:
            tree = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._clean_bytes(payload)  # no JSON, so there is none to keep valid
        cleaned = self._walk(tree)
        return payload if cleaned == tree else msgspec.json.encode(cleaned)

    def clean_text(self, text: str) -> str:
        """`text` without secrets."""
        data = text.encode("utf-8", "surrogatepass")
        if self._prefilter.search(data) is None:
            return text
        return self._clean_bytes(data).decode("utf-8", "surrogatepass")

    def _clean_bytes(self, data: bytes) -> bytes:
        if self._exact is not None:
            data = self._exact.sub(_MARK, data)
        data = _sub_generic(data)
        return bytes(_merge.sub(_MARK, data))

    def _walk(self, value: Any) -> Any:
        """`value` with every string cleaned, member names included."""
        if isinstance(value, str):
            return self.clean_text(value)
        if isinstance(value, dict):
            return {self.clean_text(key): self._member(key, item) for key, item in value.items()}
        if isinstance(value, list):
            if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], str):
                return [self.clean_text(value[0]), self._member(value[0], value[1])]  # a query's or header's pair
            return [self._walk(item) for item in value]
        return value

    def _member(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and value and name.lower() in SECRET_NAMES:
            return MARK
        return self._walk(value)


def clean_generic(text: str) -> str:
    """`text` without what looks like a secret; for messages that are made before any secret is known."""
    return _sub_generic(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


def _sub_generic(data: bytes) -> bytes:
    """Replace every generic secret in `data`: the group that matched, the string after a member's name, or all."""
    pieces: list[bytes] = []
    position = copied = 0
    while (match := _generic.search(data, position)) is not None:
        start, end = match.span()
        group = match.lastindex or 0
        if group == _MEMBER:
            start = match.end(group)
            end = _member_end(data, start, match.group(group))
        elif group:
            start, end = match.span(group)
        if end > start:
            pieces += (data[copied:start], _MARK)
            copied = end
        position = max(end, match.start() + 1)
    return b"".join(pieces) + data[copied:]


def _member_end(data: bytes, start: int, opening: bytes) -> int:
    """Where the string ends that begins at `start`, as deep in JSON-within-JSON as its opening quote is escaped.

    At depth n (n = 2^k - 1 backslashes before a structural quote) a run of r backslashes and a quote ends the string
    where r % (2n + 2) == n. A value that is cut off ends with the text.
    """
    head = opening[:-1]
    depth = len(head) - len(head.rstrip(b"\\"))
    position = start
    while (quote := data.find(b'"', position)) >= 0:
        run = quote
        while run > start and data[run - 1] == 0x5C:
            run -= 1
        if (quote - run) % (2 * depth + 2) == depth:
            return quote - depth
        position = quote + 1
    return len(data)


class RedactingFilter(logging.Filter):
    """Cleans a log record's message, arguments and exception text before any handler formats them.

    Put it on handlers (a logger's filter does not see its children's records).
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: the record stays, clean."""
        clean = self._redactor.clean_text
        try:
            record.msg = clean(record.getMessage())
        except Exception:  # noqa: BLE001  # a broken log call must neither raise nor leak
            record.msg = clean(f"{record.msg!s} {record.args!r}")
        record.args = None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = clean("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
            record.exc_info = None
        elif record.exc_text:
            record.exc_text = clean(record.exc_text)
        if record.stack_info:
            record.stack_info = clean(record.stack_info)
        return True
