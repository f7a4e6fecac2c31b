"""Scaling a workload to nothing waits for a human."""

from __future__ import annotations

from onrecord.policies import Hold, KubeCommand, Verdict
from onrecord.policies.kubernetes import replicas

APPROVERS = ""  # a group; empty: whoever may approve on the resource


class HoldScaleToZero:
    """Holds a write that sets `spec.replicas` to 0, on a workload or its `scale`."""

    def kubernetes(self, command: KubeCommand) -> Verdict | None:
        if command.verb not in {"create", "update", "patch"} or command.dry_run:
            return None
        count = replicas(command.resource, command.subresource, command.body, command.patch_type)
        if count is None or count > 0:
            return None
        name = f"{command.resource}/{command.name}" + (f" in {command.namespace}" if command.namespace else "")
        return Hold(approvers=APPROVERS, reason=f"scaling {name} to zero")


addons = [HoldScaleToZero()]
