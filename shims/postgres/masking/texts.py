"""Errors, notices and notifications: every text field goes through the detectors, and where columns are masked, what
may be a value in them is taken out unless the client said it itself. Pure.

The server quotes values in its messages and escapes nothing in them: from the first quote that opens something not
known up to the last quote of the text is one value. It may speak another language (lc_messages, which only its owner
sets): nothing is passed on because of what it says in English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from onrecord.policies.masking import REDACTED
from onrecord.shims.postgres.masking.values import Found
from onrecord.shims.postgres.wire import HEADER_SIZE, message

Cleaner = Callable[[str, Found], str]

_TEXTS = b"MDHWq"  # message, detail, hint, where, internal query
_NAMES = b"stcdn"  # schema, table, column, data type, constraint
_TOLD = re.compile(r"\b(?:RAISE|ASSERT)\b")
_OWN_CODE = re.compile(r"\bfunction\b.*\bline\b|\bSQL (?:statement|function|expression)\b|\bPL/")
_KEY = re.compile(r"(.*?\bKey \()(.*?)(\)=\().*(\).*)", re.DOTALL)
_ROW = re.compile(r"(.*?\b[Rr]ow contains \().*(\).*)", re.DOTALL)
_VALUES = frozenset({"22", "23", "44"})  # data exceptions, violated constraints and check options
_RAISED = frozenset({"P0", "38", "39", "HV", "XX", "01", "02", "00"})


def mask_fields(data: bytes, clean: Cleaner, found: Found, *, by_column: bool, own: Iterable[str]) -> bytes:
    """An ErrorResponse or NoticeResponse. `own` is what the client sent: statements and parameters."""
    fields = _fields(data)
    said = list(own)
    if by_column:
        names = [text for letter, text in fields if letter in _NAMES and text]
        said += names
        fields = _without_values(fields, said, frozenset(names), found)
    out: list[bytes] = []
    changed = False
    for letter, text in fields:
        new = clean(text, found) if letter in _TEXTS else text
        changed = changed or new is not text
        out.append(bytes((letter,)) + new.replace("\0", "").encode("utf-8", "surrogateescape") + b"\0")
    body = b"".join(out) + b"\0"
    return data if body == data[HEADER_SIZE:] else message(data[:1], body)


def is_of_text(data: bytes) -> bool:
    """Whether an ErrorResponse names a place in the client's statement: it is about the text, and no row was met."""
    return any(letter == ord("P") for letter, _ in _fields(data))


def mask_notification(data: bytes, clean: Cleaner, found: Found, *, by_column: bool, own: Iterable[str]) -> bytes:
    """A NotificationResponse: who sent the payload is not known, and so not what it was made of."""
    at = HEADER_SIZE + 4
    channel, _, rest = data[at:].partition(b"\0")
    payload = rest.partition(b"\0")[0]
    text = payload.decode("utf-8", "surrogateescape")
    if by_column and text and not _said(text, own):
        text = REDACTED
        _count(found, "notification")
    name = clean(channel.decode("utf-8", "surrogateescape"), found).encode("utf-8", "surrogateescape")
    new = clean(text, found).encode("utf-8", "surrogateescape")
    if name == channel and new == payload:
        return data
    return message(data[:1], data[HEADER_SIZE:at] + name + b"\0" + new + b"\0")


def _fields(data: bytes) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for field in data[HEADER_SIZE:].split(b"\0"):
        if not field:
            break
        found.append((field[0], field[1:].decode("utf-8", "surrogateescape")))
    return found


def _without_values(
    fields: list[tuple[int, str]], said: list[str], names: frozenset[str], found: Found
) -> list[tuple[int, str]]:
    texts = dict(fields)
    code = texts.get(ord("C"), "")[:2]
    where = texts.get(ord("W"), "")
    raised = code in _RAISED or _TOLD.search(where) is not None
    inside = raised or ord("q") in texts or _OWN_CODE.search(where) is not None
    out: list[tuple[int, str]] = []
    for letter, text in fields:
        new = text
        if letter in _TEXTS and not _said(text, said):
            if letter == ord("q") or (raised and letter in b"MDH" and not _plain(text, code)):
                new = REDACTED
            elif letter == ord("D"):
                new = _detail(text, said, names) if code in _VALUES or inside else _quoted(text, said, names)
            else:
                new = _quoted(text, said, names)
                if letter == ord("M") and (code == "22" or inside):
                    new = _tail(new, said)
                if letter == ord("W"):
                    new = _where(new, said)
        if new != text:
            _count(found, "message")
        out.append((letter, new))
    return out


def _plain(text: str, code: str) -> bool:
    """Notices that the server itself always words alike: they carry names at most, which the client or nobody knows."""
    return code in ("00", "01") and _SERVER_NOTICE.fullmatch(text) is not None


_SERVER_NOTICE = re.compile(
    r"there is (?:already a|no) transaction in progress|(?:relation|schema|table|view|index|column|type|function|role|"
    r"sequence|extension|constraint|trigger|policy|materialized view|database) \"?[\w$.]{1,130}\"?"
    r"(?: of relation \"[\w$]{1,63}\")? (?:already exists|does not exist), skipping|"
    r"SET LOCAL can only be used in transaction blocks|drop cascades to [\w ]{1,40}"
)


def _detail(text: str, said: list[str], names: frozenset[str]) -> str:
    match = _KEY.fullmatch(text)
    if match is not None:
        value = text[match.end(3) : text.rindex(")", 0, match.end())]
        if value and _said(value, said):
            return text
        tail = match[4]
        second = _KEY.fullmatch(text, match.end(3))
        if second is not None:
            tail = second[4]
        return f"{match[1]}{match[2]}{match[3]}{REDACTED}{_quoted_tail(tail, said, names)}"
    match = _ROW.fullmatch(text)
    if match is not None:
        return f"{match[1]}{REDACTED})."
    return REDACTED


# As messages of PostgreSQL are translated; French has spaces inside of them.
_QUOTES = (
    ('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u201e", "\u201c"), ("\u00bb", "\u00ab"), ("\u00ab", "\u00bb"),
    ("\u2018", "\u2019"), ("\u300c", "\u300d"),
)  # fmt: skip
_SPACES = " \u00a0\u202f"


def _quoted_tail(text: str, said: list[str], names: frozenset[str]) -> str:
    return _quoted(text, said, names)


def _quoted(text: str, said: list[str], names: frozenset[str]) -> str:
    """`text` with what stands in quotes taken out, unless it is known."""
    for opening, closing in _QUOTES:
        last = text.rfind(closing)
        at = text.find(opening)
        if 0 <= text.find(closing) < at and opening != closing:
            continue  # the other way round: »so« and «so»
        while 0 <= at < last:
            end = text.find(closing, at + 1)
            inner = text[at + 1 : end].strip(_SPACES)
            if inner in names or _said(inner, said):
                at = text.find(opening, end + 1)
                continue
            text = text[: at + 1] + REDACTED + text[last:]
            break
    return text


def _tail(text: str, said: list[str]) -> str:
    """What follows the first colon of a data exception is the value, quoted or not."""
    head, colon, rest = text.partition(": ")
    if not colon or REDACTED in rest or _said(rest.strip('"'), said):
        return text
    return f"{head}{colon}{REDACTED}"


def _where(text: str, said: list[str]) -> str:
    """`COPY t, line 1, column c: "…"` and `JSON data, line 1: …` show the data behind their colon."""
    lines = []
    for line in text.split("\n"):
        head, colon, rest = line.partition(": ")
        shows = colon and REDACTED not in rest and not _said(rest.strip('"'), said)
        lines.append(f"{head}{colon}{REDACTED}" if shows else line)
    return "\n".join(lines)


def _said(text: str, own: Iterable[str]) -> bool:
    return any(text in one for one in own)


def _count(found: Found, name: str) -> None:
    found[name] = found.get(name, 0) + 1


def own_texts(text: str, parameters: Iterable[str | None] | None) -> tuple[str, ...]:
    """What the client itself said in a statement."""
    return (text, *(value for value in parameters or () if value))
