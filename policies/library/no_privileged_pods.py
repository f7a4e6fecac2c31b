"""No pod that can leave its container: privileged, host namespaces, host paths, capabilities, in any kind or patch."""

from __future__ import annotations

from onrecord.policies import Deny, KubeCommand, Verdict
from onrecord.policies.kubernetes import PatchError, as_object, pod_dangers, unknowable


class NoPrivilegedPods:
    """Holds also where the resource says `admin = "allow"`."""

    def kubernetes(self, command: KubeCommand) -> Verdict | None:
        if command.body is None or command.resource in {"customresourcedefinitions", "configmaps"}:
            return None
        try:
            value = as_object(command.body, command.patch_type) if command.patch_type else command.body
            if command.patch_type and unknowable(command.body, command.patch_type):
                return Deny(
                    "what a JSON patch copies or moves cannot be known beforehand",
                    hint="use add or replace with a value",
                )
        except PatchError as error:
            return Deny(str(error))
        found = pod_dangers(value)
        if not found:
            return None
        return Deny(
            "the pod could leave its container: " + ", ".join(found),
            hint="use the Pod Security Standards' baseline profile",
        )


addons = [NoPrivilegedPods()]
