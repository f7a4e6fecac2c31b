"""Deletes in listed namespaces only. Copy this file, edit OWN, and name the copy in mitm.toml."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from onrecord.policies import Deny, KubeCommand, Verdict

# Names, or patterns such as "agent-*".
OWN: tuple[str, ...] = ()


class NoForeignNamespaceDeletes:
    """Denies deletes and evictions outside of the listed namespaces, and of namespaces themselves.

    Also an owner for what has none there: an object whose owner is gone is deleted by the cluster itself.
    """

    def __init__(self, own: Iterable[str] = OWN) -> None:
        self.own = tuple(own)

    def kubernetes(self, command: KubeCommand) -> Verdict | None:
        deletes = command.verb in {"delete", "deletecollection"} or command.subresource in {"eviction", "finalize"}
        if not deletes and not (command.verb in {"update", "patch"} and _gives_an_owner(command.body)):
            return None
        if command.resource == "namespaces":
            return Deny("namespaces are not for agents to delete", hint="ask the cluster's operators")
        if command.namespace and any(fnmatchcase(command.namespace, pattern) for pattern in self.own):
            return None
        where = f"in the namespace {command.namespace}" if command.namespace else "outside of all namespaces"
        return Deny(f"nothing {where} is yours to delete", hint="delete in your own namespaces only")


def _gives_an_owner(body: object) -> bool:
    """Whether a write of what is there already names owners of it, by an object or by a JSON patch."""
    if isinstance(body, list):
        return any(_names_owners(operation) for operation in body if isinstance(operation, dict))
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return isinstance(metadata, dict) and bool(metadata.get("ownerReferences"))


def _names_owners(operation: dict[str, object]) -> bool:
    path, value = operation.get("path"), operation.get("value")
    if operation.get("op") in {"remove", "test"} or not isinstance(path, str):
        return False
    if path.startswith("/metadata/ownerReferences"):
        return True
    inside = value if path == "" else {"metadata": value} if path == "/metadata" else None
    return _gives_an_owner(inside)


addons = [NoForeignNamespaceDeletes()]
