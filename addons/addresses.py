"""Hosts and addresses in one spelling each. Pure.

A name can be written in many ways (case, trailing dot, IDNA, brackets, `0x7f.1`, `::ffff:127.0.0.1`); what decides must
see one. Numbers that only some resolvers read as an address are refused, not guessed (WHATWG URL, "ends in a number").
"""

from __future__ import annotations

import ipaddress
import re

from onrecord.policies.errors import DecodeError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)")
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_METADATA = frozenset({ipaddress.IPv4Address("168.63.129.16")})  # Azure's, in public space


class HostError(DecodeError):
    """The text is no host, or one that resolvers read differently."""


def normalise_host(text: str) -> str:
    """One spelling of a host: lower case, no trailing dot, A-labels, canonical addresses without brackets.

    Raises HostError.
    """
    host = text.strip()
    if host != text or not host:
        raise HostError(f"not a host: {text[:80]!r}")
    if host.startswith("[") or ":" in host:
        return _normalise_ipv6(text, host)
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise HostError(f"not a host name: {text[:80]!r}") from None
    host = host.lower()
    host = host.removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise HostError(f"not an IPv4 address in its usual form: {text[:80]!r}") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise HostError(f"not a host name: {text[:80]!r}")
    return host


def _normalise_ipv6(text: str, host: str) -> str:
    if host.startswith("["):
        if not host.endswith("]"):
            raise HostError(f"not an IPv6 address: {text[:80]!r}")
        host = host[1:-1]
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise HostError(f"not an IPv6 address: {text[:80]!r}") from None
    if address.scope_id:
        raise HostError(f"an IPv6 address with a zone: {text[:80]!r}")
    return str(address.ipv4_mapped or address)


def split_authority(text: str, default_port: int) -> tuple[str, int]:
    """`host[:port]` → normalised host and port. Raises HostError."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host += bracket
        if rest:
            if not rest.startswith(":"):
                raise HostError(f"not host:port: {text[:80]!r}")
            port = rest[1:]
    elif ":" in text:
        host, _, port = text.partition(":")
    if text.endswith(":") or (port and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536)):
        raise HostError(f"not a port: {text[:80]!r}")
    return normalise_host(host), int(port) if port else default_port


def is_address(host: str) -> bool:
    """Whether a host is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def unwrap(address: IpAddress) -> list[IpAddress]:
    """The address and every IPv4 address that it carries inside (mapped, compatible, NAT64, 6to4, Teredo)."""
    found: list[IpAddress] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return [address.ipv4_mapped]
        if address.sixtofour:
            found.append(address.sixtofour)
        if address.teredo:
            found.extend(address.teredo)
        if any(address in network for network in _NAT64) or address in _COMPATIBLE:
            found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def is_public(address: IpAddress) -> bool:
    """Whether an address is on the open internet: not private, loopback, link-local, shared, metadata or reserved."""
    inner = unwrap(address)
    if len(inner) > 1:  # a translation prefix: what it carries decides
        return all(is_public(part) for part in inner[1:])
    one = inner[0]
    return one.is_global and not one.is_multicast and not one.is_reserved and one not in _METADATA
