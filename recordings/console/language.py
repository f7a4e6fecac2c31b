"""The filter language of the console: text → terms. Pure.

    filter = { term }                     all terms must hold
    term   = ["-"] field ":" values       "-" turns a term around
           | ["-"] field "~" values       contains (of text: has words that begin so)
           | ["-"] value                  words anywhere: in text, parameters, reasons, errors, results
    values = value { "," value }          any of them
    value  = word | '"' text '"'          a last * of a word: begins with
    text   = { character | escape }       escapes: \\" \\\\ \\uHHHH \\UHHHHHHHH (hexadecimal, lower case)

Example: `identity:devin verdict:deny resource:orders since:1h text~drop -kind:http`
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Literal

import msgspec

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.display.neutral import clean

VERDICTS = ("allow", "deny", "hold", "unreadable")
STATUSES = ("ok", "error", "refused", "aborted", "running", "unreadable")
FIELDS = {
    "identity": "agent, or the human on whose behalf",
    "verdict": ", ".join(VERDICTS),
    "resource": "its name in mitm.toml",
    "kind": "sql, http, kubernetes, ssh, refusal, …",
    "status": ", ".join(STATUSES),
    "protocol": "postgres, http, ssh, …",
    "run": "a run's id",
    "session": "the beginning of a session's id",
    "id": "the beginning of a command's id",
    "since": "15m, 2h, 1d or a time",
    "until": "15m, 2h, 1d (ago) or a time",
    "text": "words of the command, its parameters and the reason",
}
MAX_LENGTH = 2000
MAX_TERMS = 32
_CONTAINS = frozenset({"identity", "resource", "kind", "protocol", "run", "text"})
_CHOICES = {"verdict": VERDICTS, "status": STATUSES}
_TIMES = frozenset({"since", "until"})
_IDS = frozenset({"session", "id"})
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(\d{1,9})([smhdw])")
_FIELD = re.compile(r"([A-Za-z_]+)([:~])")
_CODED = re.compile(r"u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4})")
_HEX = re.compile(r"[0-9a-fA-F-]{1,36}")
_LATEST = 2**63 - 1


class FilterError(OnrecordError):
    """The filter cannot be read. `position` is where, in characters from its beginning."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"filter, character {position + 1}: {reason}")
        self.position, self.reason = position, reason


class Value(msgspec.Struct, frozen=True):
    """What a field is compared with; `begins`: only its beginning is given."""

    text: str
    begins: bool = False


class Term(msgspec.Struct, frozen=True):
    """One condition. `field` is "" for words anywhere; one of `values` must fit."""

    field: str
    values: tuple[Value, ...]
    how: Literal["is", "contains"] = "is"
    negated: bool = False


class Query(msgspec.Struct, frozen=True):
    """A whole filter: every term must hold, between `since` and `until` (Unix nanoseconds, both included)."""

    terms: tuple[Term, ...] = ()
    since: int | None = None
    until: int | None = None


def parse(text: str, now: float | None = None) -> Query:
    """Read a filter; `now` is Unix time in seconds, for spans such as "1h". Raises FilterError."""
    if len(text) > MAX_LENGTH:
        raise FilterError(MAX_LENGTH, f"longer than {MAX_LENGTH} characters")
    reader = _Text(text)
    terms: list[Term] = []
    since: int | None = None
    until: int | None = None
    seen: dict[str, int] = {}
    while not reader.at_end():
        start = reader.position
        term = _term(reader)
        if len(terms) >= MAX_TERMS:
            raise FilterError(start, f"more than {MAX_TERMS} terms")
        if term.field in _TIMES:
            moment = _time(term, start, time.time() if now is None else now)
            if term.field == "since":
                since = moment if since is None else max(since, moment)
            else:
                until = moment if until is None else min(until, moment)
            continue
        if term.field and term.how == "is" and not term.negated and term.field != "text":
            if term.field in seen:
                raise FilterError(
                    start, f"{term.field} stands here twice, nothing can be both: write {term.field}:a,b for either"
                )
            seen[term.field] = start
        terms.append(term)
    return Query(tuple(terms), since, until)


def quoted(value: str) -> str:
    """`value` as the language writes it; what would act on a terminal stands as an escape."""
    if value and not re.search(r'[\s,"\\*:~]', value) and not value.startswith("-") and clean(value) == value:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    code = ord(char)
    return char if clean(char) == char else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Text:
    """A filter and how far it was read."""

    def __init__(self, text: str) -> None:
        self.text, self.position = text, 0

    def at_end(self) -> bool:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        return self.position >= len(self.text)

    def take(self, char: str) -> bool:
        if self.text.startswith(char, self.position):
            self.position += len(char)
            return True
        return False

    def value(self) -> Value:
        """A word or a quoted text. Raises FilterError where neither stands here."""
        if self.take('"'):
            return Value(self._quoted(self.position - 1))
        start = self.position
        while self.position < len(self.text):
            char = self.text[self.position]
            if char.isspace() or char in ',"':
                break
            self.position += 1
        word = self.text[start : self.position]
        begins = word.endswith("*")
        word = word.rstrip("*")
        if not word:
            raise FilterError(start, "a value is missing here")
        return Value(word, begins)

    def _quoted(self, start: int) -> str:
        found: list[str] = []
        while self.position < len(self.text):
            char = self.text[self.position]
            self.position += 1
            if char == '"':
                return "".join(found)
            if char == "\\" and self.position < len(self.text):
                coded = _CODED.match(self.text, self.position)
                char = chr(int(coded[1] or coded[2], 16)) if coded else self.text[self.position]
                self.position = coded.end() if coded else self.position + 1
            found.append(char)
        raise FilterError(start, 'this " is never closed')


def _term(reader: _Text) -> Term:
    start = reader.position
    negated = reader.take("-")
    named = _FIELD.match(reader.text, reader.position)
    if named is None:
        value = reader.value()
        _ends(reader, "words anywhere")
        return Term("", (value,), "contains", negated)
    field, sign = named[1].lower(), named[2]
    if field not in FIELDS:
        raise FilterError(
            start, f"there is no field {named[1]!r}: one of {', '.join(FIELDS)} (or quote it to find it as a text)"
        )
    if sign == "~" and field not in _CONTAINS:
        raise FilterError(start, f"{field} takes ':', not '~'")
    reader.position = named.end()
    values = [reader.value()]
    while reader.take(","):
        values.append(reader.value())
    _ends(reader, field)
    return _checked(Term(field, tuple(values), "contains" if sign == "~" else "is", negated), start)


def _ends(reader: _Text, what: str) -> None:
    if reader.position < len(reader.text) and not reader.text[reader.position].isspace():
        raise FilterError(reader.position, f"a space is missing behind {what}")


def _checked(term: Term, start: int) -> Term:
    choices = _CHOICES.get(term.field)
    if choices is not None:
        term = msgspec.structs.replace(term, values=tuple(Value(v.text.lower(), v.begins) for v in term.values))
        for value in term.values:
            if value.begins or value.text not in choices:
                raise FilterError(start, f"{value.text!r} is no {term.field}: one of {', '.join(choices)}")
    if term.field in _IDS:
        for value in term.values:
            digits = value.text.replace("-", "")
            if not _HEX.fullmatch(value.text) or not 1 <= len(digits) <= 32:
                raise FilterError(start, f"{value.text!r} is not the beginning of an id (hexadecimal digits)")
    if term.field in _TIMES and (term.negated or len(term.values) > 1):
        raise FilterError(start, f"{term.field} takes one time and no '-'")
    return term


def _time(term: Term, start: int, now: float) -> int:
    text = term.values[0].text
    span = _SPAN.fullmatch(text)
    if span:
        return max(0, min(int((now - int(span[1]) * _UNITS[span[2]]) * 1e9), _LATEST))
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp()
    except (ValueError, OverflowError):
        raise FilterError(start, f"{text!r} is neither a span (15m, 2h, 1d) nor an ISO 8601 time") from None
    return min(max(0, int(seconds * 1_000_000) * 1000), _LATEST)
