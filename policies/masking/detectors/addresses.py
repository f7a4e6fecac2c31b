"""E-mail and IP addresses."""

from __future__ import annotations

import ipaddress
import re

from onrecord.policies.masking.detectors.unit import Spans, Unit

_AT = re.compile(r"@|%(?:25)*40|&(?:amp;)*(?:commat|#0*64|#[xX]0*40);")
_LOCAL = re.compile(r"(?:[A-Za-z0-9!#$%&*+\-.?^_`~']|[^\x00-\x7f\s])*")  # of the reversed text
_PLAIN_AT = re.compile("@")
_LEADING = re.compile(r"['.`*!?&#$%^~]*")
_DOMAIN = re.compile(
    r"(?:(?:[^\W_]|[^\x00-\x7f\s])(?:[\w-]|[^\x00-\x7f\s]){0,62}\.)+(?:xn--[\w-]{1,59}|(?:[^\W\d_]|[^\x00-\x7f\s]){2,63})"
    r"|\[[0-9A-Fa-f:.IPv]{2,45}\]"
)
# A domain of ASCII that ends where no domain could go on: the usual one, found in a quarter of the time.
_PLAIN_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9_-]{0,62}\.)+[A-Za-z]{2,63}(?![A-Za-z0-9_.\-]|[^\x00-\x7f])", re.ASCII
)
_SHORT_LOCAL, _MAX_LOCAL = 48, 320


def find_emails(text: str) -> Spans:
    found: Spans = []
    floor = 0
    pattern = _AT if "%" in text or "&" in text else _PLAIN_AT
    for at in pattern.finditer(text):
        if at.start() < floor:
            continue
        domain = _PLAIN_DOMAIN.match(text, at.end()) or _DOMAIN.match(text, at.end())
        if domain is None:
            continue
        start = _local(text, at.start(), floor)
        if start < at.start():
            found.append((start, domain.end()))
            floor = domain.end()
    return found


def _local(text: str, end: int, floor: int) -> int:
    """Where the local part begins that ends at `end`."""
    if end > floor and text[end - 1] == '"':
        start = text.rfind('"', max(floor, end - _MAX_LOCAL), end - 1)
        if start >= 0 and not re.search(r"[\s\",]", text[start + 1 : end - 1]):
            return start
    before = text[max(floor, end - _SHORT_LOCAL) : end]
    size = len(_LOCAL.match(before[::-1])[0])  # type: ignore[index]  # it matches nothing, too
    if size == len(before) == _SHORT_LOCAL:
        before = text[max(floor, end - _MAX_LOCAL) : end]
        size = len(_LOCAL.match(before[::-1])[0])  # type: ignore[index]
    start = end - size
    return start if text[start].isalnum() else _LEADING.match(text, start, end).end()  # type: ignore[union-attr]


_V4 = re.compile(
    r"(?<![0-9.])(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])(?:\.(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])){3}(?!\.?[0-9])",
    re.ASCII,
)
_V6 = re.compile(
    r"(?<![0-9A-Za-z:.])(?:[0-9A-Fa-f]{4}:|::[fF]{4}:|64:[fF]{2}9[bB]:|[0-9A-Fa-f]{1,4}:(?:[0-9A-Fa-f]{1,4}:){6})"
    r"[0-9A-Fa-f:.]{1,45}",
    re.ASCII,
)


def find_ips(text: str) -> Spans:
    found = [match.span() for match in _V4.finditer(text)]
    for match in _V6.finditer(text):
        candidate = match[0].rstrip(".:") if not match[0].endswith("::") else match[0]
        try:
            ipaddress.IPv6Address(candidate)
        except ValueError:
            continue
        found.append((match.start(), match.start() + len(candidate)))
    return found


UNITS = (
    Unit("email", r"(?:@|%(?:25)*40|&(?:amp;)*(?:commat|#0*64|#[xX]0*40);)(?:[A-Za-z0-9\[]|[^\x00-\x7f])", find_emails),
    Unit(
        "ip",
        r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|(?:[0-9A-Fa-f]{1,4}:){7}"
        r"|[0-9A-Fa-f]{4}:(?:[0-9A-Fa-f]{1,4}:){0,5}:|::(?i:ffff)|64:(?i:ff9b)",
        find_ips,
    ),
)
