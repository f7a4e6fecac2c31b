"""The exact search: text → findings, overlapping ones joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from onrecord.policies.masking.detectors.addresses import find_emails, find_ips
from onrecord.policies.masking.detectors.iban import find_ibans
from onrecord.policies.masking.detectors.national import find_national_ids
from onrecord.policies.masking.detectors.numbers import find_cards, find_phones
from onrecord.policies.masking.detectors.tokens import find_jwts, find_keys, find_tokens, find_url_passwords
from onrecord.policies.masking.detectors.unicode import plain

FINDERS: dict[str, Callable[[str], list[tuple[int, int]]]] = {
    "email": find_emails,
    "phone": find_phones,
    "payment_card": find_cards,
    "iban": find_ibans,
    "national_id": find_national_ids,
    "ip": find_ips,
    "jwt": find_jwts,
    "private_key": find_keys,
    "api_token": find_tokens,
    "url_password": find_url_passwords,
}


class Finding(NamedTuple):
    """What is replaced as one: `names` of all detectors in it; `name` of the one that covers it if `whole`."""

    start: int
    end: int
    name: str
    names: tuple[str, ...]
    whole: bool


def find(text: str, names: Iterable[str]) -> list[tuple[int, int, str]]:
    """Where detectors find something in `text`: start, end, detector. In no order; they may overlap."""
    read, places = plain(text)
    found = [(start, end, name) for name in names for start, end in FINDERS[name](read) if end > start]
    if places is not None:
        found = [(places[start], places[end - 1] + 1, name) for start, end, name in found]
    return found


def group(spans: list[tuple[int, int, str]]) -> list[Finding]:
    """Findings in order, those that overlap as one."""
    made: list[Finding] = []
    for start, end, name in sorted(spans, key=lambda one: (one[0], -one[1])):
        last = made[-1] if made else None
        if last is None or start >= last.end:
            made.append(Finding(start, end, name, (name,), whole=True))
        else:
            covered = end <= last.end
            made[-1] = Finding(
                last.start, max(end, last.end), last.name, (*last.names, name), whole=last.whole and covered
            )
    return made
