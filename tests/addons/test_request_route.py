"""Every name in a request is the same one, or it goes nowhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from onrecord.addons.egress import Destinations, Route
from onrecord.addons.http_head import HeadError
from onrecord.addons.peers import Peer
from onrecord.addons.request_route import bracket, find_route
from onrecord.policies.model import Identity, Resource

RESOURCE = Resource(name="api", type="http")


class Anywhere:
    """Every destination is a resource."""

    def find(self, host: str, port: int, scheme: str, _: Identity) -> Route:
        return Route(RESOURCE, None, scheme, host, port, scheme, host, port)


def find(
    host: bytes | None, *, tunnel: str = "", sni: str | None = "api.internal", authority: bytes = b"", to: str = ""
) -> Route:
    """The route of a request inside a TLS `tunnel`, or of a plain one `to` a host."""
    peer = Peer("one", "127.0.0.1:5", "127.0.0.1", identity=Identity(issuer="i", subject="s"))
    if tunnel:
        peer.tunnel = Route(RESOURCE, None, "https", tunnel, 443, "https", tunnel, 443)
        peer.tls_inside = True
    data = SimpleNamespace(host=to, port=80, authority=authority)
    flow = SimpleNamespace(request=SimpleNamespace(data=data, host=to, port=80), client_conn=SimpleNamespace(sni=sni))
    head = SimpleNamespace(host=host)
    return find_route(cast(Any, flow), peer, cast(Any, head), cast(Destinations, Anywhere()))


@pytest.mark.parametrize("host", [b"api.internal", b"API.internal", b"api.internal:443"])
def test_one_name_in_any_spelling_is_the_tunnels_route(host: bytes) -> None:
    assert find(host, tunnel="api.internal").host == "api.internal"


@pytest.mark.parametrize(
    ("host", "authority", "sni", "status"),
    [
        (b"other.internal", b"", "api.internal", 421),
        (b"api.internal:444", b"", "api.internal", 421),
        (b"api.internal", b"other.internal", "api.internal", 421),
        (b"other.internal", b"api.internal", "api.internal", 421),
        (b"api.internal", b"", "other.internal", 421),
        (b"api.internal", b"", None, 421),
        (b"api.internal", b"", "not a name", 421),
        (b"not a name", b"", "api.internal", 400),
        (None, b"", "api.internal", 400),
    ],
)
def test_two_names_or_none_in_a_tunnel_are_refused(
    host: bytes | None, authority: bytes, sni: str | None, status: int
) -> None:
    with pytest.raises(HeadError) as refused:
        find(host, tunnel="api.internal", authority=authority, sni=sni)
    assert refused.value.status == status


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_an_address_needs_no_name_in_tls(address: str) -> None:
    assert find(bracket(address).encode(), tunnel=address, sni=None).host == address


def test_a_plain_request_goes_where_its_target_and_its_host_say() -> None:
    assert find(b"api.internal", to="api.internal").port == 80
    with pytest.raises(HeadError):
        find(b"other.internal", to="api.internal")


@pytest.mark.parametrize(
    ("host", "text"), [("::1", "[::1]"), ("[::1]", "[::1]"), ("a.b", "a.b"), ("1.2.3.4", "1.2.3.4")]
)
def test_ipv6_addresses_stand_in_brackets(host: str, text: str) -> None:
    assert bracket(host) == text
