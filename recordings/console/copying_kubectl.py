"""A recorded Kubernetes request as kubectl. Pure.

What kubectl would widen is refused: a word that names several kinds, a body of another kind than the resource's.
"""

from __future__ import annotations

import json
import re
from typing import Any

from onrecord.recordings.console.quoting import CopyError, resource_name, shell_quote, word
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.views import View

# a closed list: kubectl takes "all" and other categories for many kinds at once, where the API knows no such resource
_CORE = frozenset(
    {
        "bindings", "componentstatuses", "configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes",
        "persistentvolumeclaims", "persistentvolumes", "pods", "podtemplates", "replicationcontrollers",
        "resourcequotas", "secrets", "serviceaccounts", "services",
    }
)  # fmt: skip
_PART = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_CASCADE = {"Background": "background", "Foreground": "foreground", "Orphan": "orphan"}
_SELECTORS = (("labelSelector", "--selector"), ("fieldSelector", "--field-selector"))


def kubectl(view: View) -> str:
    """One line. Raises CopyError."""
    detail: dict[str, Any] = view["detail"]
    verb, sub = str(detail["verb"]), str(detail.get("subresource") or "")
    words = ["kubectl", "--context", word(resource_name(view), "resource")]
    if space := str(detail.get("namespace") or ""):
        words += ["-n", _plain(space, "namespace")]
    if sub in ("exec", "log", "attach"):
        return " ".join([*words, *_streamed(sub, detail)])
    if sub and sub not in ("status", "scale"):
        raise CopyError(f"kubectl has no command for {clean(sub)}")
    what, named = _kind(detail), _named(detail)
    words += [f"--subresource={sub}"] if sub else []
    dry = ["--dry-run=server"] if detail.get("dry_run") else []
    if verb in ("get", "list", "watch"):
        watch = ["--watch"] if verb == "watch" else []
        return " ".join([*words, "get", what, *named, *(() if named else _selectors(detail)), *watch])
    if verb in ("delete", "deletecollection"):
        if not named and verb == "delete":
            raise CopyError("it names no object to delete")
        which = named or _selectors(detail) or ["--all"]
        return " ".join([*words, "delete", what, *which, *_how_deleted(detail), *dry])
    body = detail.get("body")
    if verb == "patch" and body is not None and named:
        kind = str(detail.get("patch_type") or ("merge" if isinstance(body, dict) else "json"))
        if kind not in ("json", "merge", "strategic"):
            raise CopyError(f"kubectl patch sends no {clean(kind)} patch: copy its text instead")
        return " ".join([*words, "patch", what, *named, f"--type={kind}", "-p", shell_quote(_json(body)), *dry])
    if verb in ("create", "update") and isinstance(body, dict):
        _check_kind(body, detail)
        command = "create" if verb == "create" else "replace"
        return f"printf %s {shell_quote(_json(body))} | {' '.join([*words, command, *dry, '-f', '-'])}"
    raise CopyError(
        f"kubectl has no command for {clean(verb)} of {clean(detail.get('resource'))}, or its body is not on record"
    )


def _streamed(sub: str, detail: dict[str, Any]) -> list[str]:
    container = [f"--container={_plain(str(detail['container']), 'container')}"] if detail.get("container") else []
    named = _named(detail)
    if not named:
        raise CopyError("it names no pod")
    if sub == "exec":
        argv = [str(each) for each in detail.get("argv") or ()]
        if not argv:
            raise CopyError("it records no program to run")
        return ["exec", *named, *container, "--", *map(shell_quote, argv)]
    return ["logs" if sub == "log" else "attach", *named, *container]


def _kind(detail: dict[str, Any]) -> str:
    """The resource as kubectl takes for this one alone: with its group, or one of the core's own."""
    resource, group = str(detail["resource"]), str(detail.get("group") or "")
    if (not group and resource not in _CORE) or not _PART.fullmatch(resource) or "." in resource:
        raise CopyError(f"kubectl could take {clean(resource)!r} for several kinds, or for none")
    return f"{resource}.{_plain(group, 'group')}" if group else resource


def _named(detail: dict[str, Any]) -> list[str]:
    name = str(detail.get("name") or "")
    if "/" in name or "," in name:
        raise CopyError(f"kubectl takes {clean(name)!r} for something else than a name")
    return [word(name, "name")] if name else []


def _plain(text: str, what: str) -> str:
    if not _PART.fullmatch(text):
        raise CopyError(f"its {what} {clean(text)!r} is no name of one")
    return text


def _query(detail: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in detail.get("query") or ()}


def _selectors(detail: dict[str, Any]) -> list[str]:
    query = _query(detail)
    return [f"{flag}={shell_quote(query[name])}" for name, flag in _SELECTORS if query.get(name)]


def _how_deleted(detail: dict[str, Any]) -> list[str]:
    """Flags for what the request says of the deletion, in its query or its body (DeleteOptions)."""
    body = detail.get("body")
    said = {**(body if isinstance(body, dict) else {}), **_query(detail)}
    if said.get("preconditions") or str(said.get("orphanDependents", "")).lower() == "true":
        raise CopyError("kubectl delete knows no preconditions and no orphanDependents: copy its text instead")
    flags = []
    if said.get("gracePeriodSeconds") is not None:
        flags.append(f"--grace-period={int(said['gracePeriodSeconds'])}")
    if said.get("propagationPolicy"):
        flags.append(f"--cascade={_CASCADE[str(said['propagationPolicy'])]}")
    return flags


def _check_kind(body: dict[str, Any], detail: dict[str, Any]) -> None:
    """kubectl follows the body, the API the path: they must say the same. Raises CopyError."""
    kind, resource = str(body.get("kind") or ""), str(detail["resource"])
    group, version = str(detail.get("group") or ""), str(detail.get("version") or "")
    stem = kind.lower()
    plurals = {stem, f"{stem}s", f"{stem}es", f"{stem[:-1]}ies"}
    wanted = f"{group}/{version}" if group else version
    if not kind or resource not in plurals or body.get("apiVersion", wanted) != wanted:
        raise CopyError(f"its body is a {clean(kind)!r}, which is not what its path names ({clean(resource)})")
    metadata = body.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    for field in ("namespace",) if detail["verb"] == "create" else ("name", "namespace"):
        if detail.get(field) and names.get(field, detail[field]) != detail[field]:
            raise CopyError(f"the {field} in its body is not the one in its path")


def _json(body: object) -> str:
    text = json.dumps(body, ensure_ascii=False)
    return text if clean(text) == text else json.dumps(body)
