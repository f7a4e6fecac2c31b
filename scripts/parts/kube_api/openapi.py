"""Enough of OpenAPI v3 for kubectl: explain, validation by the server, and whether a resource takes dryRun."""

from __future__ import annotations

from typing import Any

from onrecord.scripts.parts.kube_api.kinds import GROUPS, KINDS, Kind


def index() -> dict[str, Any]:
    """/openapi/v3."""
    names = ["api/v1", *(f"apis/{group}/v1" for group in GROUPS)]
    return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash=1"} for name in names}}


def document(name: str) -> dict[str, Any] | None:
    """/openapi/v3/api/v1, /openapi/v3/apis/GROUP/v1."""
    group = "" if name == "api/v1" else name.removeprefix("apis/").removesuffix("/v1")
    kinds = [kind for kind in KINDS if kind.group == group]
    if not kinds:
        return None
    paths: dict[str, Any] = {}
    for kind in kinds:
        where = f"/{name}/" + ("namespaces/{namespace}/" if kind.namespaced else "") + f"{kind.plural}/{{name}}"
        paths[where] = {"patch": _operation(kind), "put": _operation(kind)}
    schemas = {f"io.k8s.api.{group or 'core'}.v1.{kind.kind}": _schema(kind) for kind in kinds}
    info = {"title": "Kubernetes", "version": "v1.33.0"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _gvk(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": "v1", "kind": kind.kind}


def _operation(kind: Kind) -> dict[str, Any]:
    names = ("dryRun", "fieldManager", "fieldValidation", "force")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in names]
    return {
        "operationId": f"patch{kind.kind}",
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": _gvk(kind),
    }


def _schema(kind: Kind) -> dict[str, Any]:
    text = {"type": "string", "description": "A text."}
    tree = {"type": "object", "description": "More of it.", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "type": "object",
        "description": f"{kind.kind} is one of the kinds of this server.",
        "properties": {"apiVersion": text, "kind": text, "metadata": tree, "spec": tree, "status": tree, "data": tree},
        "x-kubernetes-group-version-kind": [_gvk(kind)],
    }
