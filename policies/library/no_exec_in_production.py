"""No exec, attach, port-forward, debug container or proxy in production. Copy this file to edit PRODUCTION."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from onrecord.policies import Deny, KubeCommand, Verdict

# Namespaces, or patterns such as "prod-*".
PRODUCTION: tuple[str, ...] = ("prod", "prod-*", "production", "production-*", "*-prod", "*-production", "kube-system")
_INTO_A_POD = frozenset({"exec", "attach", "portforward", "ephemeralcontainers", "proxy"})


class NoExecInProduction:
    """Denies what reaches into a running pod there; a node's proxy reaches into all pods, so it is always denied."""

    def __init__(self, production: Iterable[str] = PRODUCTION) -> None:
        self.production = tuple(production)

    def kubernetes(self, command: KubeCommand) -> Verdict | None:
        if command.subresource not in _INTO_A_POD or (
            command.subresource == "ephemeralcontainers" and command.verb == "get"
        ):
            return None
        if command.resource == "nodes" or any(fnmatchcase(command.namespace, name) for name in self.production):
            return Deny(
                f"{command.subresource} is not for agents in {command.namespace or 'all of the cluster'}",
                hint="use kubectl logs, get and describe; ask for a change to be rolled out",
            )
        return None


addons = [NoExecInProduction()]
