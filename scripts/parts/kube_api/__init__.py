"""A small Kubernetes API server, for tests and benchmarks: `with KubeApi("prod.k8s.internal") as api:`."""

from __future__ import annotations

from onrecord.scripts.parts.kube_api.server import AuditEntry, KubeApi

__all__ = ["AuditEntry", "KubeApi"]
