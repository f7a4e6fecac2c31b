"""Other spellings of ASCII: fullwidth and mathematical forms, other scripts' digits, characters that do not show.

`plain` gives the text as it is read, so that a detector needs one spelling only; `ODD` finds, in UTF-8, every
character that `plain` would change, and every JSON escape of one.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Iterable

# Latin-1's own letters and signs stand in ordinary text; of them only the soft hyphen does not show.
_FIRST = 0x100
_HIDDEN_CATEGORIES = ("Cf",)
_HIDDEN = {0x00AD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0}
_HIDDEN |= {*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}  # variation selectors
# Ordinary punctuation of Chinese and Japanese, and no part of anything that is looked for.
_KEPT = frozenset("！（），；？，｛｝～＜＞＂＇｀＾＊＃＄＆")


@functools.cache
def table() -> dict[int, str]:
    """Code point → what it is read as: one ASCII character, or "" where it does not show."""
    found: dict[int, str] = dict.fromkeys(_HIDDEN, "")
    for code in range(_FIRST, sys.maxunicode + 1):
        c = chr(code)
        category = unicodedata.category(c)
        if category in _HIDDEN_CATEGORIES:
            found[code] = ""
        elif category in ("Cn", "Co", "Cs", "Lo", "Zs") or c in _KEPT:
            continue
        elif category == "Nd":
            found[code] = str(unicodedata.decimal(c))
        else:
            same = unicodedata.normalize("NFKC", c)
            if len(same) == 1 and "!" <= same <= "~":
                found[code] = same
    return found


def plain(text: str) -> tuple[str, list[int] | None]:
    """`text` as it is read, and where each of its characters stands in `text` (None: nothing changed)."""
    if text.isascii():
        return text, None
    odd = table()
    if not any(ord(c) in odd for c in text):
        return text, None
    kept, places = [], []
    for i, c in enumerate(text):
        same = odd.get(ord(c), c)
        if same:
            kept.append(same)
            places.append(i)
    return "".join(kept), places


@functools.cache
def odd_bytes() -> str:
    """An RE2 pattern for the UTF-8 of every character in `table`."""
    return _ranges(table())


@functools.cache
def odd_escapes() -> str:
    """An RE2 pattern for JSON escapes of printable ASCII, of every character in `table`, and of separators.

    Only the first three digits are looked at, and of a pair of surrogates only the first: it may find too much.
    """
    heads = set()
    for code in (*range(0x20, 0x7F), *table(), *SEPARATORS):
        units = chr(code).encode("utf-16-be")
        heads.add(units[:2].hex()[: 3 if len(units) == 2 else 4])
    heads -= {"d83d", "d83e"}  # emoji only: nothing of the table lies there
    return r"\\u(?i:" + "|".join(sorted(heads)) + ")"


# Spaces and dashes that may stand between the groups of a number.
SEPARATORS = (
    0xA0,
    *range(0x2000, 0x200B),
    *range(0x2010, 0x2016),
    0x202F,
    0x205F,
    0x2212,
    0x3000,
    0xFE58,
    0xFE63,
    0xFF0D,
)


def _ranges(codes: Iterable[int]) -> str:
    """A character class of RE2 (which reads UTF-8) for `codes`."""
    spans: list[list[int]] = []
    for code in sorted(codes):
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "[" + "".join(rf"\x{{{a:x}}}-\x{{{b:x}}}" for a, b in spans) + "]"
