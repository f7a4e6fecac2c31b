"""Values of environment variables whose names say that they are secret: masked like Secrets. Pure.

A password that stands in a pod's `env` in clear is a secret that nobody put into a Secret. It is found by its name, in
the object and in the copy that `kubectl apply` keeps in an annotation.
"""

from __future__ import annotations

import json
import re
from typing import Any

import re2

from onrecord.policies.masking import REDACTED

MASKED = "onrecord.internal/masked"
_WORDS = "passw|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential"
_NAME = re.compile(f"(?i){_WORDS}")
# Such a name with one of these ends tells where the secret is, or something about it.
_ABOUT = re.compile(r"(?i)[_-](?:file|path|dir|name|url|uri|ttl|expiry|seconds|enabled|type|length|issuer|audience)$")
_OPENS = ("{", "[")  # how JSON inside of a string begins
# The words in bytes: U+017F and U+212A are an s and a k to `_NAME`.
_BYTES = _WORDS.replace("[_-]", "%").replace("s", "(?:s|\u017f)").replace("k", "(?:k|\u212a)").replace("%", "[_-]")
# The scan of bytes that have not been decoded; quotes are escaped inside of an annotation, and an API server writes
# `<`, `>` and `&` as numbers.
_SPACE = r"(?:\s|\\+[nrt])*"
# A letter, `_` or `-` written as a number: nobody has to do that.
_SPELT = r"\\u(?i:00(?:2d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9a])|017f|212a)"
_SCAN = re2.compile(  # type: ignore[no-untyped-call]
    rf'{_SPELT}|name[\\]*"{_SPACE}:{_SPACE}[\\]*"(?:[^"\\]|\\+[^"\\])*(?i:{_BYTES})'.encode()
)
# Where it stops at nothing, no string behind a "name" holds such a word, however long and in whatever it is quoted.
# Inside of the words no escape stands but a letter written as a number; U+017F and U+212A are an s and a k to `_NAME`.
_WIDE = re2.compile(  # type: ignore[no-untyped-call]
    rf'\\u|\xc5\xbf|\xe2\x84\xaa|name\\*"(?:\s|\\+[nrt])*:(?:\s|\\+[nrt])*\\*"(?:[^"]|\\")*(?i:{_WORDS})'.encode()
)


def is_secret_env(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return _NAME.search(name) is not None and _ABOUT.search(name) is None


def may_hold_env(data: bytes) -> bool:
    """Whether JSON may hold such a variable; the cheap question."""
    return _SCAN.search(data) is not None


def holds_no_env(data: bytes) -> bool:
    """Whether `mask_env` surely changes nothing in this JSON."""
    return _WIDE.search(data) is None


def env_spots(data: bytes | memoryview) -> list[tuple[int, int]]:
    """Where in JSON the names of such variables stand, in order."""
    return [match.span() for match in _SCAN.finditer(data)]


def mask_env(value: Any, found: dict[str, int], *, mark: bool = True) -> Any:
    """`value` with such values replaced; the same object where there are none."""
    if isinstance(value, str):
        return _inside(value, found) if value.lstrip()[:1] in _OPENS else value
    if isinstance(value, list):
        return _mask_items(value, found, mark=mark)
    return _mask_members(value, found, mark=mark) if isinstance(value, dict) else value


def _mask_items(value: list[Any], found: dict[str, int], *, mark: bool) -> list[Any]:
    made: list[Any] | None = None  # a copy is only made of what changes
    for at, item in enumerate(value):
        masked = mask_env(item, found, mark=mark)
        if masked is not item:
            made = made if made is not None else list(value)
            made[at] = masked
    return value if made is None else made


def _mask_members(value: dict[str, Any], found: dict[str, int], *, mark: bool) -> dict[str, Any]:
    name, text = value.get("name"), value.get("value")
    if isinstance(name, str) and isinstance(text, str) and text and text != REDACTED and is_secret_env(name):
        found["env"] = found.get("env", 0) + 1
        value = {**value, "value": REDACTED}
    made: dict[str, Any] | None = None
    for key, item in value.items():
        if isinstance(item, str):
            masked: Any = _inside(item, found) if item.lstrip()[:1] in _OPENS else item
        elif isinstance(item, dict):
            masked = _mask_members(item, found, mark=mark)
        elif isinstance(item, list):
            masked = _mask_items(item, found, mark=mark)
        else:
            continue
        if masked is not item:
            made = made if made is not None else dict(value)
            made[key] = masked
    if made is None:
        return value
    metadata = made.get("metadata")
    if mark and isinstance(metadata, dict) and "items" not in made and "rows" not in made:
        notes = metadata.get("annotations")
        made["metadata"] = {**metadata, "annotations": {**(notes if isinstance(notes, dict) else {}), MASKED: "env"}}
    return made


def _inside(text: str, found: dict[str, int]) -> str:
    """JSON inside of a string that begins so: kubectl's last applied configuration."""
    if not may_hold_env(text.encode("utf-8", "surrogatepass")):
        return text
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return text
    masked = mask_env(inner, found, mark=False)
    return text if masked is inner else json.dumps(masked, separators=(",", ":")) + "\n"


def reveals_env(patch: Any) -> bool:
    """Whether a JSON patch gives a variable another name, copies its value away, or asks whether it is what it says.

    A value is known by its name: under another one it would be shown.
    """
    for operation in patch if isinstance(patch, list) else ():
        path, source = (str(operation.get(name, "")).casefold().split("/") for name in ("path", "from"))
        op = operation.get("op")
        if op in ("add", "replace", "copy", "move") and path[-1] == "name" and "env" in "/".join(path[-3:-1]):
            return True
        if op in ("copy", "move") and source[-1] == "value":
            return True
        if op == "test" and (_is_value(path) or mask_env(operation.get("value"), {}) is not operation.get("value")):
            return True
    return False


def _is_value(path: list[str]) -> bool:
    return path[-1] == "value" and "env" in "/".join(path)


def holds_masked_env(body: Any) -> bool:
    """Whether a write would put the mask into a variable, or writes a masked object back."""
    pending = [body]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if item.get(MASKED) is not None or (item.get("value") == REDACTED and isinstance(item.get("name"), str)):
                return True
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return False
