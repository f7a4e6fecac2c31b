"""Which destination is which resource. Pure: names in, a route or a refusal out.

Everything that is no configured resource is refused, unless `egress` lets it be recorded under the pseudo-resource
"egress"; then only public addresses may be reached.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from onrecord.addons.addresses import HostError, IpAddress, is_public, normalise_host, split_authority, unwrap
from onrecord.policies.config import Address, Config, HttpResource, KubernetesResource
from onrecord.policies.config.listeners import all_listeners
from onrecord.policies.errors import DecodeError
from onrecord.policies.model import Identity, Resource

EGRESS = "egress"


class RefusedDestinationError(DecodeError):
    """A destination that may not be reached. `policy`, `reason` and `hint` are for the client and the record."""

    def __init__(self, reason: str, hint: str = "", *, policy: str = "onrecord:egress", resource: str = "") -> None:
        super().__init__(reason)
        self.policy, self.reason, self.hint, self.resource = policy, reason, hint, resource


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: the agent's view (`scheme`, `host`, `port`) and the upstream's.

    `config` is None for the pseudo-resource "egress".
    """

    resource: Resource
    config: HttpResource | None
    scheme: str
    host: str
    port: int
    upstream_scheme: str
    upstream_host: str
    upstream_port: int


class Destinations:
    """The configured resources by host and port. Raises HostError for a host that cannot be spelt in one way."""

    def __init__(self, config: Config) -> None:
        self._egress = config.gateway.egress
        self._hosts: dict[tuple[str, int | None], HttpResource] = {}
        self._wildcards: list[tuple[str, HttpResource]] = []  # ".example.com": every name below, at any depth
        self._resources: dict[str, Resource] = {}
        self._unserved: dict[str, tuple[str, str]] = {}
        for resource in config.resources.values():
            for entry in getattr(resource, "hosts", ()):
                if entry.startswith("*.") and isinstance(resource, HttpResource):
                    self._wildcards.append((entry[1:], resource))
                    continue
                host, port = split_authority(entry, 0)
                if isinstance(resource, HttpResource):
                    self._hosts[host, port or None] = resource
                else:
                    self._unserved[host] = (resource.name, resource.type)
            self._resources[resource.name] = Resource(
                name=resource.name,
                type=resource.type,
                groups=resource.groups,
                default=resource.default,
                admin=resource.admin,
                unknown=resource.unknown,
            )
        self._pseudo = Resource(name=EGRESS, type="http", default=self._egress)
        self._listeners = list(all_listeners(config).values())

    def find(self, host: str, port: int, scheme: str, identity: Identity) -> Route:
        """The route to a normalised `host`. Raises RefusedDestinationError."""
        config = self._config_of(host, port)
        if config is None:
            return self._find_egress(host, port, scheme)
        if config.groups and not set(config.groups) & set(identity.groups):
            raise RefusedDestinationError(
                f"{identity.subject} is in no group that may use {config.name}",
                "ask for access to one of the resource's groups",
                policy="onrecord:identity",
                resource=config.name,
            )
        if scheme == "http" and not (config.plaintext or config.upstream_scheme == "http"):
            raise RefusedDestinationError(
                f"{config.name} is reached over TLS only", f"use https://{host}", resource=config.name
            )
        return self._route(config, scheme, host, port)

    def find_for_later(self, host: str, port: int) -> Route | None:
        """The route to a cluster, whose clients say inside of the tunnel who they are; None for all others.

        Nothing may pass on it before `find` has been asked with their identity.
        """
        config = self._config_of(host, port)
        return self._route(config, "https", host, port) if isinstance(config, KubernetesResource) else None

    def direct(self, config: KubernetesResource) -> Route:
        """The route of a listener that serves this cluster alone, under the first name that is no wildcard."""
        host, port = split_authority(next(host for host in config.hosts if not host.startswith("*.")), 443)
        return self._route(config, "https", host, port)

    def _config_of(self, host: str, port: int) -> HttpResource | None:
        config = self._hosts.get((host, port))
        if config is None and port in (80, 443):
            config = self._hosts.get((host, None))
            if config is None:
                config = next((one for end, one in self._wildcards if host.endswith(end)), None)
        return config

    def _route(self, config: HttpResource, scheme: str, host: str, port: int) -> Route:
        resource = self._resources[config.name]
        if config.upstream_host:
            upstream_port = config.upstream_port or (443 if config.upstream_scheme == "https" else 80)
            return Route(
                resource, config, scheme, host, port, config.upstream_scheme, config.upstream_host, upstream_port
            )
        return Route(resource, config, scheme, host, port, scheme, host, port)

    def _find_egress(self, host: str, port: int, scheme: str) -> Route:
        if host in self._unserved:
            name, kind = self._unserved[host]
            raise RefusedDestinationError(f"resources of type {kind} are not served over HTTP yet", resource=name)
        if self._egress != "allow":
            raise RefusedDestinationError(
                f"{host}:{port} is not a configured resource", "ask for it to be added to [resources]"
            )
        return Route(self._pseudo, None, scheme, host, port, scheme, host, port)

    def check_address(self, route: Route, address: str, port: int) -> None:
        """Whether a resolved address may be dialled for `route`. Raises RefusedDestinationError."""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            raise RefusedDestinationError(f"not an address: {address[:80]!r}") from None
        if self.is_own_listener(ip, port):
            raise RefusedDestinationError(f"{route.host}:{port} is the gateway itself")
        if route.config is None and not is_public(ip):
            raise RefusedDestinationError(f"{route.host} is at {ip}, which is not a public address")

    def is_own_listener(self, ip: IpAddress, port: int) -> bool:
        """Whether one of the gateway's own listeners answers at this address."""
        return any(port == listener.port and _listens_on(listener, ip) for listener in self._listeners)


def _listens_on(listener: Address, ip: IpAddress) -> bool:
    try:
        bound = ipaddress.ip_address(normalise_host(listener.host))
    except (HostError, ValueError):
        return True  # a name: any address with this port may be ours
    if bound.is_unspecified:
        return True
    inner = unwrap(ip)
    local = any(part.is_loopback or part.is_unspecified for part in inner)
    return bound in inner or (bound.is_loopback and local)
