"""Secrets out of records, logs and messages: one google-re2 alternation finds them, `[redacted]` takes their place.

Two kinds are known: values that were resolved from references (`Redactor.add`), in every usual encoding, and secrets
that look like ones: JWTs, PEM private keys, tokens with well-known prefixes, passwords in URLs, members, form fields,
options and variables of command lines whose name says it. A record that holds none costs one linear scan (`clean`
returns the very same bytes); only where the scan hits is the JSON decoded, cleaned string by string, and encoded
again, so it is valid JSON whatever was found. Values shorter than MIN_SECRET characters are not searched: they would
hit everywhere. Work is bounded: what holds more than MAX_FINDINGS findings is replaced as a whole, or text that is
nothing but findings would hold up everyone's traffic.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import re2

from onrecord.policies.errors import SecretError
from onrecord.policies.redaction_patterns import (
    ASSIGNMENT_WORD,
    GENERIC_PREFILTER,
    MARK,
    MIN_SECRET,
    NO_PAIR,
    OPTION_WORD,
    PART,
    PART_GROUPS,
    SECRET_NAMES,
    USER_WORD,
    WHOLE,
    needles,
    parts_of,
)

__all__ = ["MARK", "MIN_SECRET", "RedactingFilter", "Redactor", "clean_generic"]

_MARK = MARK.encode()
_MARK_STRING = b'"' + _MARK + b'"'
MAX_FINDINGS = 1000  # in one string, and strings with one in one member of a record
_MAX_EXHAUSTED = 3  # members of a record that are looked into beyond that
_MAX_QUOTES = 10_000  # looked at for the end of one value
# RE2's memory a pattern, in bytes: the least that is enough, since it is also what its cache may grow to.
_MEMORY = (16 << 20, 64 << 20, 256 << 20)


def _compile(pattern: str, *, longest: bool = False) -> Any:
    for memory in _MEMORY:
        options = re2.Options()
        options.max_mem = memory
        options.log_errors = False
        options.longest_match = longest
        with contextlib.suppress(re2.error):
            return re2.compile(pattern.encode(), options)  # type: ignore[no-untyped-call]
    raise SecretError(f"a pattern of {len(pattern)} characters is too long: the secrets are too many or too large")


def _scanner(pattern: Any) -> Callable[[bytes], bool]:
    """Whether `pattern` hits, by the call below re2's Python layer: that makes a generator, half of the scan's cost."""
    match, anywhere = pattern._regexp.Match, re2._Anchor.UNANCHORED  # noqa: SLF001
    return lambda data: match(anywhere, data, 0, len(data))[0][0] >= 0


_whole = _compile(WHOLE)
_part = _compile(PART)
_generic_prefilter = _compile(GENERIC_PREFILTER)
_option_word, _user_word, _assignment = (_compile(word) for word in (OPTION_WORD, USER_WORD, ASSIGNMENT_WORD))
_NO_SECRET = (b"-", b"$", b"`")  # how an option, a variable and a program begin
_MEMBER = PART_GROUPS.index("name") + 1
# The seams of a long value's parts; base64 leaves a character there that belongs to two parts.
_merge = _compile(r"\[redacted\](?:[A-Za-z0-9+/_-]{0,2}\[redacted\])+")

_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# a string to its quote or, where there is none, to the end: to look for one from every quote on would be quadratic
_STRING = re.compile(rb'("(?:[^"\\]++|\\.)*+(?:"|(?P<cut>\\?\Z)))(?P<colon>\s*:|)', re.DOTALL)
_BETWEEN = re.compile(rb"[\s\[\]{},:0-9.eE+\-truefalsn]*")


class _TooManyError(Exception):
    """More findings than anyone writes: not looked into any further."""


class Redactor:
    """Knows the secrets of this process. `add` before the first byte that could hold one is recorded."""

    def __init__(self, secrets: list[str] | None = None) -> None:
        self._needles: list[str] = []
        self._known: set[str] = set()
        self._exact: Any = None
        self._prefilter: Any = _generic_prefilter
        self._hits = _scanner(self._prefilter)
        for secret in secrets or ():
            self.add(secret)

    def __repr__(self) -> str:
        return f"<Redactor: {len(self._known)} secrets>"

    def add(self, secret: str) -> None:
        """Learn a secret. One that is shorter than MIN_SECRET characters is not searched."""
        new = {part for part in (secret.strip(), *parts_of(secret.strip())) if len(part) >= MIN_SECRET} - self._known
        if not new:
            return
        self._known |= new
        self._needles = list(
            dict.fromkeys([*self._needles, *(needle for part in sorted(new) for needle in needles(part))])
        )
        pattern = "|".join(self._needles)
        self._exact = _compile(pattern, longest=True)
        self._prefilter = _compile(f"{GENERIC_PREFILTER}|{pattern}")
        self._hits = _scanner(self._prefilter)

    def clean(self, payload: bytes) -> bytes:
        """JSON in, the same JSON without secrets out; the same object where there is none.

        Only strings change: whatever stands between them is copied byte for byte. What is no JSON is cleaned as text.
        """
        if not self._hits(payload):
            return payload
        try:
            return self._clean_json(payload)
        except _TooManyError:
            return self._clean_members(payload)

    def _clean_members(self, payload: bytes) -> bytes:
        """`clean` for a record with very many findings: a member that holds too many is replaced as a whole.

        Its type stays, so that the record can still be read; the other members are as they are.
        """
        try:
            members = _read_members(payload)
        except (ValueError, RecursionError):
            return b'"' + _too_many(payload) + b'"'
        pieces: list[bytes] = []
        exhausted = 0
        for name, value in members.items():
            member = b"{" + msgspec.json.encode(name) + b":" + value + b"}"
            try:
                if exhausted > _MAX_EXHAUSTED and self._hits(member):
                    raise _TooManyError
                pieces.append(self._clean_json(member)[1:-1])
            except _TooManyError:
                exhausted += 1
                mark = b'"' + _too_many(value) + b'"'
                whole = {b"{": b'{"redacted":' + mark + b"}", b"[": b"[" + mark + b"]"}.get(bytes(value)[:1], mark)
                pieces.append(self.clean(msgspec.json.encode(name)) + b":" + whole)
        return b"{" + b",".join(pieces) + b"}"

    def _clean_json(self, payload: bytes) -> bytes:
        """`clean` for what may hit. Raises _TooManyError."""
        left = MAX_FINDINGS
        hit = self._prefilter.search(payload)
        if hit is None:
            return payload
        next_hit: float = hit.start()
        pieces: list[bytes] = []
        position, name, kind = 0, "", ""
        for token in _STRING.finditer(payload):
            gap = payload[position : token.start()]
            if token["cut"] is not None or not _BETWEEN.fullmatch(gap):
                return self._clean_bytes(payload)
            position = token.end()
            between = gap.strip()
            string = token[1]
            if name and (
                (kind == "member" and not between)
                or (kind == "pair" and between == b"," and payload[position : position + 1] == b"]")
                or (kind == "option" and between == b"," and string[1:2] not in _NO_SECRET)
            ):
                string = _MARK_STRING if string != b'""' else string
            elif kind == "user" and between == b"," and not _is_pair_of_numbers(string):
                user, colon, secret = self._clean_string(string).partition(b":")
                string = user + colon + _MARK + b'"' if secret else user
            elif next_hit < position:
                in_list = between[-1:] in (b"[", b",") and not token["colon"]
                string = _without_value(string) if in_list else string
                string = self._clean_string(string)
            name = kind = ""
            if next_hit < position:
                left -= 1
                if left < 0:
                    raise _TooManyError
                # every name in SECRET_NAMES is a hit
                kind = "member" if token["colon"] else "pair" if between.endswith(b"[") else ""
                name = _secret_name(token[1]) if kind else ""
                name = "" if kind == "pair" and name in NO_PAIR else name
                if not name and not token["colon"]:
                    kind = name = _option_kind(token[1])
                hit = self._prefilter.search(payload, position)
                next_hit = hit.start() if hit is not None else math.inf
            pieces += (gap, string, token["colon"])
        tail = payload[position:]
        if not _BETWEEN.fullmatch(tail):
            return self._clean_bytes(payload)
        return b"".join((*pieces, tail))

    def clean_text(self, text: str) -> str:
        """`text` without secrets."""
        data = text.encode("utf-8", "surrogatepass")
        if self._prefilter.search(data) is None:
            return text
        return self._clean_bytes(data).decode("utf-8", "surrogatepass")

    def _clean_string(self, token: bytes) -> bytes:
        """One JSON string, quotes included."""
        text = _plain(token)
        cleaned = self.clean_text(text)
        return token if cleaned == text else msgspec.json.encode(cleaned)

    def _clean_bytes(self, data: bytes) -> bytes:
        try:
            cleaned = data if self._exact is None else _sub(self._exact, data)
            return _sub(_merge, _sub_generic(cleaned))
        except _TooManyError:
            return _too_many(data)


def _plain(token: bytes) -> str:
    """The text of a JSON string; one with bytes or escapes that JSON forbids as far as it can be read."""
    try:
        return msgspec.json.decode(token, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return token[1:-1].decode("utf-8", "replace")


def _secret_name(token: bytes) -> str:
    """The name that a JSON string is, where its value is a secret; else empty."""
    name = _plain(token).lower()
    return name if name in SECRET_NAMES else ""


def _option_kind(token: bytes) -> str:
    """What a word of a command is to the next one: "option" before a secret, "user" before user:secret."""
    word = _plain(token).encode("utf-8", "replace")
    return "option" if _option_word.search(word) else "user" if _user_word.search(word) else ""


def _without_value(token: bytes) -> bytes:
    """A word `--password=…` or `PASSWORD=…` without what stands behind the sign, spaces included."""
    name, sign, _ = token.partition(b"=")
    is_secret = sign and _assignment.search(_plain(token).encode("utf-8", "replace"))
    return name + sign + _MARK + b'"' if is_secret else token


def _is_pair_of_numbers(token: bytes) -> bool:
    return token[1:-1].replace(b":", b"").isdigit()


def clean_generic(text: str) -> str:
    """`text` without what looks like a secret; for messages that are made before any secret is known."""
    data = text.encode("utf-8", "surrogatepass")
    try:
        return _sub_generic(data).decode("utf-8", "surrogatepass")
    except _TooManyError:
        return _too_many(data).decode()


def _sub(pattern: Any, data: bytes) -> bytes:
    """`data` with a mark for every match. Raises _TooManyError."""
    result, count = pattern.subn(_MARK, data, MAX_FINDINGS + 1)
    if count > MAX_FINDINGS:
        raise _TooManyError
    return bytes(result)


def _too_many(data: bytes) -> bytes:
    return b"[redacted: %d bytes, too many secrets to tell apart]" % len(data)


def _sub_generic(data: bytes) -> bytes:
    """Replace every generic secret in `data`: what is one as a whole, then the secret parts. Raises _TooManyError."""
    data = _sub(_whole, data)
    pieces: list[bytes] = []
    position = copied = count = 0
    while (match := _part.search(data, position)) is not None:
        count += 1
        if count > MAX_FINDINGS:
            raise _TooManyError
        group = match.lastindex
        start, end = match.span(group)
        if group == _MEMBER:
            start, end = end, _member_end(data, end, match.group(group))
        if end > start:
            pieces += (data[copied:start], _MARK)
            copied = end
        position = max(end, match.start() + 1)
    return b"".join(pieces) + data[copied:]


def _member_end(data: bytes, start: int, opening: bytes) -> int:
    """Where the string ends that begins at `start`, as deep in JSON-within-JSON as its opening quote is escaped.

    At depth n (n = 2^k - 1 backslashes before a structural quote) a run of r backslashes and a quote ends the string
    where r % (2n + 2) == n. A value that is cut off, or has very many quotes, ends
    with the text.
    """
    head = opening[:-1]
    depth = len(head) - len(head.rstrip(b"\\"))
    position = start
    for _ in range(_MAX_QUOTES):
        quote = data.find(b'"', position)
        if quote < 0:
            break
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
