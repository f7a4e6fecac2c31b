"""TLS towards upstreams: own CA and client certificate per resource, the peer's name always checked."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

import certifi
from cryptography import x509
from mitmproxy.connection import Client, Server
from mitmproxy.tls import TlsData
from OpenSSL import SSL, crypto

from onrecord.addons.addresses import is_address
from onrecord.addons.egress import Route
from onrecord.addons.peers import Peers
from onrecord.policies.secrets import Secrets

_HOSTNAME_MISMATCH = 62  # X509_V_ERR_HOSTNAME_MISMATCH, openssl/x509_vfy.h
_FLAGS = 0x4 | 0x20  # X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, openssl/x509v3.h
_lib: Any = SSL._lib  # type: ignore[attr-defined]  # noqa: SLF001  pyOpenSSL has no call for host checks


class UpstreamTls:
    """Builds each upstream's TLS connection from its route; without a route there is none."""

    def __init__(self, peers: Peers, secrets: Secrets) -> None:
        self._peers, self._secrets = peers, secrets
        self._contexts: dict[tuple[str, str], SSL.Context] = {}
        self._speaks_http1: set[tuple[str, int]] = set()

    def tls_start_client(self, data: TlsData) -> None:
        """An agent whose upstream is known to speak only HTTP/1.1 gets that too: one connection then serves many."""
        client = data.conn
        peer = self._peers.get(client.id)
        if peer is None or not isinstance(client, Client):
            raise RuntimeError("TLS without a connection")
        route = peer.tunnel
        if route is None:
            return  # the listener's own TLS: listener_tls.py
        if (route.upstream_host, route.upstream_port) in self._speaks_http1 and b"http/1.1" in client.alpn_offers:
            client.alpn = b"http/1.1"

    def tls_start_server(self, data: TlsData) -> None:
        """The pyOpenSSL connection for an upstream."""
        server, client = data.conn, data.context.client
        peer = self._peers.get(client.id)
        if peer is None or not isinstance(server, Server) or server.address is None:
            raise RuntimeError("TLS to an upstream without a route")
        route = peer.upstreams[server.address[0], server.address[1], True]
        connection = SSL.Connection(self._context(route))
        _expect_names(connection, route)
        server.alpn_offers = [b"h2", b"http/1.1"] if client.alpn == b"h2" else [b"http/1.1"]
        connection.set_alpn_protos(list(server.alpn_offers))
        connection.set_connect_state()
        data.ssl_conn = connection

    def tls_established_server(self, data: TlsData) -> None:
        """Learn what an upstream speaks."""
        server, client = data.conn, data.context.client
        peer = self._peers.get(client.id)
        if peer is None or not isinstance(server, Server) or server.address is None:
            raise RuntimeError("an upstream without a route")
        route = peer.upstreams[server.address[0], server.address[1], True]
        if client.alpn == b"h2":
            key = (route.upstream_host, route.upstream_port)
            (self._speaks_http1.discard if server.alpn == b"h2" else self._speaks_http1.add)(key)

    def _context(self, route: Route) -> SSL.Context:
        key = (route.resource.name, route.upstream_host)
        context = self._contexts.get(key)
        if context is None:
            context = self._make_context(route)
            if len(self._contexts) < 256:
                self._contexts[key] = context
        return context

    def _make_context(self, route: Route) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION)
        config = route.config
        ca = str(config.ca) if config is not None and config.ca is not None else ""
        context.load_verify_locations(ca or os.environ.get("SSL_CERT_FILE") or certifi.where())
        context.set_verify(SSL.VERIFY_PEER, _verifier(route))
        if config is not None and config.client_cert is not None:
            context.use_certificate_chain_file(str(config.client_cert))
            if config.client_key is not None:
                pem = self._secrets.resolve(config.client_key).encode()
                context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, pem))
            else:
                context.use_privatekey_file(str(config.client_cert))
            context.check_privatekey()
        return context


def _expect_names(connection: SSL.Connection, route: Route) -> None:
    """SNI, and the names that the certificate may carry: the upstream's own and the resource's host."""
    names = [name for name in (route.upstream_host, route.host) if not is_address(name)]
    parameters = _lib.SSL_get0_param(connection._ssl)  # noqa: SLF001
    _lib.X509_VERIFY_PARAM_set_hostflags(parameters, _FLAGS)
    if names:
        connection.set_tlsext_host_name(names[0].encode())
        _set_hosts(parameters, names)
        return
    packed = ipaddress.ip_address(route.upstream_host).packed
    if _lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed)) != 1:
        raise RuntimeError("the upstream's address cannot be checked")


def _set_hosts(parameters: Any, names: list[str]) -> None:
    name = names[0].encode()
    if _lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name)) != 1:
        raise RuntimeError("the upstream's name cannot be checked")


def _verifier(route: Route) -> Any:
    """OpenSSL checks the chain and one name; where that name does not fit, the route's other names may."""
    others = {route.upstream_host, route.host}

    def verify(_: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if ok:
            return True
        return error == _HOSTNAME_MISMATCH and depth == 0 and _carries(certificate, others)

    return verify


def _carries(certificate: crypto.X509, names: set[str]) -> bool:
    """Whether the certificate is for exactly one of these names or addresses (no wildcards)."""
    try:
        extension = certificate.to_cryptography().extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    alternatives = extension.value
    found = {name.lower() for name in alternatives.get_values_for_type(x509.DNSName)}
    found |= {str(address) for address in alternatives.get_values_for_type(x509.IPAddress)}
    return bool(found & names)
