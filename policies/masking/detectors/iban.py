"""IBAN (ISO 13616): country, length, check digits."""

from __future__ import annotations

import re

from onrecord.policies.masking.detectors.checksums import mod97
from onrecord.policies.masking.detectors.unit import GAP, Spans, Unit, wide_gap

# Country → length, from SWIFT's IBAN registry, with the countries that use the form without being registered.
LENGTHS: dict[str, int] = {
    "AD": 24, "AE": 23, "AL": 28, "AO": 25, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BF": 28, "BG": 22, "BH": 22,
    "BI": 27, "BJ": 28, "BR": 29, "BY": 28, "CF": 27, "CG": 27, "CH": 21, "CI": 28, "CM": 27, "CR": 22, "CV": 25,
    "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "DZ": 26, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FK": 18, "FO": 18, "FR": 27, "GA": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GQ": 27, "GR": 27, "GT": 28,
    "GW": 25, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IR": 26, "IS": 26, "IT": 27, "JO": 30,
    "KM": 27, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MA": 28,
    "MC": 27, "MD": 24, "ME": 22, "MG": 27, "MK": 19, "ML": 28, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "MZ": 25,
    "NE": 28, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24,
    "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SN": 28, "SO": 23,
    "ST": 25, "SV": 28, "TD": 27, "TG": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip

_START = re.compile(rf"(?i:{'|'.join(LENGTHS)}){GAP}[0-9]{GAP}[0-9]")
_REST = {
    length: re.compile(rf"(?:{GAP}[0-9A-Za-z]){{{length - 4}}}", re.ASCII) for length in sorted(set(LENGTHS.values()))
}


def find_ibans(text: str) -> Spans:
    """The places of IBANs in `text`, grouped or not, in any case."""
    found = []
    at = 0
    while start := _START.search(text, at):
        head = "".join(filter(str.isalnum, start[0])).upper()
        rest = _REST[LENGTHS[head[:2]]].match(text, start.end())
        if rest is not None and mod97("".join(filter(str.isalnum, rest[0])).upper() + head):
            found.append((start.start(), rest.end()))
            at = rest.end()
        else:
            at = start.start() + 1
    return found


UNITS = (
    Unit(
        "iban",
        rf"(?i:{'|'.join(LENGTHS)}){wide_gap()}[0-9]{wide_gap()}[0-9](?:{wide_gap()}[0-9A-Za-z]){{11}}",
        find_ibans,
    ),
)
