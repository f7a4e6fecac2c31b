"""Patches as the object that they would at most make of an empty one, so that one search finds what they set."""

from __future__ import annotations

from typing import Any

from onrecord.policies.errors import DecodeError

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


def _path(operation: dict[str, Any], name: str) -> list[str]:
    text = operation.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(f"a JSON patch whose {name} is no JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _wrapped(path: list[str], value: object) -> object:
    for part in reversed(path[-64:]):
        value = {part: value}
    return value
