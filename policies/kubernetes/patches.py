"""Patches as the object that they would at most make of an empty one, so that one search finds what they set."""

from __future__ import annotations

from typing import Any

from onrecord.policies.errors import DecodeError

_DIRECTIVES = frozenset({"$patch", "$retainKeys"})  # of a strategic merge patch: they drop what is not named
MAX_OPERATIONS = 10_000  # the API server's own limit


class PatchError(DecodeError):
    """What calls itself a patch is none."""


def as_object(patch: object, patch_type: str) -> object:
    """The object whose fields `patch` sets. A merge, strategic or apply patch is one; a JSON patch becomes a list."""
    if patch_type != "json":
        if not isinstance(patch, dict):
            raise PatchError("a patch that is no object")
        return patch
    return [_wrapped(_path(operation, "path"), operation.get("value")) for operation in operations(patch)]


def operations(patch: object) -> list[dict[str, Any]]:
    """The operations of a JSON patch (RFC 6902). Raises PatchError."""
    if not isinstance(patch, list) or len(patch) > MAX_OPERATIONS:
        raise PatchError("a JSON patch that is no list of at most 10,000 operations")
    for operation in patch:
        if not isinstance(operation, dict) or operation.get("op") not in (
            "add", "replace", "remove", "test", "move", "copy",
        ):  # fmt: skip
            raise PatchError("a JSON patch with something that is no operation")
        _path(operation, "path")
        if operation["op"] in ("move", "copy"):
            _path(operation, "from")
    return patch


def unknowable(patch: object, patch_type: str) -> bool:
    """Whether it sets a field to what only the live object knows (JSON patch `copy` and `move`)."""
    return patch_type == "json" and any(operation["op"] in ("move", "copy") for operation in operations(patch))


def copies_to(patch: object, place: tuple[str, ...]) -> bool:
    """Whether a JSON patch copies or moves something to `place`, or to what holds it. Raises PatchError."""
    return any(
        one["op"] in ("move", "copy") and tuple(_path(one, "path")) == place[: len(_path(one, "path"))]
        for one in operations(patch)
    )


def may_drop_labels(verb: str, body: object, patch_type: str) -> bool:
    """Whether a write may take labels away without naming them: what it leaves out of an object is gone."""
    if patch_type == "json":
        try:
            found = operations(body)
        except PatchError:
            return True
        paths = [_path(one, name) for one in found if one["op"] != "test" for name in ("path", "from") if name in one]
        return any(path == ["metadata", "labels"][: len(path)] for path in paths)
    if patch_type in ("", "apply"):
        return bool(patch_type) or verb == "update"
    metadata = body.get("metadata", {}) if isinstance(body, dict) else None
    labels = metadata.get("labels", {}) if isinstance(metadata, dict) else None
    return any(not isinstance(part, dict) or not _DIRECTIVES.isdisjoint(part) for part in (body, metadata, labels))


def _path(operation: dict[str, Any], name: str) -> list[str]:
    text = operation.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(f"a JSON patch whose {name} is no JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _wrapped(path: list[str], value: object) -> object:
    for part in reversed(path[-64:]):
        value = {part: value}
    return value
