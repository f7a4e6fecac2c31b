"""Names resolved once a client connection, checked, and kept: what is dialled is what was checked."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from onrecord.addons.addresses import is_address
from onrecord.addons.egress import Destinations, RefusedDestinationError, Route
from onrecord.addons.peers import Peer

PROBE = 2.0  # seconds for one of several addresses to answer


async def pin(peer: Peer, route: Route, destinations: Destinations) -> tuple[str, int]:
    """The address to dial for `route` on this client connection, as (ip, port).

    Raises RefusedDestinationError where it may not be reached, OSError where the name does not resolve.
    """
    key = (route.upstream_host, route.upstream_port)
    pinned = peer.pinned.get(key)
    if pinned is None:
        pinned = await _resolve(route, destinations)
        peer.pinned[key] = pinned
    claim(peer, route, pinned)
    return pinned


def claim(peer: Peer, route: Route, address: tuple[str, int]) -> None:
    """Note which route an upstream address serves here; one upstream connection never serves two resources."""
    key = (*address, route.upstream_scheme == "https")
    owner = peer.upstreams.setdefault(key, route)
    if owner is not route and (owner.resource.name, owner.host) != (route.resource.name, route.host):
        raise RefusedDestinationError(
            f"this connection already reaches {owner.host} at the same address", "use another connection"
        )


async def _resolve(route: Route, destinations: Destinations) -> tuple[str, int]:
    port = route.upstream_port
    addresses = [route.upstream_host]
    if not is_address(route.upstream_host):
        found = await asyncio.get_running_loop().getaddrinfo(route.upstream_host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        destinations.check_address(route, address, port)  # all of them: a name with one bad address is a trick
    if not addresses:
        raise OSError(f"{route.upstream_host} has no address")
    if len(addresses) > 1:
        for address in addresses:
            if await _answers(address, port):
                return address, port
    return addresses[0], port


async def _answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE):
            _, writer = await asyncio.open_connection(address, port)
        writer.close()
        return True
    return False
