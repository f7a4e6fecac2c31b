"""A unit of search: what raw bytes look like that may hold a finding, and the exact search in a text.

Raw bytes are UTF-8 as a protocol frames it: length prefixes and type bytes may touch a value and look like its letters
or digits, and JSON may have escaped any character. So the wide pattern has no edges and checks no check digit; `\\/`
counts as `/` in it. Any other escape of a printable character, and every character that is read as another one, is a
hit by itself (`ALWAYS`), so it need not know them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from onrecord.policies.masking.detectors.unicode import SEPARATORS, odd_bytes, odd_escapes

Spans = list[tuple[int, int]]

# What may stand once between the groups of a number, and what up to three times, for `re`.
DASH = r"[ .\-/\u00a0\u2000-\u200a\u2010-\u2015\u202f\u205f\u2212\u3000\ufe58\ufe63\uff0d]"
GAP = DASH.replace("/", "/_") + "{0,3}"


class Unit(NamedTuple):
    """`wide` is RE2's; `find` gives the places of findings in any order."""

    detector: str
    wide: str
    find: Callable[[str], Spans]


def wide_dash() -> str:
    """DASH for raw bytes."""
    return rf"(?:[ .\-/]|\\+/|[{_wide()}])"


def wide_gap(most: int = 3, more: str = "") -> str:
    """GAP for raw bytes, with the signs `more`."""
    return rf"(?:[ .\-/_{more}]|\\+/|[{_wide()}]){{0,{most}}}"


def _wide() -> str:
    return "".join(rf"\x{{{code:x}}}" for code in SEPARATORS)


def always() -> str:
    """What every detector has to look at."""
    return f"{odd_bytes()}|{odd_escapes()}"
