"""The kubectl line that would make a request: what a human reads. Pure."""

from __future__ import annotations

import shlex

from onrecord.addons.kubernetes_api.request import KubeRequest

_PATCH = {"json": "json", "merge": "merge", "strategic": "strategic"}
_WORDS = {"create": "create", "update": "replace", "patch": "patch", "delete": "delete", "deletecollection": "delete"}
_OWN_VERB = {"log": "logs", "exec": "exec", "attach": "attach", "portforward": "port-forward", "scale": "scale"}


def kubectl_line(request: KubeRequest, *, patch_type: str = "", name: str = "", argv: tuple[str, ...] = ()) -> str:
    """One line; `name` is the object's own where the path has none. Values of the body never stand in it."""
    if not request.resource:
        verb = "get --raw" if request.verb == "get" else f"{request.verb} --raw"
        return f"kubectl {verb} {shlex.quote(request.path)}"
    what = request.resource if request.group in ("", "apps", "batch") else f"{request.resource}.{request.group}"
    named = request.name or name
    where = f" -n {request.namespace}" if request.namespace and request.resource != "namespaces" else ""
    flags = _flags(request, patch_type)
    if request.subresource in ("log", "exec", "attach", "portforward") and request.resource == "pods":
        container = request.value("container")
        line = f"kubectl {_OWN_VERB[request.subresource]} {shlex.quote(named)}{where}"
        line += f" -c {shlex.quote(container)}" if container else ""
        if request.subresource in ("exec", "attach"):
            line += "".join(f" {flag}" for name, flag in (("stdin", "-i"), ("tty", "-t")) if name in request.flags)
        return line + flags + (f" -- {shlex.join(argv)}" if argv else "")
    if request.verb in ("get", "list", "watch"):
        line = f"kubectl get {what}"
        namespaced = f"{where}" if request.namespace else ""
    elif patch_type == "apply":
        line, namespaced = f"kubectl apply --server-side {what}", where
    else:
        line, namespaced = f"kubectl {_WORDS.get(request.verb, request.verb)} {what}", where
    line += f"/{shlex.quote(named)}" if named else (" --all" if request.verb == "deletecollection" else "")
    if request.subresource:
        flags = f" --subresource={request.subresource}" + flags
        if request.tail:
            flags += " " + shlex.quote("/" + "/".join(request.tail))
    return line + namespaced + flags


def _flags(request: KubeRequest, patch_type: str) -> str:
    found = []
    if request.verb == "watch":
        found.append("--watch")
    if "follow" in request.flags:
        found.append("--follow")
    if patch_type in _PATCH:
        found.append(f"--type={patch_type}")
    for name, flag in (("labelSelector", "-l"), ("fieldSelector", "--field-selector")):
        if value := request.value(name):
            found.append(f"{flag} {shlex.quote(value)}")
    if request.dry_run:
        found.append("--dry-run=server")
    return "".join(" " + flag for flag in found)
