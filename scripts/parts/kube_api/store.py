"""Objects in memory, with resource versions, watches, patches and a little of server-side apply."""

from __future__ import annotations

import asyncio
import copy
import datetime
import uuid
from typing import Any

Key = tuple[str, str, str, str]  # group, plural, namespace, name


class StoreError(Exception):
    """A Status that the client gets."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


class Store:
    """All objects of the cluster."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.version = 1000
        self.oldest = 0  # watches from versions before this one are told that it is gone
        self.watches: list[tuple[str, str, str, asyncio.Queue[dict[str, Any] | None]]] = []

    def list(self, group: str, plural: str, namespace: str = "") -> list[dict[str, Any]]:
        """The objects of a kind, in a namespace or in all, by name."""
        found = [
            (key, value)
            for key, value in self.objects.items()
            if key[:2] == (group, plural) and (not namespace or key[2] == namespace)
        ]
        return [value for _, value in sorted(found, key=lambda pair: pair[0])]

    def check_version(self, since: str) -> None:
        """Whether a watch may begin at a version. Raises StoreError 410 where it is gone."""
        if since not in ("", "0") and int(since) < self.oldest:
            raise StoreError(410, "Expired", f"too old resource version: {since} ({self.oldest})")

    def get(self, key: Key) -> dict[str, Any]:
        """One object. Raises StoreError 404."""
        try:
            return self.objects[key]
        except KeyError:
            raise StoreError(404, "NotFound", f'{key[1]} "{key[3]}" not found') from None

    def create(self, key: Key, value: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """A new object, with what the server adds to its metadata."""
        if key in self.objects:
            raise StoreError(409, "AlreadyExists", f'{key[1]} "{key[3]}" already exists')
        made = copy.deepcopy(value)
        metadata = made.setdefault("metadata", {})
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata |= {"name": key[3], "uid": str(uuid.uuid4()), "creationTimestamp": now, "generation": 1}
        if key[2]:
            metadata["namespace"] = key[2]
        if "stringData" in made:
            import base64

            plain = {name: base64.b64encode(text.encode()).decode() for name, text in made.pop("stringData").items()}
            made["data"] = {**made.get("data", {}), **plain}
        return self._keep("ADDED", key, made, dry_run=dry_run)

    def replace(self, key: Key, value: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Another state of an object. Raises StoreError 409 where its resourceVersion is an old one."""
        before = self.get(key)
        made = copy.deepcopy(value)
        metadata = made.setdefault("metadata", {})
        wanted = metadata.get("resourceVersion")
        if wanted and wanted != before["metadata"]["resourceVersion"]:
            raise StoreError(409, "Conflict", f"the object {key[3]} has been modified")
        for name in ("name", "namespace", "uid", "creationTimestamp"):
            if name in before["metadata"]:
                metadata[name] = before["metadata"][name]
        metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
        if made == before:
            return before
        return self._keep("MODIFIED", key, made, dry_run=dry_run)

    def delete(self, key: Key, *, dry_run: bool = False) -> dict[str, Any]:
        """Take an object away."""
        value = self.get(key)
        if not dry_run:
            del self.objects[key]
            self.version += 1
            gone = copy.deepcopy(value)
            gone["metadata"]["resourceVersion"] = str(self.version)
            self._tell("DELETED", key, gone)
        return value

    def _keep(self, event: str, key: Key, made: dict[str, Any], *, dry_run: bool) -> dict[str, Any]:
        if dry_run:
            return made
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = made
        self._tell(event, key, made)
        return made

    def _tell(self, event: str, key: Key, value: dict[str, Any]) -> None:
        for group, plural, namespace, queue in self.watches:
            if key[:2] == (group, plural) and (not namespace or namespace == key[2]):
                queue.put_nowait({"type": event, "object": value})


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merge_patch(made.get(name), value)
    return made


_KEYS = ("name", "containerPort", "mountPath", "port", "type", "uid")


def strategic_patch(target: Any, patch: Any) -> Any:
    """Roughly a strategic merge: lists of named things are merged by name; `$` directives of order are left out."""
    if isinstance(patch, dict):
        made = dict(target) if isinstance(target, dict) else {}
        for name, value in patch.items():
            if name.startswith(("$setElementOrder", "$retainKeys")):
                continue
            if value is None:
                made.pop(name, None)
            else:
                made[name] = strategic_patch(made.get(name), value)
        return made
    if isinstance(patch, list) and patch and all(isinstance(item, dict) for item in patch):
        key = next((key for key in _KEYS if all(key in item for item in patch)), None)
        if key is not None:
            kept = [dict(item) for item in target or [] if isinstance(item, dict)]
            for item in patch:
                place = next((i for i, old in enumerate(kept) if old.get(key) == item[key]), None)
                if item.get("$patch") == "delete":
                    kept = [old for old in kept if old.get(key) != item[key]]
                elif place is None:
                    kept.append(item)
                else:
                    kept[place] = strategic_patch(kept[place], item)
            return kept
    return patch


def json_patch(target: Any, operations: list[dict[str, Any]]) -> Any:
    """RFC 6902: add, replace, remove, test, copy, move."""
    made = copy.deepcopy(target)
    for operation in operations:
        path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        op = operation["op"]
        if op in ("copy", "move"):
            source = [part.replace("~1", "/").replace("~0", "~") for part in operation["from"].split("/")[1:]]
            value = copy.deepcopy(_at(made, source))
            if op == "move":
                _remove(made, source)
        else:
            value = operation.get("value")
        if op == "test":
            if _at(made, path) != value:
                raise StoreError(422, "Invalid", "the test of a JSON patch failed")
        elif op == "remove":
            _remove(made, path)
        else:
            _put(made, path, value, insert=op != "replace")
    return made


def _at(value: Any, path: list[str]) -> Any:
    try:
        for part in path:
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (KeyError, IndexError, TypeError, ValueError):
        raise StoreError(422, "Invalid", "a JSON patch names what is not there") from None
    return value


def _remove(value: Any, path: list[str]) -> None:
    parent = _at(value, path[:-1])
    _at(parent, path[-1:])
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]


def _put(value: Any, path: list[str], new: Any, *, insert: bool) -> None:
    parent = _at(value, path[:-1])
    if isinstance(parent, list):
        place = len(parent) if path[-1] == "-" else int(path[-1])
        if insert:
            parent.insert(place, new)
        else:
            parent[place] = new
    else:
        parent[path[-1]] = new
