"""What a Kubernetes object or patch asks for, as far as rights and the node are concerned. Pure; knows no wire."""

from __future__ import annotations

from onrecord.policies.kubernetes.admin import admin_reasons
from onrecord.policies.kubernetes.dangers import dangers, pod_dangers
from onrecord.policies.kubernetes.patches import PatchError, as_object, operations, unknowable
from onrecord.policies.kubernetes.scale import replicas

__all__ = ["PatchError", "admin_reasons", "as_object", "dangers", "operations", "pod_dangers", "replicas", "unknowable"]
