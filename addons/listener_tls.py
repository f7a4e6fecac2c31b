"""TLS of the gateway's own listeners (`[gateway.tls]`), with the client's certificate where a CA for it is configured.

A listener that serves one cluster speaks TLS always: without `[gateway.tls]`, the gateway's own CA signs for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from mitmproxy.certs import CertStore
from mitmproxy.connection import Client
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from onrecord.addons.direct import own_context
from onrecord.addons.peers import Peers
from onrecord.policies.config import TlsConfig
from onrecord.policies.identity import certificate_thumbprint


class ListenerTls:
    """TLS between an agent and the proxy, outside of any tunnel."""

    def __init__(self, peers: Peers, config: TlsConfig | None, store: Callable[[], CertStore]) -> None:
        self._peers, self._store = peers, store
        self._context = _make_context(config, _select) if config is not None else None
        self._direct_context = _make_context(config, _select_for_cluster) if config is not None else None

    def tls_start_client(self, data: TlsData) -> None:
        """The listener's certificate; inside a tunnel mitmproxy makes one for the resource's name."""
        peer = self._peers.get(data.conn.id)
        if peer is None:
            raise RuntimeError("TLS without a connection")
        if peer.direct is not None and isinstance(data.conn, Client):
            context = self._direct_context or own_context(peer.direct, self._store(), _select_for_cluster)
            connection = SSL.Connection(context)
            connection.set_app_data(data.conn)
            connection.set_accept_state()
            data.ssl_conn = connection
            return
        if peer.tunnel is not None:
            return
        if self._context is None:
            raise RuntimeError("TLS on a listener without TLS")
        connection = SSL.Connection(self._context)
        connection.set_accept_state()
        data.ssl_conn = connection

    def tls_established_client(self, data: TlsData) -> None:
        """Note which certificate the client has shown: tokens may be bound to it (RFC 8705)."""
        peer = self._peers.get(data.conn.id)
        if peer is None or data.ssl_conn is None:
            raise RuntimeError("TLS without a connection")
        if (peer.tunnel is None or peer.direct is not None) and (
            (certificate := data.ssl_conn.get_peer_certificate()) is not None
        ):
            peer.certificate = certificate_thumbprint(certificate.to_cryptography().public_bytes(Encoding.DER))


def _make_context(config: TlsConfig, select: Callable[[SSL.Connection, list[bytes]], Any]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION)
    context.use_certificate_chain_file(str(config.cert))
    context.use_privatekey_file(str(config.key))
    context.check_privatekey()
    context.set_alpn_select_callback(select)
    if config.client_ca is not None:
        context.load_verify_locations(str(config.client_ca))
        context.set_verify(SSL.VERIFY_PEER, None)  # shown or not; a token that is bound to one needs it
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _select(_: SSL.Connection, offered: list[bytes]) -> Any:
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _select_for_cluster(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """HTTP/2 as inside of tunnels, unless tls_upstream.py has found that the cluster speaks HTTP/1.1 only."""
    wanted = connection.get_app_data().alpn
    choices = [wanted] if wanted else [b"h2", b"http/1.1"]
    return next((choice for choice in choices if choice in offered), SSL.NO_OVERLAPPING_PROTOCOLS)
