"""Where a request goes. Every name in it (tunnel, SNI, target, Host, :authority) must be the same one."""

from __future__ import annotations

from mitmproxy import http

from onrecord.addons.addresses import HostError, split_authority
from onrecord.addons.direct import Direct
from onrecord.addons.egress import Destinations, Route
from onrecord.addons.http_head import Head, HeadError
from onrecord.addons.peers import Peer


def find_route(flow: http.HTTPFlow, peer: Peer, head: Head, destinations: Destinations) -> Route:
    """The route; every name in the request must be equal. Raises HeadError, RefusedDestinationError."""
    tunnel, request = peer.tunnel, flow.request.data
    if tunnel is not None:
        scheme, host, port = ("https" if peer.tls_inside else "http"), tunnel.host, tunnel.port
        if peer.direct is not None:
            _check_direct(flow, peer.direct, head)
            return tunnel
        if peer.tls_inside:
            _check_sni(flow.client_conn.sni, host)
    else:
        scheme = "http"
        try:
            host, port = split_authority(bracket(request.host), request.port)
        except HostError as error:
            raise HeadError(400, str(error)) from None
    names = [name for name in (head.host, request.authority) if name]
    if not names:
        raise HeadError(400, "no Host header")
    default = 443 if scheme == "https" else 80
    for name in names:
        try:
            found = split_authority(name.decode("latin-1"), default)
        except HostError as error:
            raise HeadError(400, str(error)) from None
        if found != (host, port):
            raise HeadError(
                421,
                f"the request names {found[0]}:{found[1]} on a connection to {host}:{port}",
                "open a connection for each name",
            )
    if tunnel is not None and tunnel.scheme == scheme:
        return tunnel
    if peer.identity is None:
        raise RuntimeError("a route without an identity")
    return destinations.find(host, port, scheme, peer.identity)


def _check_direct(flow: http.HTTPFlow, direct: Direct, head: Head) -> None:
    """A listener that serves one cluster: no name leads anywhere else, and all of them must be the listener's."""
    request, client = flow.request.data, flow.client_conn
    if request.authority and request.http_version != b"HTTP/2.0":
        raise HeadError(400, "a whole URL as request target at a listener that is no proxy", "send the path alone")
    names = [name for name in (head.host, request.authority) if name]
    if not names:
        raise HeadError(400, "no Host header")
    direct.check(names, client.sni, client.sockname[0])


def _check_sni(sni: str | None, host: str) -> None:
    if sni is None:
        if ":" in host or host.rpartition(".")[2].isdigit():
            return  # RFC 6066: addresses stand in no SNI
        raise HeadError(421, f"TLS without a server name on a connection to {host}")
    try:
        name = split_authority(sni, 0)[0]
    except HostError as error:
        raise HeadError(421, str(error)) from None
    if name != host:
        raise HeadError(421, f"TLS names {name} on a connection to {host}", "open a connection for each name")


def bracket(host: str) -> str:
    """A host as it stands in an authority: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
