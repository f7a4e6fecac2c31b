"""Kubernetes objects masked: values of Secrets always, everything else by the configured masks. Pure.

What identifies an object and its version (names, uid, resourceVersion, managedFields, owners) is never changed, so that
clients go on working. A masked object carries the annotation MASKED: written back whole, it is known by it and refused,
or the mask would replace the real value. kubectl's own patches hold only what was changed, and pass.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections import OrderedDict
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from onrecord.addons.kubernetes_api.env_values import MASKED, env_spots, mask_env, may_hold_env
from onrecord.addons.kubernetes_api.failures import mask_failure
from onrecord.policies.masking import REDACTED, MaskError, Masks, mask_json

REDACTED_DATA = base64.b64encode(REDACTED.encode()).decode()
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
REMEMBERED = 50_000
_PACKED = frozenset({"objectset.rio.cattle.io/applied"})  # compressed copies of the whole object
_KEPT = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "ownerReferences", "finalizers", "continue",
    "remainingItemCount", "selfLink",
)  # fmt: skip
_VALUES = ("data", "stringData")


class HandedOut:
    """Hashes of the values that masking made up and agents have seen: none of them may be written into an object."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._limit = limit

    def add(self, text: str) -> None:
        self._seen[_hash(text)] = None
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)

    def __contains__(self, text: str) -> bool:
        return _hash(text) in self._seen

    def __bool__(self) -> bool:
        return bool(self._seen)


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def mask_secrets(value: Any, found: dict[str, int], *, mark: bool = True) -> Any:
    """`value` (a Secret, a list, a Table, a watch event, a patch) without the values of Secrets; a new object."""
    if isinstance(value, list):
        return [
            _operation(item, found) if _is_operation(item) else mask_secrets(item, found, mark=mark) for item in value
        ]
    if not isinstance(value, dict):
        return value
    made = dict(value)
    for name in ("items", "rows"):
        if isinstance(made.get(name), list):
            made[name] = [mask_secrets(item, found, mark=mark) for item in made[name]]
    if isinstance(made.get("object"), dict):
        made["object"] = mask_secrets(made["object"], found, mark=mark)
    return _secret(made, found, mark=mark)


def _secret(made: dict[str, Any], found: dict[str, int], *, mark: bool) -> dict[str, Any]:
    changed: list[str] = []
    clear = _clear_values(made)
    for name in _VALUES:
        if name in made and made[name] not in (None, {}):
            made[name] = _masked_values(made[name], REDACTED_DATA if name == "data" else REDACTED, found)
            changed.append(name)
    metadata = made.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(annotations, dict):
        clean = {key: _annotation(key, text, clear, found) for key, text in annotations.items()}
        if clean != annotations:
            changed.append("annotations")
            made["metadata"] = metadata = {**metadata, "annotations": clean}
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if isinstance(metadata, dict) and isinstance(labels, dict):
        shown = {key: REDACTED if isinstance(text, str) and text in clear else text for key, text in labels.items()}
        if shown != labels:
            _count(found, 1)
            changed.append("labels")
            made["metadata"] = metadata = {**metadata, "labels": shown}
    if mark and changed and isinstance(metadata, dict):
        kept = metadata.get("annotations")
        made["metadata"] = {**metadata, "annotations": {**(kept or {}), MASKED: ", ".join(changed)}}
    return made


def _clear_values(secret: dict[str, Any]) -> set[str]:
    """The values of a Secret, encoded and plain, that an annotation may repeat; also those that kubectl applied."""
    found: set[str] = set()
    metadata = secret.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    applied = annotations.get(LAST_APPLIED) if isinstance(annotations, dict) else None
    if isinstance(applied, str):
        with contextlib.suppress(ValueError, RecursionError):
            inner = json.loads(applied)
            if isinstance(inner, dict) and LAST_APPLIED not in applied:
                found |= _clear_values(inner)
    for name in _VALUES:
        values = secret.get(name)
        for text in values.values() if isinstance(values, dict) else ():
            if isinstance(text, str) and len(text) >= 4:
                found.add(text)
                if name == "data":
                    try:
                        found.add(base64.b64decode(text, validate=True).decode())
                    except (binascii.Error, UnicodeDecodeError, ValueError):
                        continue
    return {text for text in found if len(text) >= 4}


def _masked_values(values: Any, marker: str, found: dict[str, int]) -> Any:
    if isinstance(values, dict):
        made = {key: item if item is None else marker for key, item in values.items()}
        _count(found, sum(item is not None for item in values.values()))
        return made
    _count(found, 1)
    return marker


def _annotation(key: str, text: Any, clear: set[str], found: dict[str, int]) -> Any:
    if not isinstance(text, str):
        return text
    if key in _PACKED:
        _count(found, 1)
        return REDACTED
    if text.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(text)
        except (ValueError, RecursionError):
            _count(found, 1)
            return REDACTED
        masked = mask_secrets(inner, found, mark=False)
        return text if masked == inner else json.dumps(masked, separators=(",", ":")) + "\n"
    if key == LAST_APPLIED or any(one in text for one in clear):
        _count(found, 1)
        return REDACTED
    return text


def _is_operation(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("op"), str) and isinstance(item.get("path"), str)


def _operation(item: dict[str, Any], found: dict[str, int]) -> dict[str, Any]:
    """One operation of a JSON patch on a Secret."""
    if "value" not in item:
        return item
    path = item["path"].split("/")
    if path[1:2] in (["data"], ["stringData"]):
        marker = REDACTED_DATA if path[1] == "data" else REDACTED
        return {**item, "value": _masked_values(item["value"], marker, found)}
    if path[1:3] == ["metadata", "annotations"]:
        value = item["value"]
        if isinstance(value, dict):
            return {**item, "value": {key: _annotation(key, text, set(), found) for key, text in value.items()}}
        return {**item, "value": _annotation(path[3].replace("~1", "/") if len(path) > 3 else "", value, set(), found)}
    return {**item, "value": mask_secrets(item["value"], found, mark=False)}


def reveals_secrets(patch: Any) -> bool:
    """Whether a JSON patch of a Secret puts its values where they are shown, or asks whether they are what it says."""
    for operation in patch if isinstance(patch, list) else ():
        op = operation.get("op") if isinstance(operation, dict) else None
        source = operation.get("path" if op == "test" else "from", "") if op in ("copy", "move", "test") else None
        if source is not None and (not isinstance(source, str) or _leads_to_values(source.split("/")[1:])):
            return True
    return False


def _leads_to_values(path: list[str]) -> bool:
    """Whether a JSON pointer's parts lead to values of a Secret, or to something that holds them."""
    if path[:1] == ["metadata"]:
        return len(path) == 1 or path[1] == "annotations"
    return path[:1] in ([], [""], ["data"], ["stringData"])


def without_secrets(value: Any) -> Any:
    """A body as it may stand on record: the values of Secrets, and of variables named as one, are masked in it."""
    return mask_env(_without_secrets(value), {}, mark=False)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, dict):
        if value.get("kind") == "Secret":
            value = mask_secrets(value, {}, mark=False)
        return {key: _without_secrets(item) for key, item in value.items()}
    return value


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
            for name in _KEPT:
                if name in before["metadata"]:
                    after["metadata"][name] = before["metadata"][name]
        for name in ("apiVersion", "kind"):
            if isinstance(before.get(name), str) and name in after:
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


def holds_mask(body: Any, handed_out: HandedOut) -> bool:
    """Whether a write would put a mask where a real value is."""
    pending = [body]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.values()
            if item.get(MASKED) is not None:
                return True
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str) and (
            REDACTED in item or item == REDACTED_DATA or MASKED in item or (handed_out and item in handed_out)
        ):
            return True
    return False


def _count(found: dict[str, int], number: int) -> None:
    if number:
        found["secret"] = found.get("secret", 0) + number


_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BETWEEN = frozenset(b" \t\r\n,")
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def read_document(data: bytes) -> Any:
    """A JSON document of the API server. Raises MaskError."""
    try:
        return json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_float=Decimal, parse_constant=_no_constant
        )
    except (ValueError, RecursionError, ArithmeticError):
        raise MaskError("what calls itself JSON cannot be read as JSON") from None


def _quickly_read(data: bytes) -> Any:
    """The same for what is written anew from what was read, so that a member's second value is never seen."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return read_document(data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise MaskError("a name stands twice in a JSON object")
    return made


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


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
        return data if sum(self.found.values()) == before else _encoded(value)

    def _piece(self, data: bytes) -> bytes:
        """Decoded only where a string of it is changed, and then only that string is looked at."""
        changes = self._changes(data)
        if changes is None:
            return self._whole(data)
        if not changes and not (self._env and may_hold_env(data)):
            return data
        replacing = _Replacing(changes, self._handed_out)
        before = _quickly_read(data)
        try:
            value = replacing.value(before) if changes else before
        except _KeyChangedError:
            return self._whole(data)
        if self._env:
            value = mask_env(value, self.found)
        if value is before:
            read_document(data)  # it goes on as it is: no name may stand in it twice
            return data
        for name, count in replacing.found.items():
            self.found[name] = self.found.get(name, 0) + count
        return _encoded(value)

    def _changes(self, data: bytes) -> dict[str, _Change] | None:
        """The strings in it that are masked. None: something else may be, such as a number.

        Most of what the scanner stops at is nothing: a uid is no card.
        """
        detectors = self._masks.detectors if self._masks is not None else None
        found: dict[str, _Change] = {}
        if detectors is None:
            return found
        strings = _STRING.finditer(data)
        token = next(strings, None)
        for start, end in detectors.spots(data):
            while token is not None and token.end() <= start:
                token = next(strings, None)
            if token is None or token.start() > start or token.end() < end:
                return None
            try:
                text = json.loads(token[0])
            except ValueError:
                return None
            if text not in found:
                counts: dict[str, int] = {}
                clean = detectors.clean(text, counts)
                if clean != text:
                    found[text] = _Change(clean, counts)
        return found

    def _may_hit(self, data: bytes) -> bool:
        """The cheap question: whether anything in it may have to be masked."""
        detectors = self._masks.detectors if self._masks is not None else None
        return (detectors is not None and detectors.hit(data)) or (self._env and may_hold_env(data))

    def _in_pieces(self, data: bytes) -> bytes | None:
        """A long list or Table: only the items in which the scanner stops are decoded. None: it is none."""
        try:
            members = _read_members(data)
            name = next((name for name in ("items", "rows") if name in members), "")
            raw = bytes(members[name]) if name else b""
            parts = _read_parts(raw) if name else []
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        if not parts:
            return None
        made: dict[str, Any] = {
            key: msgspec.Raw(self._piece(bytes(value))) if key not in (name, "metadata") else value
            for key, value in members.items()
        }
        made[name] = msgspec.Raw(self._items(raw, [memoryview(part).nbytes for part in parts]))
        return _encode(made)

    def _items(self, raw: bytes, sizes: list[int]) -> bytes:
        """A JSON array whose elements have these sizes, one behind the other; those that hit are masked."""
        detectors = self._masks.detectors if self._masks is not None else None
        spots = list(detectors.spots(raw)) if detectors is not None else []
        if self._env:
            spots = sorted(spots + env_spots(raw))
        made: list[bytes] = []
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
                made += (raw[copied:start], self._piece(raw[start:at]))
                copied = at
        return b"".join((*made, raw[copied:]))


class _Change(NamedTuple):
    """What stands in a string's place, and what was found in it."""

    clean: str
    found: dict[str, int]


class _KeyChangedError(Exception):
    """A key is masked, not a value: the whole document must be looked at."""


class _Replacing:
    """Puts changes into a document, but for what identifies objects. `found` counts."""

    def __init__(self, changes: dict[str, _Change], handed_out: HandedOut) -> None:
        self._changes, self._handed_out = changes, handed_out
        self.found: dict[str, int] = {}

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            change = self._changes.get(value)
            return value if change is None else self._changed(change)
        if isinstance(value, dict):
            return self._object(value)
        return [self.value(item) for item in value] if isinstance(value, list) else value

    def _changed(self, change: _Change) -> str:
        for name, count in change.found.items():
            self.found[name] = self.found.get(name, 0) + count
        if REDACTED not in change.clean:
            self._handed_out.add(change.clean)
        return change.clean

    def _object(self, value: dict[str, Any], kept: tuple[str, ...] = ("apiVersion", "kind")) -> dict[str, Any]:
        if not self._changes.keys().isdisjoint(value):
            raise _KeyChangedError
        made: dict[str, Any] = {}
        for key, item in value.items():
            if key in kept:
                made[key] = item
            elif key == "metadata" and isinstance(item, dict):
                made[key] = self._object(item, _KEPT)
            else:
                made[key] = self.value(item)
        metadata = made.get("metadata")
        if isinstance(metadata, dict) and "items" not in value and "rows" not in value and made != value:
            notes = metadata.get("annotations")
            metadata["annotations"] = {**(notes if isinstance(notes, dict) else {}), MASKED: "values"}
        return made


def _encoded(value: Any) -> bytes:
    try:
        return _encode(value)
    except (ValueError, TypeError, RecursionError):
        raise MaskError("a masked answer could not be written") from None
