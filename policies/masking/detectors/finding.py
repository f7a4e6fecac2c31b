"""Findings of several detectors in one text: overlapping ones are replaced as one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from onrecord.policies.masking.detectors.unicode import plain
from onrecord.policies.masking.detectors.unit import Unit


class Finding(NamedTuple):
    """What is replaced as one: `names` of all detectors in it; `name` of the one that covers it if `whole`."""

    start: int
    end: int
    name: str
    names: tuple[str, ...]
    whole: bool


def find(text: str, units: Iterable[Unit]) -> list[Finding]:
    """What `units` find in `text`, in order, without overlap."""
    read, places = plain(text)
    found = [(start, end, unit.detector) for unit in units for start, end in unit.find(read) if end > start]
    if places is not None:
        found = [(places[start], places[end - 1] + 1, name) for start, end, name in found]
    if len(found) == 1:
        start, end, name = found[0]
        return [Finding(start, end, name, (name,), whole=True)]
    return _joined(found)


def _joined(spans: list[tuple[int, int, str]]) -> list[Finding]:
    made: list[Finding] = []
    for start, end, name in sorted(spans, key=_order):
        last = made[-1] if made else None
        if last is None or start >= last.end:
            made.append(Finding(start, end, name, (name,), whole=True))
        else:
            whole = last.whole and end <= last.end
            made[-1] = Finding(last.start, max(end, last.end), last.name, (*last.names, name), whole=whole)
    return made


def _order(span: tuple[int, int, str]) -> tuple[int, int, int]:
    """The first and the longest first; of two detectors that find the same, the surer one."""
    start, end, name = span
    return start, -end, _SURE.index(name)


_SURE = (
    "private_key",
    "jwt",
    "api_token",
    "url_password",
    "email",
    "iban",
    "payment_card",
    "national_id",
    "ip",
    "phone",
)
