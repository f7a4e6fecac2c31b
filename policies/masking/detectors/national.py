"""National ids: each with its form, its date and its check digits where it has them.

An id that is nothing but digits of which one in ten passes the check (Dutch BSN, Indian Aadhaar, Canadian SIN, …) is
taken only where it is grouped in its usual way, or where its name stands before it: order numbers look the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from onrecord.policies.masking.detectors.checksums import luhn, mod11_10, verhoeff, weighted
from onrecord.policies.masking.detectors.unit import DASH, Spans, Unit, wide_dash

_SIGNS = re.compile(r"[^0-9A-Za-z]+", re.ASCII)


def _date(month: str, day: str) -> bool:
    return 1 <= int(month) <= 12 and 1 <= int(day) <= 31


def _ymd(text: str) -> bool:
    return _date(text[2:4], text[4:6])


def _dmy(text: str) -> bool:
    return _date(text[2:4], text[:2])


def _us_ssn(d: str) -> bool:
    if d[0] == "9":  # the taxpayer numbers of people without one
        return "50" <= d[3:5] <= "99" and d[3:5] not in ("89", "93") and d[5:] != "0000"
    return d[:3] not in ("000", "666") and d[3:5] != "00" and d[5:] != "0000"


def _uk_nino(d: str) -> bool:
    return d[:2].upper() not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")


def _german_tax(d: str) -> bool:
    counts = sorted((d[:10].count(c) for c in set(d[:10])), reverse=True)
    return d[0] != "0" and counts[0] in (2, 3) and counts[1] == 1 and mod11_10(d)


def _dutch_bsn(d: str) -> bool:
    d = d.zfill(9)
    return d != "000000000" and weighted(d, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


_SPANISH = "TRWAGMYFPDXBNJZSQVHLCKE"


def _spanish(d: str) -> bool:
    d = d.upper()
    number = str("XYZ".index(d[0])) + d[1:-1] if d[0] in "XYZ" else d[:-1]
    return _SPANISH[int(number) % 23] == d[-1]


_ITALIAN_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _italian(d: str) -> bool:
    total = 0
    for i, c in enumerate(d.upper()[:15]):
        value = int(c) if c.isdigit() else ord(c) - 65
        total += value if i % 2 else _ITALIAN_ODD[value]
    return chr(65 + total % 26) == d[15].upper()


def _brazilian_cpf(d: str) -> bool:
    if len(set(d)) == 1:
        return False
    first = weighted(d, range(10, 1, -1)) * 10 % 11 % 10
    second = weighted(d, range(11, 1, -1)) * 10 % 11 % 10
    return d[9:] == f"{first}{second}"


def _aadhaar(d: str) -> bool:
    return d[0] not in "01" and verhoeff(d)


def _french(d: str) -> bool:
    d = d.upper()
    number = d[:13].replace("2A", "19", 1) if d[5:7] == "2A" else d[:13].replace("2B", "18", 1)
    month = int(d[3:5])
    return (1 <= month <= 12 or 20 <= month <= 99) and number.isdigit() and 97 - int(number) % 97 == int(d[13:])


def _polish(d: str) -> bool:
    return (
        1 <= int(d[2:4]) % 20 <= 12
        and 1 <= int(d[4:6]) <= 31
        and weighted(d, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0
    )


def _belgian(d: str) -> bool:
    check = int(d[9:])
    dated = int(d[2:4]) <= 12 and int(d[4:6]) <= 31
    return dated and check in (97 - int(d[:9]) % 97, 97 - int("2" + d[:9]) % 97)


def _swedish(d: str) -> bool:
    d = d[-10:]
    return 1 <= int(d[2:4]) <= 12 and (1 <= int(d[4:6]) <= 31 or 61 <= int(d[4:6]) <= 91) and luhn(d)


_FINNISH = "0123456789ABCDEFHJKLMNPRSTUVWXY"


def _finnish(d: str) -> bool:
    signs = "".join(c for c in d if c.isalnum())
    number = signs[:6] + signs[-4:-1]
    return _dmy(d) and _FINNISH[int(number) % 31] == d[-1].upper()


def _norwegian(d: str) -> bool:
    if not (1 <= int(d[:2]) % 40 <= 31 and 1 <= int(d[2:4]) % 40 <= 12):
        return False
    one = weighted(d, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11
    return one == 0 and weighted(d, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def _swiss(d: str) -> bool:
    return d[:3] == "756" and weighted(d, (1, 3) * 6 + (1,)) % 10 == 0


def _canadian(d: str) -> bool:
    return d[0] not in "08" and luhn(d)


def _australian(d: str) -> bool:
    return weighted(d, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0 and len(set(d)) > 1


def _chinese(d: str) -> bool:
    total = weighted(d[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return "19" <= d[6:8] <= "20" and _date(d[10:12], d[12:14]) and "10X98765432"[total % 11] == d[17].upper()


def _korean(d: str) -> bool:
    return _ymd(d) and d[6] in "123456789"


_SINGAPORE = {"S": "JZIHGFEDCBA", "T": "GFEDCBAJZIH", "F": "XWUTRQPNMLK", "G": "RQPNMLKXWUT", "M": "KLJNPQRTUWX"}


def _singaporean(d: str) -> bool:
    d = d.upper()
    total = weighted(d[1:8], (2, 7, 6, 5, 4, 3, 2)) + (3 if d[0] == "M" else 0)
    letters = _SINGAPORE[d[0]]
    index = total % 11
    return letters[index] == d[8] or (d[0] == "M" and letters[10 - index] == d[8])


def _south_african(d: str) -> bool:
    return _ymd(d) and d[10] in "012" and luhn(d)


def _turkish(d: str) -> bool:
    values = [int(c) for c in d]
    tenth = (sum(values[0:9:2]) * 7 - sum(values[1:8:2])) % 10
    return d[0] != "0" and values[9] == tenth and values[10] == sum(values[:10]) % 10


def _romanian(d: str) -> bool:
    check = weighted(d, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return d[0] != "0" and _ymd(d[1:]) and int(d[12]) == (1 if check == 10 else check)


def _mexican(d: str) -> bool:
    signs = "0123456789ABCDEFGHIJKLMN?OPQRSTUVWXYZ"
    total = sum(signs.index(c) * (18 - i) for i, c in enumerate(d.upper()[:17]))
    return _ymd(d[4:]) and str((10 - total % 10) % 10) == d[17]


def _chilean(d: str) -> bool:
    total = sum(int(c) * (2 + i % 6) for i, c in enumerate(d[-2::-1]))
    return "0K987654321"[total % 11] == d[-1].upper()


def _argentine(d: str) -> bool:
    return (11 - weighted(d, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11 == int(d[10])


def _czech(d: str) -> bool:
    month = int(d[2:4]) % 50
    dated = (1 <= month <= 12 or 21 <= month <= 32) and 1 <= int(d[4:6]) <= 31
    return dated and (len(d) == 9 or int(d[:9]) % 11 % 10 == int(d[9]))


def _japanese(d: str) -> bool:
    rest = weighted(d, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return int(d[11]) == (0 if rest <= 1 else 11 - rest)


def _aadhaar_or_japanese(d: str) -> bool:
    return _aadhaar(d) or _japanese(d)


def _eleven_digits(d: str) -> bool:
    return _polish(d) or _norwegian(d) or _turkish(d)


def _nordic(d: str) -> bool:
    return _dmy(d) or _swedish(d)


def _swedish_or_danish(d: str) -> bool:
    return _swedish(d) or (len(d) == 10 and _dmy(d))


def _canadian_or_australian(d: str) -> bool:
    return _canadian(d) or _australian(d)


def _south_african_or_romanian(d: str) -> bool:
    return _south_african(d) or _romanian(d)


def _always(_d: str) -> bool:
    return True


# The form, and the check of its letters and digits. `~` is a separator or none, `@` and `&` the same one twice, `§`
# a slash; a form's other separators are part of it. Nothing alphanumeric may stand at its edges.
_FORMS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (r"[0-9]{3}@[0-9]{2}&[0-9]{4}", _us_ssn),
    (r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]~(?:[0-9]{2}~){3}[A-D]", _uk_nino),
    (r"[0-9]{2}~[0-9]{3}~[0-9]{3}~[0-9]{3}", _german_tax),
    (r"[0-9]{4}\.[0-9]{2}\.[0-9]{3}|[0-9]{3}\.[0-9]{3}\.[0-9]{3}", _dutch_bsn),
    (r"[0-9]{2}~[0-9]{3}~[0-9]{3}~[A-HJ-NP-TV-Z]|[XYZ]~[0-9]{7}~[A-HJ-NP-TV-Z]", _spanish),
    (r"[A-Z]{3}~[A-Z]{3}~[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}~[A-Z][0-9LMNP-V]{3}[A-Z]", _italian),
    (r"[0-9]{3}~[0-9]{3}~[0-9]{3}~[0-9]{2}", _brazilian_cpf),
    (r"[0-9]{4}@[0-9]{4}&[0-9]{4}", _aadhaar_or_japanese),
    (r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]", _always),  # Indian PAN
    (r"[1-478]~[0-9]{2}~[0-9]{2}~(?:[0-9]{2}|2[AB])~[0-9]{3}~[0-9]{3}~[0-9]{2}", _french),
    (r"[0-9]{6} ?[0-9]{5}", _eleven_digits),
    (r"[0-9]{2}~[0-9]{2}~[0-9]{2}~[0-9]{3}~[0-9]{2}", _belgian),
    (r"(?:19|20)?[0-9]{6}[-+][0-9]{4}|(?:19|20)[0-9]{10}", _swedish_or_danish),
    (r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", _finnish),
    (r"756~[0-9]{4}~[0-9]{4}~[0-9]{2}", _swiss),
    (r"[0-9]{3}@[0-9]{3}&[0-9]{3}", _canadian_or_australian),
    (r"[1-9][0-9]{16}[0-9X]", _chinese),
    (r"[0-9]{6}-[0-9]{7}", _korean),
    (r"[STFGM][0-9]{7}[A-Z]", _singaporean),
    (r"[0-9]{6}~[0-9]{4}~[0-9]{2}~[0-9]", _south_african_or_romanian),
    (r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", _mexican),
    (r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9K]", _chilean),
    (r"[0-9]{2}-[0-9]{8}-[0-9]", _argentine),
    (r"[0-9]{6}§[0-9]{3,4}", _czech),
)

# Names that let a bare number count: the name, the digits, the check.
_NAMED: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    (r"ssn|social[ _-]?security|tax[ _-]?id|itin", r"[0-9]{9}", _us_ssn),
    (r"bsn|sofi(?:nummer)?|burgerservice(?:nummer)?|citizen[ _-]?service", r"[0-9]{8,9}", _dutch_bsn),
    (r"aadhaar|aadhar|uidai", r"[0-9]{12}", _aadhaar),
    (r"sin|social[ _-]?insurance", r"[0-9]{9}", _canadian),
    (r"tfn|tax[ _-]?file", r"[0-9]{9}", _australian),
    (r"my[ _-]?number|マイナンバー", r"[0-9]{12}", _japanese),
    (r"cpr|personnummer|pnr", r"[0-9]{10}", _nordic),
)
_NAME_GAP = (
    r"[\"'”’)]{0,2}[ _.-]{0,2}(?:no|nr|number|num|nummer|id)?\.?[\"'”’)]{0,2}[ \u00a0]{0,3}"
    r"(?:is|was|[:=#]){0,3}[ \u00a0]{0,3}[\"'“‘(]{0,2}"
)


_EDGE = "[0-9A-Za-z]"
_FIRST_DIGITS = re.compile(r"\[0-9\]\{([0-9]+)\}([^|]*)")


def _at_its_edge(exact: str) -> str:
    """`exact`, not behind a letter or a digit. Asked behind the first digit where there is one: `re` then looks at
    digits only, not at every character."""
    digits = _FIRST_DIGITS.fullmatch(exact)
    if digits is None:
        return rf"(?<!{_EDGE})(?:{exact})"
    return rf"[0-9](?<!{_EDGE}[0-9])[0-9]{{{int(digits[1]) - 1}}}{digits[2]}"


def _by_form(form: str, check: Callable[[str], bool]) -> Unit:
    # inside `(?:…)` the first group is the separator that has to come again
    exact = form.replace("~", f"{DASH}?").replace("@", f"({DASH})").replace("&", r"\1").replace("§", "/")
    pattern = re.compile(rf"{_at_its_edge(exact)}(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE)
    wide = form.replace("~", f"{wide_dash()}?").replace("@", wide_dash()).replace("&", wide_dash())

    def find(text: str) -> Spans:
        return [match.span() for match in pattern.finditer(text) if check(_signs(match[0], check))]

    return Unit("national_id", "(?i:" + wide.replace("§", r"\\*/") + ")", find)


def _by_name(name: str, digits: str, check: Callable[[str], bool]) -> Unit:
    pattern = re.compile(rf"(?<![A-Za-z])(?:{name}){_NAME_GAP}({digits})(?![0-9A-Za-z])", re.IGNORECASE)

    def find(text: str) -> Spans:
        return [match.span(1) for match in pattern.finditer(text) if check(match[1])]

    return Unit("national_id", rf"(?i:{name})[^0-9]{{0,32}}[0-9]{{8}}", find)


def _signs(text: str, check: Callable[[str], bool]) -> str:
    """What the check reads: letters and digits; of the Finnish id also the sign that is its century."""
    return text if check is _finnish else _SIGNS.sub("", text)


UNITS = (*(_by_form(*one) for one in _FORMS), *(_by_name(*one) for one in _NAMED))
