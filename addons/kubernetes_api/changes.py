"""Strings of a JSON document that are masked, found in its bytes and put into what was decoded. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from onrecord.addons.kubernetes_api.env_values import MASKED
from onrecord.addons.kubernetes_api.handed_out import HandedOut
from onrecord.policies.masking import REDACTED, Masks, mask_json

KEPT = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "ownerReferences", "finalizers", "continue",
    "remainingItemCount", "selfLink",
)  # fmt: skip
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9./-]{0,252}")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BACKSLASH = 0x5C
_skip = msgspec.json.Decoder(msgspec.Raw).decode
_read_str = msgspec.json.Decoder(str).decode


class Change(NamedTuple):
    """What stands in a string's place, and what was found in it."""

    clean: str
    found: dict[str, int]


def find_changes(data: bytes, masks: Masks) -> dict[str, Change] | None:
    """The strings in JSON that detectors mask. None: something else may be, such as a number.

    Most of what the scanner stops at is nothing: a uid is no card. A string that holds JSON itself is looked through as
    `mask_object` does it: what is escaped in there stands in no other way in it.
    """
    detectors = masks.detectors
    if detectors is None:
        return {}
    found: dict[str, Change] = {}
    spots = detectors.spots(data)
    for token in _tokens(data, spots) if _is_json(data) else _tokens_of_junk(data, spots):
        if token is None:
            return None
        try:
            text = _read_text(token)
        except ValueError:
            return None
        if text not in found:
            counts: dict[str, int] = {}
            clean = str(mask_json(text, masks, counts))
            if clean != text:
                found[text] = Change(clean, counts)
    return found


def _tokens(data: bytes, spots: Iterable[tuple[int, int]]) -> Iterator[bytes | None]:
    """The strings of valid JSON that hold `spots`, each once; None for a spot that no string holds."""
    begin = stop = 0  # of the last one: behind it no string is open
    for start, end in spots:
        if end <= stop and start >= begin:
            continue
        opening = _opening(data, stop, start) if start >= stop else -1
        match = _STRING.match(data, opening) if opening >= 0 else None
        if match is None or match.end() < end:
            yield None
            return
        begin, stop = match.span()
        yield match[0]


def _opening(data: bytes, at: int, start: int) -> int:
    """Where the string begins that is open at `start` or begins there; none is open at `at`. -1: there is none."""
    before = data[at:start]
    quotes = before.count(b'"')
    if b"\\" in before:
        pairs_gone = before.replace(b"\\\\", b"")
        quotes = pairs_gone.count(b'"') - pairs_gone.count(b'\\"')
    if quotes % 2 == 0:
        return start if data[start : start + 1] == b'"' else -1
    opening = data.rfind(b'"', at, start)
    while _is_escaped(data, opening):
        opening = data.rfind(b'"', at, opening)
    return opening


def _is_escaped(data: bytes, at: int) -> bool:
    first = at
    while first and data[first - 1] == _BACKSLASH:
        first -= 1
    return (at - first) % 2 == 1


def _tokens_of_junk(data: bytes, spots: Iterable[tuple[int, int]]) -> Iterator[bytes | None]:
    """The same where a quote may stand anywhere: every string is looked at from the first one on."""
    strings = _STRING.finditer(data)
    token = next(strings, None)
    for start, end in spots:
        while token is not None and token.end() <= start:
            token = next(strings, None)
        if token is None or token.start() > start or token.end() < end:
            yield None
            return
        yield token[0]


def _is_json(data: bytes) -> bool:
    try:
        _skip(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True


def _read_text(token: bytes) -> str:
    """Raises ValueError."""
    try:
        return _read_str(token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return str(json.loads(token))  # half a surrogate pair, perhaps


def is_identifier(value: Any) -> bool:
    """Whether a `kind` or an `apiVersion` is one, and so stays; a member of that name may hold anything else."""
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


class KeyChangedError(Exception):
    """A key is masked, not a value: the whole document must be looked at."""


class Replacing:
    """Puts changes into a document, but for what identifies objects. `found` counts."""

    def __init__(self, changes: dict[str, Change], handed_out: HandedOut) -> None:
        self._changes, self._handed_out = changes, handed_out
        self.found: dict[str, int] = {}

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            change = self._changes.get(value)
            return value if change is None else self._changed(change)
        if isinstance(value, dict):
            return self._object(value)
        return [self.value(item) for item in value] if isinstance(value, list) else value

    def _changed(self, change: Change) -> str:
        for name, count in change.found.items():
            self.found[name] = self.found.get(name, 0) + count
        if REDACTED not in change.clean:
            self._handed_out.add(change.clean)
        return change.clean

    def _object(self, value: dict[str, Any], kept: tuple[str, ...] = ("apiVersion", "kind")) -> dict[str, Any]:
        if not self._changes.keys().isdisjoint(value):
            raise KeyChangedError
        made: dict[str, Any] = {}
        for key, item in value.items():
            if isinstance(item, str):
                change = self._changes.get(item)
                stays = change is None or (key in kept and (kept is KEPT or is_identifier(item)))
                made[key] = item if change is None or stays else self._changed(change)
            elif kept is KEPT and key in kept:
                made[key] = item
            elif key == "metadata" and isinstance(item, dict):
                made[key] = self._object(item, KEPT)
            else:
                made[key] = self.value(item)
        metadata = made.get("metadata")
        if isinstance(metadata, dict) and "items" not in value and "rows" not in value and made != value:
            notes = metadata.get("annotations")
            metadata["annotations"] = {**(notes if isinstance(notes, dict) else {}), MASKED: "values"}
        return made
