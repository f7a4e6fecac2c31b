"""Whom to count as one client."""

from __future__ import annotations

import ipaddress
from collections import Counter


def network_of(address: str) -> str:
    """What one client can have many addresses of: an IPv6 /64; of IPv4 the address. Others count as they are."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Door:
    """Counts connections: `most` in all, a quarter of them of one client.

    The last eighth is kept for clients that have none, so that no few of them shut others out.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, client: str) -> bool:
        """Count one more; False where there is no room for it."""
        limit = self._most - self._most // 8 if client in self._open else self._most
        if self._open.total() >= limit or self._open[client] >= max(4, self._most // 4):
            return False
        self._open[client] += 1
        return True

    def leave(self, client: str) -> None:
        """One that came in is gone."""
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]
