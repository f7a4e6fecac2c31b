"""Text of agents and backends, cut into pieces of which each that could deceive a reader is marked. Pure.

An approver decides on what they see. So what hides, looks like another letter, turns text around, or pushes text out of
sight is shown as what it is. Sources: Unicode UAX #9 (bidi), UTS #39 (confusables, mixed scripts).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple

Oddity = Literal["", "hidden", "turned", "lookalike", "blank", "gap", "stacked"]

MAX_SPACES = 40
"""More blanks in a row (a tab is four) are written as their number; so are more than MAX_LINES empty lines."""

MAX_LINES = 4
MAX_STACKED = 3

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# letters and marks that show nothing: Hangul fillers, an empty braille cell, variation selectors, joiners
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
_SELECTORS = range(0xE0100, 0xE01F0)

# Letters of other scripts that most fonts draw like an ASCII one. Not all that UTS #39 lists: what is written in a word
# beside ASCII letters is marked whatever it looks like.
_LIKE: dict[str, str] = {
    **dict(zip("АВЕЅЗІЈКМНОРСТУХаеорсухіјѕԁԛԝһӏҮѴѵԌ", "ABESЗIJKMHOPCTYXaeopcyxijsdqwhlYVvG", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγινορυϲϳ", "ABEZHIKMNOPTYXayivopucj", strict=True)),
    **dict(zip("ՍՏԼՕօոսցհյզ", "USLOonugհjq", strict=True)),
    **dict(zip("ᎪᏴᏟᎠᎬᎢᎫᏦᏞᎷᏢᏚᎳᏃ", "ABCDEIJKLMPSWZ", strict=True)),
    **dict(zip("ıȷɑɡɩʀʏꞌ", "ijagiry'", strict=True)),
    **dict(zip("‐‑‒–—―−﹘⁃", "---------", strict=True)),
    **dict(zip("‘’‚‛ʹʻʼʽˈ′‵՚׳", "'''''''''''''", strict=True)),
    **dict(zip("“”„‟″˝ˮ״", '""""""""', strict=True)),
    **dict(zip("∶ː։׃⁏;٪∗⁎⁄∕⧸‹›❮❯˂˃∣ǀ⏐‗", ":::::;%**///<><><>|||_", strict=True)),
    **dict(zip("٠۰߀०০੦௦೦൦๐໐၀〇", "0000000000000", strict=True)),
}
_WORD = re.compile(r"\w+")
_PLAIN = re.compile(r"[!-~]")


class Piece(NamedTuple):
    """A part of a text as it is shown. `note` says what is odd about it; "" where nothing is."""

    text: str
    odd: Oddity = ""
    note: str = ""


def pieces(text: str, *, lines: bool = True) -> Iterator[Piece]:
    """`text` from its beginning to its end. `lines` keeps line feeds and tabs as they are; else they are marked."""
    plain: list[str] = []
    foreign = _foreign_letters(text)
    stacked = 0
    at = 0
    while at < len(text):
        char = text[at]
        piece, width = _gap(text, at) if char in " \n\t" and lines else (None, 1)
        if piece is None and not ("!" <= char <= "~" or char == " " or (lines and char in "\n\t")):
            stacked = stacked + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
            piece = _odd(char, foreign=at in foreign, stacked=stacked)
        if piece is None:
            plain.append(text[at : at + width])
        else:
            if plain:
                yield Piece("".join(plain))
                plain.clear()
            yield piece
        at += width
    if plain:
        yield Piece("".join(plain))


def oddities(text: str, *, lines: bool = True) -> dict[str, int]:
    """How often each kind of oddity stands in `text`: for the warning above it."""
    found: dict[str, int] = {}
    for piece in pieces(text, lines=lines):
        if piece.odd:
            found[piece.odd] = found.get(piece.odd, 0) + 1
    return found


def _gap(text: str, at: int) -> tuple[Piece | None, int]:
    """A run of blanks that could push what follows out of sight; and how long it is."""
    if text[at] != "\n":
        end = at
        while end < len(text) and text[end] in " \t":
            end += 1
        columns = end - at + 3 * text.count("\t", at, end)
        piece = Piece(f"⟨{columns} spaces⟩", "gap", f"{columns} spaces in a row") if columns > MAX_SPACES else None
        return piece, end - at
    end = at
    breaks = 0
    while end < len(text) and text[end] in " \t\n":
        breaks += text[end] == "\n"
        end += 1
    if breaks > MAX_LINES + 1:
        last = text.rfind("\n", at, end) + 1
        return Piece(f"\n⟨{breaks - 1} empty lines⟩\n", "gap", f"{breaks - 1} empty lines in a row"), last - at
    return None, 1


def _odd(char: str, *, foreign: bool, stacked: int) -> Piece | None:
    """What is odd about one character beyond ASCII's printable ones; None where nothing is."""
    code = ord(char)
    shown = f"⟨U+{code:04X}⟩"
    if char in _BIDI:
        return Piece(shown, "turned", f"{_name(char)}: turns the order of letters around")
    category = unicodedata.category(char)
    if category in _HIDDEN or char in _BLANK or code in _SELECTORS:
        return Piece({"\n": "⟨newline⟩", "\t": "⟨tab⟩"}.get(char, shown), "hidden", f"{_name(char)}: shows nothing")
    if category == "Zs":
        return Piece(shown, "blank", f"{_name(char)}: a blank that is no ordinary space")
    if stacked > MAX_STACKED:
        return Piece(shown, "stacked", f"{_name(char)}: one of many marks over one letter")
    like = _LIKE.get(char) or _compatible(char)
    if like:
        return Piece(char, "lookalike", f"{_name(char)} (U+{code:04X}): looks like {like}")
    if foreign:
        return Piece(char, "lookalike", f"{_name(char)} (U+{code:04X}): another script than the letters beside it")
    return None


def _compatible(char: str) -> str:
    """The ASCII character of which `char` is a styled form (fullwidth, bold, circled, …), or ""."""
    plain = unicodedata.normalize("NFKC", char)
    return plain if plain != char and _PLAIN.fullmatch(plain) else ""


def _foreign_letters(text: str) -> frozenset[int]:
    """Where letters that are not Latin stand in one word with ASCII letters."""
    if text.isascii():
        return frozenset()
    found: set[int] = set()
    for match in _WORD.finditer(text):
        word = match[0]
        if not word.isascii() and any("a" <= char.lower() <= "z" for char in word if char.isascii()):
            found.update(
                match.start() + i
                for i, char in enumerate(word)
                if not char.isascii() and char.isalpha() and not unicodedata.name(char, "").startswith("LATIN ")
            )
    return frozenset(found)


def _name(char: str) -> str:
    return unicodedata.name(char, "a character without a name")
