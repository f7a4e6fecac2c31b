"""Where a notification may go: a URL → the address that is dialled, checked. No redirect is ever followed.

A name is resolved once, all of its addresses must be allowed, and one of them is dialled: what a name means later does
not count (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import NamedTuple

import httpx

from onrecord.policies.config import Address
from onrecord.policies.config.values import ip_of, is_loopback

# Prefixes that carry an IPv4 address inside, and so lead to networks that the outer address does not show.
_WRAPPED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")))


class ForbiddenAddressError(Exception):
    """The URL leads to where notifications may not go."""


class Dial(NamedTuple):
    """A request's parts: the URL with an address in it, and the name for Host and the certificate."""

    url: httpx.URL
    host: str
    name: str


async def dial(url: str, *, private: bool, own: tuple[Address, ...] = ()) -> Dial:
    """Resolve and check. `own` are the gateway's listeners, which are never called. Raises ForbiddenAddressError."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ForbiddenAddressError("not a URL") from error
    name = parsed.host
    if parsed.scheme not in ("https", "http") or not name or parsed.userinfo:
        raise ForbiddenAddressError("not an https:// URL without a user")
    if parsed.scheme == "http" and not (private and is_loopback(name)):
        raise ForbiddenAddressError("plain http is for this machine only, with private = true")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ForbiddenAddressError("the name cannot be resolved") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not private and not is_public(address):
            raise ForbiddenAddressError("the name leads to an address that is not public (private = true allows it)")
        if any(_is_listener(address, port, listener) for listener in own):
            raise ForbiddenAddressError("that is a listener of the gateway itself")
    if not addresses:
        raise ForbiddenAddressError("the name has no address")
    shown = f"[{name}]" if ":" in name else name
    return Dial(parsed.copy_with(host=addresses[0]), shown + (f":{parsed.port}" if parsed.port else ""), name)


def is_public(text: str) -> bool:
    """Whether an address is on the public internet, whatever it wraps."""
    ip = ip_of(text.partition("%")[0])
    if ip is None or not ip.is_global or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        return False
    return not (ip.version == 6 and any(ip in network for network in _WRAPPED))


def _is_listener(address: str, port: int, listener: Address) -> bool:
    ip, bound = ip_of(address.partition("%")[0]), ip_of(listener.host)
    if port != listener.port or ip is None:
        return False
    return ip == bound or ip.is_loopback or bound is None or bound.is_unspecified
