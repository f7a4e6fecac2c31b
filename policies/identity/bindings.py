"""Where a token may be used from: client networks and the certificate it is bound to (RFC 8705)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_MAPPED = IPv6Network("::ffff:0:0/96")


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """CIDR texts as networks; an IPv4-mapped IPv6 network becomes its IPv4 network. Raises ValueError."""
    found: list[Network] = []
    for text in texts:
        network = ip_network(text, strict=False)
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            low = int(network.network_address) & 0xFFFFFFFF
            network = IPv4Network((low, network.prefixlen - 96))
        found.append(network)
    return tuple(found)


@lru_cache(maxsize=4096)
def client_address(client: str) -> Address | None:
    """The address in `client`: "10.0.0.1", "10.0.0.1:5432", "::1", "[::1]:5432"; None where there is none.

    An IPv4-mapped IPv6 address, as a dual-stack listener gives it, becomes its IPv4 address.
    """
    host = client
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def client_allowed(client: str, networks: tuple[Network, ...]) -> bool:
    """Whether `client` is in one of `networks`; with no networks every client is, with some an unknown one is not."""
    if not networks:
        return True
    address = client_address(client)
    return address is not None and any(address in network for network in networks if network.version == address.version)


def certificate_thumbprint(der: bytes) -> str:
    """The SHA-256 of a client certificate (DER) in hexadecimal: what `authenticate(cert_sha256=…)` takes."""
    return hashlib.sha256(der).hexdigest()


def decode_thumbprint(text: str) -> bytes | None:
    """32 bytes from `x5t#S256`'s base64url or from hexadecimal (colons allowed); None where it is neither."""
    try:
        if len(text) == 43:  # 32 bytes in unpadded base64url
            data = base64.b64decode(text + "=", altchars=b"-_", validate=True)
        else:
            data = bytes.fromhex(text.replace(":", ""))
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == hashlib.sha256().digest_size else None


def same_certificate(wanted: bytes, presented: str | None) -> bool:
    """Whether the presented certificate's thumbprint is `wanted`, in constant time."""
    found = decode_thumbprint(presented) if presented else None
    return found is not None and hmac.compare_digest(wanted, found)
