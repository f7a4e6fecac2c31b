"""What stands in a value's place, by strategy. Pure but for the key; no strategy gives a value back unchanged.

- `redact`: "[redacted]"; `null`: None for a whole value, "[redacted]" for a part of a text.
- `partial`: the least that lets a person recognise it; of short values nothing.
- `pseudonymise`: an HMAC under the gateway's key, so that equal values stay equal, of the kind's own form.
- `format`: each letter and digit becomes another one of its class, by the same HMAC; everything else stays.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Callable

from onrecord.policies.config.types import Strategy
from onrecord.policies.masking.names import REDACTED

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_UUID = re.compile(r"\s*\{?[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?\s*")
_DIGITS = re.compile(r"\s*[0-9]{1,1000}\s*")
_STARS = "***"


def _mac(key: bytes, what: str, value: str) -> bytes:
    return hmac.digest(key, f"{what}\0{value}".encode("utf-8", "surrogatepass"), "sha256")


def kind_of(value: str) -> str:
    """The kind of a whole value of which only its column is known: "email", "uuid", "digits" or "text"."""
    if "@" in value and _EMAIL.fullmatch(value.strip()):
        return "email"
    if value.count("-") == 4 and _UUID.fullmatch(value):
        return "uuid"
    return "digits" if _DIGITS.fullmatch(value) else "text"


def normal(kind: str, value: str) -> str:
    """`value` as it is compared: two spellings of one value have one pseudonym."""
    value = unicodedata.normalize("NFKC", value).strip()
    if kind == "email":
        return value.casefold()
    if kind in ("phone", "payment_card", "iban", "national_id"):
        return "".join(c for c in value if c.isalnum() or c == "+").upper()
    return value.lower() if kind in ("uuid", "ip") else value


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """A stable stand-in of the form of `kind`; it belongs to nobody (reserved domains, numbers, networks)."""
    mac = _mac(key, "pseudonym", normal(kind, value))
    number = int.from_bytes(mac[:16])
    word = mac.hex()[:20]
    forms: dict[str, Callable[[], str]] = {
        "email": lambda: f"{word}@pseudonym.invalid",
        "phone": lambda: f"+999{number % 10**11:011d}",
        "payment_card": lambda: f"0000{number % 10**12:012d}",
        "iban": lambda: f"XX00{number % 10**16:016d}",
        "ip": lambda: "fd00:0:0:" + ":".join(word[i : i + 4] for i in range(0, 20, 4)),
        "uuid": lambda: f"{word[:8]}-{word[8:12]}-8{word[12:15]}-8{word[15:18]}-{mac.hex()[20:32]}",
        "digits": lambda: _number(number, len(value.strip())),
    }
    made = forms[kind]() if kind in forms else f"pseudonym-{word}"
    return made if made != value else REDACTED


def _number(number: int, length: int) -> str:
    """A number without leading zero that fits where `length` digits did: at least 9 of them, at most 18."""
    length = min(max(length, 9), 18)
    return str(10 ** (length - 1) + number % (10 ** (length - 1) if length == 10 else 9 * 10 ** (length - 1)))


def same_format(key: bytes, value: str) -> str:
    """`value` with each letter and digit replaced by another of its class."""
    if not any(c.isalnum() for c in value):
        return REDACTED
    stream = _Stream(key, value)
    return "".join(_other(c, stream) if c.isalnum() else c for c in value)


class _Stream:
    """Bytes that depend on the key and the whole value."""

    def __init__(self, key: bytes, value: str) -> None:
        self._seed = _mac(key, "format", value)
        self._block, self._at, self._count = b"", 0, 0

    def below(self, limit: int) -> int:
        if self._at == len(self._block):
            self._block = hmac.digest(self._seed, self._count.to_bytes(8), "sha256")
            self._at, self._count = 0, self._count + 1
        self._at += 1
        return self._block[self._at - 1] % limit


def _other(c: str, stream: _Stream) -> str:
    """Another character of the class of `c`: digit, lower case letter, upper case letter, any other letter."""
    if c.isdecimal():
        return chr(48 + (unicodedata.decimal(c) + 1 + stream.below(9)) % 10)
    base = 65 if c.isupper() else 97
    offset = ord(c) - base
    if 0 <= offset < 26:
        return chr(base + (offset + 1 + stream.below(25)) % 26)
    return chr(base + stream.below(26))


def partial(kind: str, value: str) -> str:
    """What is left of `value` to recognise it by."""
    made = _PARTIAL.get(kind, _partial_text)(value)
    return made if made != value else REDACTED


def _partial_email(value: str) -> str:
    local, _, domain = value.strip().rpartition("@")
    name, dot, top = domain.rpartition(".")
    return f"{local[:1] if len(local) > 2 else ''}{_STARS}@{name[:1] if len(name) > 3 else ''}{_STARS}{dot}{top}"


def _last(count: int, least: int) -> Callable[[str], str]:
    def keep(value: str) -> str:
        signs = [c for c in value if c.isalnum()]
        return _STARS + "".join(signs[-count:]) if len(signs) >= least else _STARS

    return keep


def _partial_iban(value: str) -> str:
    signs = "".join(c for c in value if c.isalnum())
    return f"{signs[:2]}{_STARS}{signs[-4:]}" if len(signs) >= 14 else _STARS


def _partial_ip(value: str) -> str:
    return f"{value.split('.')[0]}.*.*.*" if "." in value and ":" not in value else f"{value.split(':')[0]}:{_STARS}"


def _partial_text(value: str) -> str:
    value = value.strip()
    if len(value) < 6:
        return _STARS
    return f"{value[0]}{_STARS}" if len(value) < 12 else f"{value[0]}{_STARS}{value[-1]}"


def _nothing(_value: str) -> str:
    return REDACTED


_PARTIAL: dict[str, Callable[[str], str]] = {
    "email": _partial_email,
    "phone": _last(2, 7),
    "payment_card": _last(4, 12),
    "iban": _partial_iban,
    "national_id": _last(2, 8),
    "ip": _partial_ip,
    "jwt": _nothing,
    "private_key": _nothing,
    "api_token": _nothing,
    "url_password": _nothing,
    "digits": _last(2, 7),
    "uuid": _last(2, 32),
}


def stand_in(strategy: Strategy, key: bytes, kind: str, value: str) -> str:
    """What replaces `value`, found in a text by the detector `kind`."""
    if strategy == "partial":
        return partial(kind, value)
    if strategy == "pseudonymise":
        return pseudonym(key, kind, value)
    return same_format(key, value) if strategy == "format" else REDACTED
