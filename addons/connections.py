"""Client and upstream connections: how many, for how long, who, and where to."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from onrecord.addons.addresses import HostError, split_authority
from onrecord.addons.direct import DirectListeners
from onrecord.addons.egress import Destinations, RefusedDestinationError
from onrecord.addons.http_head import HeadError, read_head
from onrecord.addons.peers import Peer, Peers
from onrecord.addons.problem import problem, refusal_status
from onrecord.addons.proxy_identity import NotAuthenticatedError, ProxyIdentity
from onrecord.recordings.auditor import Auditor, RefusedError
from onrecord.recordings.records import RefusalRecord

PROTOCOL = "onrecord:protocol"
UPSTREAM_CONNECTIONS = 100  # at once, of one client connection to one address


class Connections:
    """CONNECT, and the connections on both sides."""

    def __init__(
        self,
        peers: Peers,
        destinations: Destinations,
        identity: ProxyIdentity,
        auditor: Auditor,
        handlers: dict[tuple[object, ...] | str, ProxyConnectionHandler],
        directs: DirectListeners,
    ) -> None:
        self._peers, self._destinations = peers, destinations
        self._identity, self._auditor = identity, auditor
        self._handlers, self._directs = handlers, directs

    def client_connected(self, client: Client) -> None:
        """A connection is let in where there is room."""
        direct = self._directs.of(client)
        peer = self._peers.add(client)
        if peer is None:
            client.error = "too many connections"
            return
        if direct is not None:  # from here on as inside of a tunnel to the cluster
            peer.direct, peer.tunnel, peer.inside, peer.tls_inside = direct, direct.route, True, True
        handler = self._handlers.get(client.id)
        if handler is not None:
            handler.max_conns = defaultdict(lambda: asyncio.Semaphore(UPSTREAM_CONNECTIONS))

    def client_disconnected(self, client: Client) -> None:
        """Its sessions end."""
        self._peers.remove(client.id, self._auditor)

    def tls_failed_client(self, data: TlsData) -> None:
        """A client whose handshake failed: it spoke no TLS, or does not trust the gateway's CA."""
        self._peers.note(data.conn.id, "a TLS handshake that failed", data.conn.error or "")

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Only an address that a decision led to may be dialled."""
        peer = self._peers.get(data.client.id)
        address = data.server.address
        if peer is None or address is None or data.server.via is not None:
            raise RuntimeError("an upstream connection without a client")
        route = peer.upstreams.get((address[0], address[1], bool(data.server.tls)))
        if route is None:
            data.server.error = "no decision led to this address"
            return
        try:
            self._destinations.check_address(route, address[0], address[1])
        except RefusedDestinationError as error:
            data.server.error = error.reason

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """A CONNECT opens a tunnel to one resource for one identity, or is answered with the reason."""
        peer = self._peers.get(flow.client_conn.id)
        if peer is None:
            raise RuntimeError("a request without a connection")
        self._peers.head_done(peer)
        flow.response = await self._connect(flow, peer)
        if flow.response is None:
            self._peers.expect_head(peer)

    async def _connect(self, flow: http.HTTPFlow, peer: Peer) -> http.Response | None:
        request = flow.request
        text = f"CONNECT {request.data.authority.decode('latin-1')[:300]}"
        try:
            head = read_head(request.headers.fields)
            host, port = split_authority(request.data.authority.decode("latin-1"), 0)
        except HeadError as error:
            return self._refuse(peer, text, error.status, PROTOCOL, error.reason, error.hint)
        except (HostError, ValueError) as error:
            return self._refuse(peer, text, 400, PROTOCOL, str(error))
        if head.proxy_authorization is None and peer.identity is None and peer.tunnel is None:
            peer.tunnel = self._destinations.find_for_later(host, port)
            if peer.tunnel is not None:
                peer.inside = True
                return None
        try:
            identity = await self._identity.identify(peer, head.proxy_authorization, text)
        except NotAuthenticatedError as error:
            return problem(
                error.status, policy="onrecord:identity", reason=str(error), hint=error.hint, record=error.record
            )
        if peer.tunnel is not None:
            return self._refuse(peer, text, 400, PROTOCOL, "a tunnel inside a tunnel")
        try:
            # Which protocol is inside shows later; the route for TLS is the stricter one to begin with.
            route = self._destinations.find(host, port, "https", identity)
            self._peers.session(peer, route, self._auditor)
            peer.tunnel = route
        except RefusedDestinationError as error:
            return self._refuse(peer, text, 403, error.policy, error.reason, error.hint, error.resource)
        except RefusedError as error:
            reason = getattr(error.ruling.verdict, "reason", "refused")
            status = refusal_status(error.ruling.policy)
            return problem(status, policy=error.ruling.policy, reason=reason, record=error.record, detail=str(error))
        return None

    def _refuse(
        self, peer: Peer, text: str, status: int, policy: str, reason: str, hint: str = "", resource: str = ""
    ) -> http.Response:
        record = self._auditor.refuse(
            RefusalRecord(
                what=policy,
                reason=reason[:1000],
                protocol="http",
                client=peer.client,
                text=text,
                resource=resource,
                identity=peer.identity,
            )
        )
        return problem(status, policy=policy, reason=reason, hint=hint, record=record)
