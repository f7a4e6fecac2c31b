"""The values of Secrets, masked wherever an object, a list, a Table, an event or a patch holds them. Pure."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from typing import Any

from onrecord.addons.kubernetes_api.env_values import MASKED, mask_env
from onrecord.policies.masking import REDACTED

REDACTED_DATA = base64.b64encode(REDACTED.encode()).decode()
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_PACKED = frozenset({"objectset.rio.cattle.io/applied"})  # compressed copies of the whole object
_VALUES = ("data", "stringData")


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


def _count(found: dict[str, int], number: int) -> None:
    if number:
        found["secret"] = found.get("secret", 0) + number
