"""Which protocol may follow on a connection: HTTP to the proxy, TLS or HTTP inside a CONNECT, TLS at the listener of a
cluster, and nothing else.

mitmproxy's own addon guesses (DNS on port 53, raw TCP, QUIC, anything as HTTP); what is not on this list is closed.
"""

from __future__ import annotations

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer, NextLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.modes import HttpProxy, ReverseProxy

from onrecord.addons.peers import Peers
from onrecord.policies.errors import DecodeError

MIN_SNIFF = 8  # the longest prefix that tells: "OPTIONS " and "CONNECT "
_METHOD_STARTS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ")


class NotHttpError(DecodeError):
    """The bytes inside a tunnel are neither TLS nor HTTP."""


class NextLayers:
    """Decides the next layer from the stack so far and the first bytes; refuses by raising."""

    def __init__(self, peers: Peers, *, tls: bool) -> None:
        self._peers, self._tls = peers, tls

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Called by mitmproxy when bytes came and no layer handles them yet."""
        context, data = nextlayer.context, nextlayer.data_client()  # type: ignore[no-untyped-call]
        nextlayer.layer = self._choose(context, data)

    def _choose(self, context: Context, data: bytes) -> Layer | None:
        stack = [type(layer) for layer in context.layers]
        peer = self._peers.get(context.client.id)
        if stack == [ReverseProxy]:
            return self._direct(context, data)
        if stack == [HttpProxy] and self._tls:
            if len(data) < 3:
                return None
            if not starts_like_tls_record(data):
                raise NotHttpError("the listener speaks TLS")
            return layers.ClientTLSLayer(context)
        if stack in ([HttpProxy], [HttpProxy, layers.ClientTLSLayer]):
            return layers.HttpLayer(context, HTTPMode.regular)
        if peer is None or peer.tunnel is None:
            raise NotHttpError("a tunnel without a route")
        if stack[-1] is layers.ClientTLSLayer:
            return layers.HttpLayer(context, HTTPMode.transparent)
        if peer.tls_inside:
            raise NotHttpError("a tunnel inside a tunnel")
        if len(data) < 3:
            return None
        if starts_like_tls_record(data):
            peer.tls_inside = True
            tls = layers.ServerTLSLayer(context)
            tls.child_layer = layers.ClientTLSLayer(context)
            return tls
        if data.startswith(_METHOD_STARTS):
            return layers.HttpLayer(context, HTTPMode.transparent)
        if any(start.startswith(data[:MIN_SNIFF]) for start in _METHOD_STARTS) and len(data) < MIN_SNIFF:
            return None
        raise NotHttpError("neither TLS nor HTTP")

    def _direct(self, context: Context, data: bytes) -> Layer | None:
        """A listener that serves one cluster: TLS, and nothing else."""
        peer = self._peers.get(context.client.id)
        if peer is None or peer.direct is None:
            raise NotHttpError("a listener without a route")
        if len(data) < 3:
            return None
        if not starts_like_tls_record(data):
            self._peers.refuse(context.client.id, "this listener speaks TLS only")
            raise NotHttpError("this listener speaks TLS only")
        context.server.address = (peer.direct.route.host, peer.direct.route.port)
        tls = layers.ServerTLSLayer(context)
        tls.child_layer = layers.ClientTLSLayer(context)
        return tls
