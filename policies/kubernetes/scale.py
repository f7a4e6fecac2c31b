"""How many replicas a command asks for."""

from __future__ import annotations

from typing import Any

from onrecord.policies.kubernetes.patches import PatchError, as_object, copies_to

_SCALED = frozenset({"deployments", "statefulsets", "replicasets", "replicationcontrollers"})


def replicas(resource: str, subresource: str, body: object, patch_type: str = "") -> int | None:
    """`spec.replicas` that a write of a workload or of its `scale` sets; None where it sets none.

    What a JSON patch copies there nobody knows beforehand: that is 0.
    """
    if subresource not in ("", "scale") or (not subresource and resource not in _SCALED):
        return None
    try:
        if patch_type == "json" and copies_to(body, ("spec", "replicas")):
            return 0
        value = as_object(body, patch_type) if patch_type else body
    except PatchError:
        return None
    found = [_of(one) for one in (value if isinstance(value, list) else [value])]
    counts = [count for count in found if count is not None]
    return min(counts) if counts else None


def _of(value: Any) -> int | None:
    spec = value.get("spec") if isinstance(value, dict) else None
    count = spec.get("replicas") if isinstance(spec, dict) else None
    if isinstance(count, bool) or not isinstance(count, int | float):
        return None
    return int(count)
