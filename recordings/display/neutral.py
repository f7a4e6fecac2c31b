"""Recorded text made harmless: what a terminal would act on, or an eye would not see, becomes a visible escape.

Recorded bytes come from agents and backends; shown as they are, they could move the cursor, set the window title or
turn text around.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

import msgspec

_KEPT = "\n\t"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


# letters and marks that show nothing: a Hangul filler, an empty braille cell, variation selectors
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0") | {chr(code) for code in range(0xE0100, 0xE01F0)}
_STACKED = frozenset({"Mn", "Me"})
_MAX_STACKED = 4  # marks over one letter; a flood of them would cover the lines above and below


def is_hidden(char: str) -> bool:
    """Whether a character acts on a terminal, turns text around, or shows nothing."""
    return unicodedata.category(char) in _HIDDEN or char in _BLANK


def is_stacked(char: str) -> bool:
    """Whether a character stands on the one before it."""
    return unicodedata.category(char) in _STACKED and char not in _BLANK


def clean(text: object, *, lines: bool = False) -> str:
    """`text` with everything that a terminal would act on made visible; `lines` keeps newlines and tabs."""
    string = text if isinstance(text, str) else str(text)
    if string.isascii() and string.isprintable():
        return string
    return "".join(neutral(string, _escape_for_people, kept=_KEPT if lines else ""))


def neutral(text: str, escape: Callable[[str], str], *, kept: str) -> Iterator[str]:
    """`text` in pieces, with `escape` of each character that acts, hides, or stacks too high."""
    stacked = 0
    for char in text:
        if " " <= char <= "~":
            stacked = 0
            yield char
            continue
        if char in kept:
            yield "    " if char == "\t" else char
            continue
        category = unicodedata.category(char)
        stacked = stacked + 1 if category in _STACKED else 0
        yield escape(char) if category in _HIDDEN or char in _BLANK or stacked > _MAX_STACKED else char


def _escape_for_people(char: str) -> str:
    code = ord(char)
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_line(value: object) -> str:
    """One JSON object a line. What acts on a terminal or hides is escaped: the line can be shown anywhere."""
    text = msgspec.json.encode(value).decode()
    if text.isascii() and "\x7f" not in text:
        return text + "\n"
    return "".join(neutral(text, _escape_in_json, kept="")) + "\n"


def _escape_in_json(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
