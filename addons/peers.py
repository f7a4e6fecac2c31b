"""What the gateway knows of each client connection: who it is, where it goes, its sessions, its time limits."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from mitmproxy.connection import Client
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler

from onrecord.addons.direct import Direct
from onrecord.addons.egress import Route
from onrecord.policies.identity import run_id
from onrecord.policies.model import Identity
from onrecord.recordings.auditor import Auditor, OpenSession
from onrecord.recordings.records import RefusalRecord
from onrecord.recordings.refusals import Refusals

log = logging.getLogger(__name__)

SLOWEST = 16 * 1024  # bytes a second of a request body, on the whole
DRAIN = 3.0  # seconds in which cut connections end by themselves


def protocol_of(route: Route | None) -> str:
    """What sessions and refusals on a route are called on record."""
    return "kubernetes" if route is not None and route.resource.type == "kubernetes" else "http"


@dataclass(slots=True)
class Peer:
    """One client connection. `tunnel` is the route of its CONNECT, or of the listener that serves a cluster alone
    (`direct`); `blocked` why nothing more may pass."""

    id: str
    client: str
    address: str
    identity: Identity | None = None
    login: str = ""
    token: bytes = b""
    certificate: str | None = None
    tunnel: Route | None = None
    tls_inside: bool = False
    inside: bool = False  # who it is, its requests inside the tunnel say: Kubernetes clients send a Bearer token there
    direct: Direct | None = None
    blocked: str = ""
    sessions: dict[str, OpenSession] = field(default_factory=dict)
    pinned: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    upstreams: dict[tuple[str, int, bool], Route] = field(default_factory=dict)
    on_close: list[Callable[[str], None]] = field(default_factory=list)
    head_timer: asyncio.TimerHandle | None = None
    expiry_timer: asyncio.TimerHandle | None = None

    def is_same_token(self, token: str) -> bool:
        """Whether this connection came with `token`."""
        return hashlib.sha256(token.encode()).digest() == self.token


class Peers:
    """All client connections of this process."""

    def __init__(
        self,
        handlers: Callable[[], dict[tuple[object, ...] | str, ProxyConnectionHandler]],
        *,
        limit: int,
        handshake_timeout: float,
        grace: float,
        refusals: Refusals,
    ) -> None:
        self._handlers, self._refusals = handlers, refusals
        self._limit, self._timeout, self._grace = limit, handshake_timeout, grace
        self._peers: dict[str, Peer] = {}
        self._draining = ""
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._peers)

    def add(self, client: Client) -> Peer | None:
        """A new connection; None where there are too many already."""
        host, port = client.peername[:2]
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self._draining:
            return None
        if len(self._peers) >= self._limit:
            self._record(host, name, f"there are {self._limit} connections already")
            return None
        peer = Peer(client.id, name, host)
        self._peers[client.id] = peer
        self.expect_head(peer)
        return peer

    def get(self, id: str) -> Peer | None:
        """The peer of a connection; None where it was never added or is gone."""
        return self._peers.get(id)

    def expect_head(self, peer: Peer) -> None:
        """A request head (or a TLS handshake) must now be complete in `handshake_timeout` seconds."""
        if peer.head_timer is None:
            loop = asyncio.get_running_loop()
            peer.head_timer = loop.call_later(self._timeout, self.refuse, peer.id, "no complete request in time")

    def expect_body(self, peer: Peer, size: int) -> asyncio.TimerHandle:
        """A body of at most `size` bytes must be complete in three such times and what it takes at a slow rate."""
        seconds = 3 * self._timeout + size / SLOWEST
        loop = asyncio.get_running_loop()
        return loop.call_later(seconds, self.refuse, peer.id, "no complete request body in time")

    def head_done(self, peer: Peer) -> None:
        """The head has come."""
        if peer.head_timer is not None:
            peer.head_timer.cancel()
            peer.head_timer = None

    def identify(self, peer: Peer, identity: Identity, token: str, login: str, auditor: Auditor) -> None:
        """Tie an identity to a connection; it ends when the token does."""
        if peer.identity is not None and peer.sessions:
            for opened in peer.sessions.values():
                auditor.end_session(opened, "the client came with a fresh token")
            peer.sessions.clear()
        peer.identity, peer.login = identity, login
        peer.token = hashlib.sha256(token.encode()).digest()
        if peer.expiry_timer is not None:
            peer.expiry_timer.cancel()
        if identity.expires_at:
            left = max(identity.expires_at + self._grace - time.time(), 0.0)
            loop = asyncio.get_running_loop()
            peer.expiry_timer = loop.call_later(left, self.kill, peer.id, "the token has expired")

    def session(self, peer: Peer, route: Route, auditor: Auditor) -> OpenSession:
        """The peer's session with a resource, begun where there is none. Raises auditor.RefusedError."""
        name = route.resource.name
        opened = peer.sessions.get(name)
        if opened is None:
            if peer.identity is None:
                raise RuntimeError("a session without an identity")
            opened = auditor.open_session(
                peer.identity,
                route.resource,
                run=run_id(peer.identity),
                protocol=protocol_of(route),
                client=peer.client,
                login=peer.login,
            )
            opened.on_kill = partial(self.kill, peer.id)
            peer.sessions[name] = opened
        return opened

    def note(self, id: str, reason: str, detail: str = "") -> None:
        """Put on record that what came on a connection is refused."""
        peer = self._peers.get(id)
        if peer is not None and not peer.blocked:
            self._record(peer.address, peer.client, reason, detail, peer)

    def refuse(self, id: str, reason: str) -> None:
        """`note`, and `kill`."""
        self.note(id, reason)
        self.kill(id, reason)

    def _record(self, address: str, client: str, reason: str, detail: str = "", peer: Peer | None = None) -> None:
        tunnel = peer.tunnel if peer is not None else None
        self._refusals.record(
            address,
            RefusalRecord(
                what="onrecord:protocol",
                reason=reason[:1000],
                protocol=protocol_of(tunnel),
                client=client,
                text="a connection" if tunnel is None else f"a connection to {tunnel.host}:{tunnel.port}",
                detail=detail[:1000],
                resource=tunnel.resource.name if tunnel is not None else "",
                identity=peer.identity if peer is not None else None,
            ),
        )

    def kill(self, id: str, reason: str) -> None:
        """Let nothing more pass on a connection, and close it with all its upstream connections."""
        peer = self._peers.get(id)
        if peer is not None:
            peer.blocked = peer.blocked or reason
        handler = self._handlers().get(id)
        if handler is None:
            return
        log.info("closing %s: %s", peer.client if peer else id, reason)
        handler.is_blocked = True  # type: ignore[attr-defined]  # gateway_core.py: not a byte more, either way
        for transport in list(handler.transports.values()):
            if transport.writer is not None and transport.handler is not None:
                transport.handler.cancel(reason)

    def remove(self, id: str, auditor: Auditor) -> None:
        """The connection is gone: its sessions end."""
        peer = self._peers.pop(id, None)
        if peer is None:
            return
        for timer in (peer.head_timer, peer.expiry_timer):
            if timer is not None:
                timer.cancel()
        reason = peer.blocked or "the client disconnected"
        for callback in list(peer.on_close):
            callback(reason)
        for opened in peer.sessions.values():
            auditor.end_session(opened, reason)
        peer.sessions.clear()
        if not self._peers:
            self._empty.set()  # only `drain` asks, and it lets no more in

    async def drain(self, reason: str, auditor: Auditor, patience: float = DRAIN) -> None:
        """Take no more connections and end all there are, with what they wait for; `reason` is on their records.

        A connection ends by itself once it is cut, which puts the outcome of its command on record first; what has not
        ended in `patience` seconds is ended here.
        """
        self._draining = reason
        self._empty.clear()
        for id in list(self._peers):
            self.kill(id, reason)
        if self._peers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), patience)
        for id in list(self._peers):
            self.remove(id, auditor)
