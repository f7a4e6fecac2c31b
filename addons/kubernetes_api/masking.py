"""Kubernetes objects masked: values of Secrets always, everything else by the configured masks. Pure.

What identifies an object and its version (names, uid, resourceVersion, managedFields, owners) is never changed, so that
clients go on working. A masked object carries the annotation MASKED: written back whole, it is known by it and refused,
or the mask would replace the real value. kubectl's own patches hold only what was changed, and pass.
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from onrecord.addons.kubernetes_api.changes import (
    KEPT,
    KeyChangedError,
    Replacing,
    find_changes,
    is_identifier,
)
from onrecord.addons.kubernetes_api.documents import quickly_read, read_document, write_document
from onrecord.addons.kubernetes_api.env_values import MASKED, env_spots, holds_no_env, mask_env, may_hold_env
from onrecord.addons.kubernetes_api.failures import mask_failure
from onrecord.addons.kubernetes_api.handed_out import HandedOut
from onrecord.addons.kubernetes_api.secret_values import mask_secrets
from onrecord.policies.masking import REDACTED, MaskError, Masks, mask_json

_OF_LISTS = frozenset({"apiVersion", "kind", "metadata", "items", "rows", "columnDefinitions"})
_OF_LIST_METADATA = frozenset({"continue", "remainingItemCount", "resourceVersion", "selfLink"})  # all of them in KEPT
_BETWEEN = frozenset(b" \t\r\n,")
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def mask_object(value: Any, masks: Masks, found: dict[str, int], handed_out: HandedOut) -> Any:
    """`value` with the configured masks; the same object where nothing is found. Raises MaskError."""
    before = sum(found.values())
    masked = mask_json(value, masks, found)
    if sum(found.values()) == before:
        return value
    _restore(value, masked, handed_out)
    return masked


def _restore(before: Any, after: Any, handed_out: HandedOut) -> None:
    """Put back what identifies objects, mark those that were changed, and remember what stands in for a value."""
    if isinstance(before, dict) and isinstance(after, dict):
        is_object = isinstance(before.get("metadata"), dict) and isinstance(after.get("metadata"), dict)
        if is_object:
            for name in KEPT:
                if name in before["metadata"]:
                    after["metadata"][name] = before["metadata"][name]
        for name in ("apiVersion", "kind"):
            if name in after and is_identifier(before.get(name)):
                after[name] = before[name]
        for name, item in before.items():
            if name in after:
                _restore(item, after[name], handed_out)
        if is_object and "items" not in before and "rows" not in before and before != after:
            notes = after["metadata"].get("annotations")
            after["metadata"]["annotations"] = {**(notes if isinstance(notes, dict) else {}), MASKED: "values"}
    elif isinstance(before, list) and isinstance(after, list):
        for one, other in zip(before, after, strict=False):
            _restore(one, other, handed_out)
    elif isinstance(after, str) and after != before and REDACTED not in after:
        handed_out.add(after)


class ObjectMask:
    """What masks one agent's answers of one kind. `found` counts by detector, rule, or "secret"."""

    def __init__(
        self, masks: Masks | None, handed_out: HandedOut, *, secrets: bool, env: bool = False, failed: bool = False
    ) -> None:
        self.found: dict[str, int] = {}
        self._failed = failed
        self._masks, self._handed_out, self._secrets, self._env = masks, handed_out, secrets, env

    def document(self, data: bytes) -> bytes:
        """One JSON document masked; the same bytes where nothing is. Raises MaskError."""
        if not data.strip():
            return data
        if b"\0" in data:  # another charset than JSON has: some clients would read what was not searched
            raise MaskError("what calls itself JSON is not in UTF-8")
        if self._secrets or self._failed or (self._masks is not None and self._masks.json_paths):
            return self._whole(data)
        if not self._may_hit(data):
            return data
        pieces = self._in_pieces(data) if len(data) > 4096 else None
        return self._piece(data) if pieces is None else pieces

    def _whole(self, data: bytes) -> bytes:
        """Decoded, and every value looked at."""
        value = read_document(data)
        before = sum(self.found.values())
        if self._secrets:
            value = mask_secrets(value, self.found)
        if self._secrets or self._failed:
            value = mask_failure(value, self.found, strict=self._secrets)
        if self._masks is not None:
            value = mask_object(value, self._masks, self.found, self._handed_out)
        if self._env:
            value = mask_env(value, self.found)
        return data if sum(self.found.values()) == before else write_document(value)

    def _piece(self, data: bytes) -> bytes:
        """Decoded only where a string of it is changed, and then only that string is looked at."""
        changes = {} if self._masks is None else find_changes(data, self._masks)
        if changes is None:
            return self._whole(data)
        if not changes and not (self._env and may_hold_env(data)):
            return data
        replacing = Replacing(changes, self._handed_out)
        before = quickly_read(data)
        try:
            value = replacing.value(before) if changes else before
        except KeyChangedError:
            return self._whole(data)
        if self._env and not holds_no_env(data):
            value = mask_env(value, self.found)
        if value is before:
            read_document(data)  # it goes on as it is: no name may stand in it twice
            return data
        for name, count in replacing.found.items():
            self.found[name] = self.found.get(name, 0) + count
        return write_document(value)

    def _may_hit(self, data: bytes) -> bool:
        """The cheap question: whether anything in it may have to be masked."""
        detectors = self._masks.detectors if self._masks is not None else None
        return (detectors is not None and detectors.hit(data)) or (self._env and may_hold_env(data))

    def _in_pieces(self, data: bytes) -> bytes | None:
        """A long list or Table: only the items in which the scanner stops are decoded. None: it is none."""
        try:
            members, name, parts = _take_apart(data)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        if not parts or not _is_list(members):
            return None
        made: list[bytes | memoryview] = []  # the document is long: it is copied once, at the end
        before = b"{"
        for key, value in members.items():
            made += (before, _encode(key), b":")
            before = b","
            if key == name:
                made += self._items(value, [memoryview(part).nbytes for part in parts])
            else:
                made.append(value if key == "metadata" else self._piece(bytes(value)))
        made.append(b"}")
        return b"".join(made)

    def _items(self, raw: memoryview, sizes: list[int]) -> list[bytes | memoryview]:
        """A JSON array whose elements have these sizes, one behind the other; those that hit are masked."""
        detectors = self._masks.detectors if self._masks is not None else None
        spots = list(detectors.spots(raw)) if detectors is not None else []
        if self._env:
            spots = sorted(spots + env_spots(raw))
        made: list[bytes | memoryview] = []
        at, copied, number = 1, 0, 0
        for size in sizes:
            if number >= len(spots):
                break
            while raw[at] in _BETWEEN:
                at += 1
            start, at = at, at + size
            hit = False
            while number < len(spots) and spots[number][0] < at:
                hit = True
                if spots[number][1] > at:
                    break  # it goes on in the next one
                number += 1
            if hit:
                made += (raw[copied:start], self._piece(bytes(raw[start:at])))
                copied = at
        made.append(raw[copied:])
        return made


def _is_list(members: dict[str, memoryview]) -> bool:
    """Whether it is a list or a Table of the API server and nothing more.

    An object of another kind may have a member `items` too: its metadata and its other members belong together.
    """
    if not members.keys() <= _OF_LISTS:
        return False
    try:
        return "metadata" not in members or _read_members(members["metadata"]).keys() <= _OF_LIST_METADATA
    except msgspec.DecodeError:
        return False


def _take_apart(data: bytes) -> tuple[dict[str, memoryview], str, list[msgspec.Raw]]:
    """The members of an object; the name of the list in it, and its elements. Raises ValueError for what is no object.

    The API server writes the list last: then only what is before it must be read to know where it begins.
    """
    for name in ("items", "rows"):
        at = data.find(f'"{name}":['.encode())
        end = len(data.rstrip(b" \t\r\n")) - 1
        if at > 0 and data[end : end + 1] == b"}":
            with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
                head = _read_members(data[:at] + f'"{name}":null}}'.encode())  # here an object's next member begins
                raw = memoryview(data)[at + len(name) + 3 : end]
                parts = _read_parts(raw)
                if name == "items" or "items" not in head:
                    members = {key: memoryview(value) for key, value in head.items()}
                    return members | {name: raw}, name, parts
    members = {key: memoryview(value) for key, value in _read_members(data).items()}
    name = next((name for name in ("items", "rows") if name in members), "")
    return members, name, _read_parts(members[name]) if name else []
