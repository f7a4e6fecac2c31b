"""What raw bytes look like that may hold a finding: one RE2 pattern a detector, each wider than the exact search.

Raw bytes are UTF-8 as a protocol frames it: length prefixes and type bytes may touch a value and look like its letters
or digits, and JSON may have escaped any character. So nothing is anchored, no check digit is looked at, `\\/` counts as
`/`, and any escape of a printable character or of one with another spelling of it is a hit by itself (`always`).
"""

from __future__ import annotations

from onrecord.policies.masking.detectors.iban import LENGTHS
from onrecord.policies.masking.detectors.tokens import KEY_BODIES, TOKENS
from onrecord.policies.masking.detectors.unicode import SEPARATORS, odd_bytes, odd_escapes

_WIDE = "".join(rf"\x{{{code:x}}}" for code in SEPARATORS)
_SEP = rf"(?:[ .\-/_()+]|\\+/|[{_WIDE}])"
_GAP = f"{_SEP}{{0,4}}"
_AT = r"(?:@|%(?:25)*40|&(?:amp;)*(?:commat|#0*64|#[xX]0*40);)"
_SLASH = r"(?:\\*/|%(?:25)*2[fF])"


def _digits(count: int) -> str:
    return rf"(?:{_GAP}[0-9]){{{count}}}"


def always() -> str:
    """What every detector has to look at: characters that are read as others, escapes."""
    return f"{odd_bytes()}|{odd_escapes()}"


SUPERSETS: dict[str, str] = {
    "email": rf"{_AT}(?:[A-Za-z0-9\[]|[^\x00-\x7f])",
    "phone": rf"\+{_digits(7)}|[0(]{_digits(8)}|[2-9][0-9][0-9]{_SEP}{{1,4}}[2-9][0-9][0-9]{_SEP}{{1,4}}[0-9]{{4}}",
    "payment_card": rf"[1-9]{_digits(11)}",
    "iban": rf"(?i:{'|'.join(LENGTHS)}){_GAP}[0-9]{_GAP}[0-9](?:{_GAP}[0-9A-Za-z]){{11}}",
    "national_id": "|".join(
        (
            rf"[0-9]{_digits(8)}",
            rf"[A-Za-z]{_GAP}[A-Za-z]?{_digits(6)}{_GAP}[A-Za-z]",
            r"[0-9]{6}[-+AaB-Fb-fU-Yu-y][0-9]{3}[0-9A-Za-z]",
            rf"(?:[A-Za-z]{_GAP}){{4,6}}[0-9]",
            rf"[0-9]{_digits(7)}{_GAP}[A-Za-z]",
        )
    ),
    "ip": (
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|(?:[0-9A-Fa-f]{1,4}:){7}|[0-9A-Fa-f]{4}:(?:[0-9A-Fa-f]{1,4}:){0,5}:"
        r"|::(?i:ffff)|64:(?i:ff9b)"
    ),
    "jwt": r"eyJ[A-Za-z0-9_-]{8}",
    "private_key": rf"PRIVATE(?: |\+|%20|_|\\[nrt])KEY|Private-Lines|{'|'.join(KEY_BODIES)}",
    "api_token": "|".join(TOKENS),
    "url_password": rf":{_SLASH}{{2}}|(?i:pass(?:word|wd|phrase)?|pwd)(?:=|%(?:25)*3[dD])",
}
