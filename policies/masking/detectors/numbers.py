"""Numbers: payment cards, phones, and the candidates for national ids.

A candidate is a run of digit groups with separators between them. Numbers stand side by side in texts, so every row of
whole groups is tried, never a part of a group.
"""

from __future__ import annotations

import re
from functools import partial

from onrecord.policies.masking.detectors.checksums import luhn
from onrecord.policies.masking.detectors.unit import DASH, GAP, Spans, Unit, wide_dash, wide_gap

_SOME_GAP = GAP.replace("{0,3}", "{1,3}")
_RUN = re.compile(
    rf"[0-9](?={GAP.replace('[', '[0-9').replace('{0,3}', '{11}')})[0-9]*(?:{_SOME_GAP}[0-9]+)*", re.ASCII
)
_GROUP = re.compile("[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")
MAX_GROUPS = 40  # looked at from one group on


# Issuer prefixes: first and last, and the lengths that the issuer uses.
_ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)), (2221, 2720, (16,)),  # Mastercard
    (34, 34, (15,)), (37, 37, (15,)),  # American Express
    (300, 305, (14, 16, 17, 18, 19)), (3095, 3095, (14, 16, 17, 18, 19)), (36, 36, (14, 15, 16, 17, 18, 19)),
    (38, 39, (14, 16, 17, 18, 19)),  # Diners Club
    (6011, 6011, (16, 17, 18, 19)), (644, 649, (16, 17, 18, 19)), (65, 65, (16, 17, 18, 19)),  # Discover
    (622126, 622925, (16, 17, 18, 19)), (62, 62, (16, 17, 18, 19)), (81, 81, (16, 17, 18, 19)),  # UnionPay, RuPay
    (60, 60, (16,)), (82, 82, (16,)), (508, 508, (16,)), (353, 353, (16,)), (356, 356, (16,)),  # RuPay
    (3528, 3589, (16, 17, 18, 19)),  # JCB
    (50, 50, (12, 13, 14, 15, 16, 17, 18, 19)), (56, 58, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    (6304, 6304, (12, 13, 14, 15, 16, 17, 18, 19)), (6759, 6763, (12, 13, 14, 15, 16, 17, 18, 19)),
    (63, 63, (16, 18, 19)), (67, 67, (16, 18, 19)),  # Solo, Laser, Maestro
    (2200, 2204, (16, 17, 18, 19)), (2205, 2205, (16,)), (9792, 9792, (16,)), (65, 65, (16,)),  # Mir, Troy
    (1, 1, (15,)),  # UATP
    (636368, 636368, (16,)), (506699, 506778, (16,)), (509000, 509999, (16,)), (650031, 651000, (16,)),  # Elo
    (6062, 6062, (16,)), (637095, 637095, (16,)),  # Hipercard
)  # fmt: skip


_PREFIXES: dict[str, set[int]] = {}
for _first, _last, _lengths in _ISSUERS:
    for _prefix in range(_first, _last + 1):
        _PREFIXES.setdefault(str(_prefix), set()).update(_lengths)


def _heads() -> dict[str, frozenset[int]]:
    """The first two digits → the lengths of all cards that may begin so: the cheap question."""
    found: dict[str, set[int]] = {}
    for prefix, lengths in _PREFIXES.items():
        for head in (prefix[:2],) if len(prefix) > 1 else (prefix + second for second in "0123456789"):
            found.setdefault(head, set()).update(lengths)
    return {head: frozenset(lengths) for head, lengths in found.items()}


_HEADS = _heads()
_NOT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
LEAST, MOST = 12, 19  # digits of a card


def is_card(digits: str) -> bool:
    """Whether an issuer uses the prefix with this length, and the check digit is right."""
    length = len(digits)
    return (
        any(length in _PREFIXES.get(digits[:size], ()) for size in (1, 2, 3, 4, 6))
        and luhn(digits)
        and len(set(digits)) > 1
    )


def find_cards(text: str) -> Spans:
    """Every row of whole groups in a run of digits that is a card's number. A decimal fraction is none."""
    found: Spans = []
    for run in _RUN.finditer(text):
        start, end = run.span()
        digits = run[0].encode().translate(None, _NOT_DIGITS).decode()
        if len(digits) <= LEAST and LEAST not in _HEADS.get(digits[:2], ()):
            continue  # there is no row, or one that cannot be
        if not _DECIMAL.fullmatch(run[0]):
            _cards_in(text, start, end, digits, found)
    return found


def _cards_in(text: str, start: int, end: int, digits: str, found: Spans) -> None:
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    at = 0
    for first, (begin, stop) in enumerate(groups):
        lengths = _HEADS.get(digits[at : at + 2])
        if lengths:
            count = 0
            for left, right in groups[first : first + MAX_GROUPS]:
                count += right - left
                if count > MOST:
                    break
                if count in lengths and is_card(digits[at : at + count]):
                    found.append((begin, right))
        at += stop - begin


_PHONE_GAP = GAP.replace("[", "[()").replace("{0,3}", "{0,4}")
_INTERNATIONAL = re.compile(rf"\+{_PHONE_GAP}[1-9](?:{_PHONE_GAP}[0-9]){{6,14}}(?![0-9])", re.ASCII)
# North America: (212) 555-0123, 212-555-0123, 1-212-555-0123
_AMERICAN = (
    rf"(?:1{DASH}?)?(?:\([2-9][0-9]{{2}}\){DASH}{{0,2}}|[2-9][0-9]{{2}}{DASH}{{1,2}})"
    rf"[2-9][0-9]{{2}}{DASH}{{1,2}}[0-9]{{4}}"
)
# with the prefix of long distance calls, or of international ones: 020 7946 0958, 06 12 34 56 78, 0049 30 123456
_PREFIXED = rf"\(?00?[1-9][0-9]{{0,10}}\)?(?:{DASH}{{0,2}}\(?[0-9]{{1,8}}\)?){{0,7}}"
_DATE = re.compile(r"0?[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{2,4}(?: [0-9:]*)?", re.ASCII)


def _national(pattern: re.Pattern[str], text: str) -> Spans:
    found = []
    for match in pattern.finditer(text):
        start, end = match.span()
        if (start and (text[start - 1].isalnum() or text[start - 1] in "+.,-")) or text[end : end + 1].isdigit():
            continue
        digits = sum(c.isdigit() for c in match[0])
        if match[0][0] != "0":
            least, most = 9, 16
        elif digits < end - start:
            least, most = 9 if "/" in match[0] else 10, 16
        else:
            least, most = (11, 15) if match[0].startswith("00") else (10, 11)
        if least <= digits <= most and not _DATE.match(match[0]):
            found.append((start, end))
    return found


def _wide_digits(count: int, gap: str) -> str:
    return rf"(?:{gap}[0-9]){{{count}}}"


_WIDE_PHONE = wide_gap(4, "()")
UNITS = (
    Unit("payment_card", rf"[1-9]{_wide_digits(11, wide_gap())}", find_cards),
    Unit(
        "phone",
        rf"\+{_wide_digits(7, _WIDE_PHONE)}",
        lambda text: [match.span() for match in _INTERNATIONAL.finditer(text)],
    ),
    Unit(
        "phone",
        rf"[2-9][0-9]{{2}}(?:\)|{wide_dash()}){{1,3}}[2-9][0-9]{{2}}{wide_dash()}{{1,2}}[0-9]{{4}}"
        rf"|\([2-9][0-9]{{2}}\)[2-9][0-9]{{2}}{wide_dash()}{{1,2}}[0-9]{{4}}",
        partial(_national, re.compile(_AMERICAN, re.ASCII)),
    ),
    Unit(
        "phone",
        rf"0[1-9]{_wide_digits(8, _WIDE_PHONE)}|\(00?[1-9]{_wide_digits(7, _WIDE_PHONE)}"
        rf"|0[1-9][0-9]{{0,10}}\\*/{_wide_digits(3, _WIDE_PHONE)}",
        partial(_national, re.compile(_PREFIXED, re.ASCII)),
    ),
)
