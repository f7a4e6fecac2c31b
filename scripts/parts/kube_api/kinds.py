"""The kinds that the small API server knows, their discovery documents and Tables."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_ALL = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


class Kind(NamedTuple):
    """One resource: its group ("" is core), plural, kind, whether it lies in a namespace, its subresources."""

    group: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    verbs: tuple[str, ...] = tuple(_ALL)

    @property
    def group_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"


KINDS = (
    Kind("", "pods", "Pod", True, ("log", "exec", "attach", "portforward", "eviction", "ephemeralcontainers", "status",
                                   "proxy", "binding"), ("po",)),
    Kind("", "services", "Service", True, ("status", "proxy"), ("svc",)),
    Kind("", "configmaps", "ConfigMap", True, (), ("cm",)),
    Kind("", "secrets", "Secret"),
    Kind("", "serviceaccounts", "ServiceAccount", True, ("token",), ("sa",)),
    Kind("", "events", "Event", True, (), ("ev",)),
    Kind("", "persistentvolumes", "PersistentVolume", False, (), ("pv",)),
    Kind("", "namespaces", "Namespace", False, ("status", "finalize"), ("ns",)),
    Kind("", "nodes", "Node", False, ("status", "proxy"), ("no",)),
    Kind("apps", "deployments", "Deployment", True, ("scale", "status"), ("deploy",)),
    Kind("apps", "replicasets", "ReplicaSet", True, ("scale", "status"), ("rs",)),
    Kind("apps", "statefulsets", "StatefulSet", True, ("scale", "status"), ("sts",)),
    Kind("apps", "daemonsets", "DaemonSet", True, ("status",), ("ds",)),
    Kind("batch", "jobs", "Job", True, ("status",)),
    Kind("batch", "cronjobs", "CronJob", True, ("status",), ("cj",)),
    Kind("rbac.authorization.k8s.io", "roles", "Role"),
    Kind("rbac.authorization.k8s.io", "rolebindings", "RoleBinding"),
    Kind("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", False),
    Kind("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", False),
    Kind("certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest", False,
         ("approval", "status"), ("csr",)),
    Kind("admissionregistration.k8s.io", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False),
    Kind("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", False, ("status",),
         ("crd",)),
    Kind("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, (), (), ("create",)),
    Kind("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, (), (), ("create",)),
    Kind("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", False, (), (), ("create",)),
    Kind("coordination.k8s.io", "leases", "Lease"),
    Kind("", "resourcequotas", "ResourceQuota", True, ("status",), ("quota",)),
    Kind("", "replicationcontrollers", "ReplicationController", True, ("scale", "status"), ("rc",)),
    Kind("networking.k8s.io", "ingresses", "Ingress", True, ("status",), ("ing",)),
    Kind("policy", "poddisruptionbudgets", "PodDisruptionBudget", True, ("status",), ("pdb",)),
    Kind("scheduling.k8s.io", "priorityclasses", "PriorityClass", False, (), ("pc",)),
)  # fmt: skip
_BY_NAME = {(kind.group, kind.plural): kind for kind in KINDS}
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS if kind.group))


def find(group: str, plural: str) -> Kind | None:
    """The kind of a resource."""
    return _BY_NAME.get((group, plural))


def resource_list(group: str) -> dict[str, Any] | None:
    """An APIResourceList; None where there is no such group."""
    kinds = [kind for kind in KINDS if kind.group == group]
    if not kinds:
        return None
    resources = []
    for kind in kinds:
        resources.append(
            {
                "name": kind.plural,
                "singularName": kind.kind.lower(),
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": list(kind.verbs),
                "shortNames": list(kind.short),
                "categories": ["all"] if kind.plural in ("pods", "services", "deployments", "replicasets") else [],
            }
        )
        for name in kind.subresources:
            shape = {"kind": kind.kind, "verbs": ["get", "patch", "update"]}
            if name == "scale":
                shape |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
            if name in ("eviction", "token", "binding"):
                shape = {
                    "kind": {"eviction": "Eviction", "token": "TokenRequest"}.get(name, "Binding"),
                    "verbs": ["create"],
                }
                shape |= {
                    "group": {"eviction": "policy", "token": "authentication.k8s.io"}.get(name, ""),
                    "version": "v1",
                }
            resources.append(
                {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced, **shape}
            )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/v1" if group else "v1",
        "resources": resources,
    }


def group_list() -> dict[str, Any]:
    """The APIGroupList of /apis."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [api_group(group) for group in GROUPS]}


def api_group(group: str) -> dict[str, Any]:
    """One group's versions."""
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": [version], "preferredVersion": version}


def bookmark(kind: Kind, version: str) -> bytes:
    """A watch event that only tells how far the watch has come."""
    mark = {"kind": kind.kind, "apiVersion": kind.group_version, "metadata": {"resourceVersion": version}}
    return json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n"


def table(
    kind: Kind, objects: list[dict[str, Any]], version: str, *, include: str = "Metadata", more: Any = None
) -> dict[str, Any]:
    """A meta/v1 Table, as `kubectl get` asks for."""
    columns = [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}]
    if kind.plural == "secrets":
        columns.append({"name": "Data", "type": "string", "format": "", "description": "", "priority": 0})
    if kind.plural == "pods":
        columns += [{"name": "Status", "type": "string", "format": "", "description": "", "priority": 0}]
    columns.append({"name": "Message", "type": "string", "format": "", "description": "", "priority": 0})
    rows = []
    for one in objects:
        cells: list[Any] = [one["metadata"]["name"]]
        if kind.plural == "secrets":
            cells.append(str(len(one.get("data") or {})))
        if kind.plural == "pods":
            cells.append((one.get("status") or {}).get("phase", "Running"))
        cells.append(str((one["metadata"].get("annotations") or {}).get("message", "")))
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]}
        rows.append({"cells": cells, "object": one if include == "Object" else partial})
    metadata = {"resourceVersion": version, **(more or {})}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }
