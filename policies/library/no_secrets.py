"""No Secrets: neither read nor written, nor mounted into a pod of the agent's own."""

from __future__ import annotations

from onrecord.policies import Deny, KubeCommand, Verdict

_KEYS = frozenset({"secretKeyRef", "secretRef", "secret", "secretName"})


class NoSecrets:
    """Denies every command on Secrets, and workloads that would hand one to their containers."""

    def kubernetes(self, command: KubeCommand) -> Verdict | None:
        if command.resource == "secrets" and not command.group:
            return Deny("Secrets are not for agents", hint="refer to the Secret by name where it is already mounted")
        if command.body is not None and command.verb in {"create", "update", "patch"} and _names_a_secret(command):
            return Deny(
                "the object hands a Secret to a container", hint="leave Secrets to the workloads that have them already"
            )
        return None


def _names_a_secret(command: KubeCommand) -> bool:
    if command.resource in {"serviceaccounts", "ingresses", "configmaps"}:
        return False
    pending: list[object] = [command.body]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if any(key in _KEYS and value for key, value in item.items()) or item.get("kind") == "Secret":
                return True
            path = item.get("path")
            if isinstance(path, str) and not _KEYS.isdisjoint(path.split("/")):
                return True
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return False


addons = [NoSecrets()]
