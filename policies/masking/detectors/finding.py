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
    found: list[tuple[int, int, int]] = []
    for unit in units:
        rank = _RANK[unit.detector]
        found += [(start, -end, rank) for start, end in unit.find(read) if end > start]
    if places is not None:
        found = [(places[start], -places[-end - 1] - 1, rank) for start, end, rank in found]
    return _joined(found)


def _joined(spans: list[tuple[int, int, int]]) -> list[Finding]:
    """`spans` as (start, minus end, rank): the first and the longest come first; of equal ones the surer detector."""
    spans.sort()
    made: list[Finding] = []
    behind = 0
    for start, end, rank in spans:
        name, end = _SURE[rank], -end  # noqa: PLW2901  # as it is meant
        if start >= behind:
            made.append(Finding(start, end, name, (name,), True))
            behind = end
        else:
            last = made[-1]
            whole = last.whole and end <= behind
            behind = max(end, behind)
            made[-1] = Finding(last.start, behind, last.name, (*last.names, name), whole=whole)
    return made


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
_RANK = {name: rank for rank, name in enumerate(_SURE)}
