"""Where a tunnel may lead, and what it would get round. Pure but for `resolve`.

A tunnel is judged by addresses, and goes upstream to the very address that was judged: a name that only the host could
resolve is refused. To an address of the host itself (loopback) the host's own addresses are added.
"""

from __future__ import annotations

import asyncio
import fnmatch
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from onrecord.policies.config import Address, Config, PostgresResource, SshResource
from onrecord.policies.config.listeners import all_listeners
from onrecord.policies.errors import DecodeError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ADDRESSES = 16
RESOLVE_TIMEOUT = 5.0
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_METADATA = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
_METADATA_NAMES = ("metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal")
_POSTGRES_SOCKET = re.compile(r"\.s\.PGSQL\.(\d{1,5})")


class DestinationError(DecodeError):
    """A destination that is no destination, or one that no tunnel leads to."""


class Route(NamedTuple):
    """A tunnel that would get round the gateway leads into its own listener instead."""

    resource: str
    listener: Address


def normal_host(text: str) -> str:
    """One spelling of a host: lower case, no trailing dot; an address as it is written. Raises DestinationError."""
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if isinstance(address, ipaddress.IPv6Address):
            if address.scope_id:
                raise DestinationError("an address with a zone")
            return str(address.ipv4_mapped or address)
        return str(address)
    host = host.lower().removesuffix(".")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise DestinationError("not a host")
    if re.fullmatch(r"(?:0x[0-9a-f]*|[0-9]+)", host.rpartition(".")[2]):
        raise DestinationError("not an address in its usual form")
    return host


def normal_socket(path: str) -> str:
    """A Unix socket's path. Raises DestinationError where it has other spellings."""
    parts = path.split("/")
    if (
        not path.startswith("/")
        or len(path) > 108
        or "\0" in path
        or any(part in ("", ".", "..") for part in parts[1:])
    ):
        raise DestinationError("not an absolute path of a socket in its usual form")
    return path


def listed(patterns: Iterable[str], host: str, port: int) -> bool:
    """Whether `HOST:PORT` patterns (`*` in either part) have the destination."""
    for pattern in patterns:
        wanted, _, number = pattern.rpartition(":")
        if pattern.startswith("unix:") or number not in ("*", str(port)):
            continue
        if fnmatch.fnmatchcase(host, wanted.strip("[]").lower()):
            return True
    return False


def listed_socket(patterns: Iterable[str], path: str) -> bool:
    """Whether `unix:PATH` patterns have the socket."""
    return any(pattern == f"unix:{path}" for pattern in patterns)


async def resolve(host: str) -> frozenset[IpAddress]:
    """The addresses of a host name or address, as this machine sees them. Empty where there are none."""
    try:
        return frozenset((plain(ipaddress.ip_address(host)),))
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return frozenset()
    texts = sorted({str(entry[4][0]).partition("%")[0] for entry in found})
    return frozenset(plain(ipaddress.ip_address(text)) for text in texts[:MAX_ADDRESSES])


def plain(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address stands for, else the address."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def forbidden(host: str, addresses: Iterable[IpAddress]) -> str:
    """Why no tunnel leads there, or ""."""
    if host in _METADATA_NAMES:
        return "a metadata service"
    for address in addresses:
        if address in _METADATA or address.is_link_local:
            return "a link-local address or a metadata service"
        if isinstance(address, ipaddress.IPv6Address) and (address.sixtofour or address.teredo or _translated(address)):
            return "an address that carries another one"
        if address.is_multicast or (address.is_reserved and not address.is_loopback):
            return "no address of one host"
    return ""


def _translated(address: ipaddress.IPv6Address) -> bool:
    return any(address in network for network in _NAT64)


_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


def means_itself(address: IpAddress) -> bool:
    """Whether a host that dials the address reaches itself."""
    return address.is_loopback or address.is_unspecified


def is_own(address: IpAddress) -> bool:
    """Whether the address is one of this machine."""
    if means_itself(address):
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
        return True


class Protected:
    """What the gateway protects, and itself, by address."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def listener_at(self, addresses: Iterable[IpAddress], port: int) -> str:
        """Which of the gateway's own listeners the destination is, or ""."""
        for name, listener in all_listeners(self._config).items():
            if listener.port == port and any(is_own(address) for address in addresses):
                return name.removeprefix("gateway.")
        return ""

    async def route(self, host: str, addresses: frozenset[IpAddress], port: int) -> Route | str | None:
        """The listener that serves the resource there; its name where no tunnel can; None where there is no resource.

        `addresses` as `seen_from` gives them.
        """
        gateway = self._config.gateway
        for name, resource in self._config.resources.items():
            if isinstance(resource, PostgresResource | SshResource):
                if resource.port != port or not await self._same(host, addresses, resource.host):
                    continue
                listener = gateway.postgres if isinstance(resource, PostgresResource) else gateway.ssh
                return Route(name, listener) if listener is not None else name
            if await self._is_web(host, addresses, port, resource):
                return name
        return None

    async def _is_web(self, host: str, addresses: frozenset[IpAddress], port: int, resource: object) -> bool:
        """A resource that is reached by name through the HTTP gateway: no byte stream can be led there."""
        names: tuple[str, ...] = getattr(resource, "hosts", ())
        if any(fnmatch.fnmatchcase(host, name.lower()) for name in names):
            return True
        upstream: str = getattr(resource, "upstream_host", "")
        ports = {443, 80} if not upstream else {443, 80, getattr(resource, "upstream_port", 443)}
        if port not in ports:
            return False
        for name in (*names, upstream):
            if name and "*" not in name and await self._same(host, addresses, name):
                return True
        return False

    async def _same(self, host: str, addresses: frozenset[IpAddress], other: str) -> bool:
        if host == other.lower().removesuffix(".") and not any(means_itself(address) for address in addresses):
            return True
        return bool(addresses & own_ones(await resolve(other)))

    async def seen_from(self, addresses: frozenset[IpAddress], dialler: str) -> frozenset[IpAddress]:
        """What `addresses` are when `dialler`, a host, dials them: its loopback is its own."""
        seen = frozenset(address for address in addresses if not means_itself(address))
        if seen != addresses:
            seen |= await resolve(dialler)
        return own_ones(seen)

    def is_own_socket(self, path: str) -> bool:
        """Whether a Unix socket lies among the gateway's own files."""
        return path.startswith(f"{self._config.gateway.state}/")

    def socket_of(self, path: str) -> str:
        """The PostgreSQL resource that a Unix socket may belong to, by its port, or ""."""
        match = _POSTGRES_SOCKET.fullmatch(path.rpartition("/")[2])
        if match is None:
            return ""
        for name, other in self._config.resources.items():
            if isinstance(other, PostgresResource) and other.port == int(match[1]):
                return name
        return ""


def own_ones(addresses: frozenset[IpAddress]) -> frozenset[IpAddress]:
    """With loopback among them where one is of this machine: all of its addresses are one host."""
    return addresses | _LOOPBACK if any(is_own(address) for address in addresses) else addresses


_LOOPBACK = frozenset(map(ipaddress.ip_address, ("127.0.0.1", "::1", "0.0.0.0", "::")))  # noqa: S104  # compared only
