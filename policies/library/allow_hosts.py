"""HTTP to listed hosts only. Copy this file, edit HOSTS, and name the copy in mitm.toml."""

from __future__ import annotations

from collections.abc import Iterable

from onrecord.policies import Deny, HttpCommand, Verdict

# Exact names, or "*.example.com" for every name below example.com (not for example.com itself).
HOSTS: tuple[str, ...] = ()


class AllowHosts:
    """Denies HTTP requests to hosts off the list; an empty list denies all."""

    def __init__(self, hosts: Iterable[str] = HOSTS) -> None:
        names = [host.lower().rstrip(".") for host in hosts]
        self.exact = frozenset(name for name in names if not name.startswith("*."))
        self.below = tuple(name[1:] for name in names if name.startswith("*."))

    def http(self, command: HttpCommand) -> Verdict | None:
        host = command.host.lower().rstrip(".")
        if host in self.exact or (self.below and host.endswith(self.below)):
            return None
        return Deny(f"{command.host} is not on the list of allowed hosts", hint="ask for the host to be added")


addons = [AllowHosts()]
