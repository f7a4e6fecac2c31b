"""A Kubernetes request as people read it: the raw request beside the kubectl line, and what a write changed. Pure."""

from __future__ import annotations

import difflib
import json
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from onrecord.recordings.display.neutral import clean
from onrecord.recordings.views import View

WRITES = frozenset({"create", "update", "patch", "delete"})
MAX_LINES = 200
MAX_OBJECT = 512 * 1024  # bytes of an object that is compared
MAX_KNOWN = 2000  # objects that are remembered
# What changes with every write, and tells a reader nothing.
_NOISE = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"})
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Key = tuple[str, str, str, str]


def request_line(view: View) -> str:
    """Method, path and query of a recorded request."""
    detail = view.get("detail") or {}
    query = detail.get("query")
    pairs = [pair for pair in query if isinstance(pair, list) and len(pair) == 2] if isinstance(query, list) else []
    shown = "&".join(f"{name}={value}" for name, value in pairs)
    return clean(f"{detail.get('method', '')} {detail.get('path', '')}" + (f"?{shown}" if shown else ""))[:2000]


def render_request(view: View) -> RenderableType:
    """The kubectl line, and below it the request itself."""
    line = Text(clean(view.get("text") or "–", lines=True))
    raw = request_line(view)
    return Group(line, Text(raw, style="dim")) if raw.strip() else line


class Changes:
    """Remembers objects as they were last read or written, so that a write can be shown as a difference."""

    def __init__(self) -> None:
        self._known: dict[Key, Any] = {}

    def learn(self, view: View) -> RenderableType | None:
        """Take in a command with its outcome; what it changed, where it was a write that went well."""
        detail = view.get("detail") or {}
        outcome = view.get("outcome") or {}
        if view.get("kind") != "kubernetes" or outcome.get("status") != "ok" or detail.get("subresource"):
            return None
        answer = _answer(view)
        group, resource = str(detail.get("group", "")), str(detail.get("resource", ""))
        if detail.get("verb") == "delete":
            before = self._known.pop(_key(group, resource, _named(detail)), None)
            return None if before is None else render_difference(before, None)
        shown: RenderableType | None = None
        items = answer.get("items") if isinstance(answer, dict) else None
        for one in items if isinstance(items, list) else [answer]:
            metadata = one.get("metadata") if isinstance(one, dict) else None
            if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
                continue
            key = _key(group, resource, metadata)
            if detail.get("verb") in WRITES and not detail.get("dry_run"):
                shown = render_difference(self._known.get(key), one)
            if len(self._known) < MAX_KNOWN or key in self._known:
                self._known[key] = one
        return shown


def render_difference(before: Any, after: Any) -> RenderableType | None:
    """The lines that differ between two objects; all of it where one of them is not known."""
    old, new = _lines(before), _lines(after)
    if old == new:
        return Text("nothing changed", style="dim")
    made = Text()
    count = 0
    for line in difflib.unified_diff(old, new, n=2, lineterm=""):
        if line.startswith(("---", "+++")):
            continue
        count += 1
        if count > MAX_LINES:
            made.append("… more (--json has all)\n", style="dim")
            break
        style = {"+": "green", "-": "red", "@": "cyan dim"}.get(line[:1], "dim")
        made.append(clean(line)[:500] + "\n", style=style)
    made.rstrip()
    return made


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return json.dumps(_plain(value), indent=2, sort_keys=True, ensure_ascii=False).splitlines()


def _plain(value: Any) -> Any:
    """An object without what changes at every write."""
    if not isinstance(value, dict):
        return value
    made = {name: item for name, item in value.items() if name != "status"}
    metadata = made.get("metadata")
    if isinstance(metadata, dict):
        kept = {name: item for name, item in metadata.items() if name not in _NOISE}
        annotations = kept.get("annotations")
        if isinstance(annotations, dict):
            kept["annotations"] = {name: item for name, item in annotations.items() if name != _LAST_APPLIED}
        made["metadata"] = kept
    return made


def _answer(view: View) -> Any:
    """The recorded body of an answer as JSON, None where it is none or not whole."""
    parts = [
        chunk["data"]
        for chunk in view.get("chunks", ())
        if chunk.get("direction") == "to_client" and isinstance(chunk.get("data"), str)
    ]
    sample = (view.get("outcome") or {}).get("sample")
    body = "".join(parts) if parts else sample.get("body") if isinstance(sample, dict) else None
    if not isinstance(body, str) or len(body) > MAX_OBJECT:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _named(detail: View) -> View:
    return {"name": detail.get("name", ""), "namespace": detail.get("namespace", "")}


def _key(group: str, resource: str, metadata: View) -> Key:
    return group, resource, str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
