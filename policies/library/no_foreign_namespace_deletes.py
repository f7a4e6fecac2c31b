"""Deletes in listed namespaces only. Copy this file, edit OWN, and name the copy in mitm.toml."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from onrecord.policies import Deny, KubeCommand, Verdict

# Names, or patterns such as "agent-*".
OWN: tuple[str, ...] = ()


class NoForeignNamespaceDeletes:
    """Denies deletes and evictions outside of the listed namespaces, and of namespaces themselves."""

    def __init__(self, own: Iterable[str] = OWN) -> None:
        self.own = tuple(own)

    def kubernetes(self, command: KubeCommand) -> Verdict | None:
        if command.verb not in {"delete", "deletecollection"} and command.subresource not in {"eviction", "finalize"}:
            return None
        if command.resource == "namespaces":
            return Deny("namespaces are not for agents to delete", hint="ask the cluster's operators")
        if command.namespace and any(fnmatchcase(command.namespace, pattern) for pattern in self.own):
            return None
        where = f"in the namespace {command.namespace}" if command.namespace else "outside of all namespaces"
        return Deny(f"nothing {where} is yours to delete", hint="delete in your own namespaces only")


addons = [NoForeignNamespaceDeletes()]
