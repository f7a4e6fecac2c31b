"""Which destination is which resource, for whom, and at which addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onrecord.addons.egress import Destinations, RefusedDestinationError
from onrecord.policies.config import load_config
from onrecord.policies.model import Identity
from tests.helpers import make_config

AGENT = Identity(issuer="onrecord:dev", subject="agent-7", groups=("agents",))
STRANGER = Identity(issuer="onrecord:dev", subject="stranger")
OPEN: dict[str, Any] = {"type": "http", "groups": ["agents"], "default": "allow"}
RESOURCES: dict[str, dict[str, Any]] = {
    "api": OPEN | {"hosts": ["api.internal"], "upstream": "https://10.0.0.5"},
    "plain": OPEN | {"hosts": ["plain.internal"], "upstream": "http://127.0.0.1:8080"},
}


def destinations(tmp_path: Path, egress: str = "deny", **gateway: Any) -> Destinations:
    setup = make_config(tmp_path, resources=RESOURCES, gateway={"egress": egress, **gateway})
    return Destinations(load_config(setup.path))


@pytest.mark.parametrize(
    ("host", "port", "scheme", "resource", "upstream"),
    [
        ("api.internal", 443, "https", "api", ("https", "10.0.0.5", 443)),
        ("plain.internal", 80, "http", "plain", ("http", "127.0.0.1", 8080)),
        ("plain.internal", 443, "https", "plain", ("http", "127.0.0.1", 8080)),
    ],
)
def test_host_and_port_choose_the_resource_and_its_upstream(
    tmp_path: Path, host: str, port: int, scheme: str, resource: str, upstream: tuple[str, str, int]
) -> None:
    route = destinations(tmp_path).find(host, port, scheme, AGENT)
    assert route.resource.name == resource
    assert (route.upstream_scheme, route.upstream_host, route.upstream_port) == upstream


@pytest.mark.parametrize(
    ("host", "port", "scheme", "identity", "policy", "reason"),
    [
        ("other.internal", 443, "https", AGENT, "onrecord:egress", "not a configured resource"),
        ("sub.api.internal", 443, "https", AGENT, "onrecord:egress", "not a configured resource"),
        ("api.internal", 9999, "https", AGENT, "onrecord:egress", "not a configured resource"),
        ("api.internal", 80, "http", AGENT, "onrecord:egress", "over TLS only"),
        ("api.internal", 443, "https", STRANGER, "onrecord:identity", "in no group"),
    ],
)
def test_what_is_not_configured_for_this_agent_is_refused(
    tmp_path: Path, host: str, port: int, scheme: str, identity: Identity, policy: str, reason: str
) -> None:
    with pytest.raises(RefusedDestinationError, match=reason) as refused:
        destinations(tmp_path).find(host, port, scheme, identity)
    assert refused.value.policy == policy


def test_with_egress_allowed_another_host_is_the_pseudo_resource(tmp_path: Path) -> None:
    route = destinations(tmp_path, "allow").find("shop.example", 443, "https", STRANGER)
    assert (route.resource.name, route.config, route.upstream_host) == ("egress", None, "shop.example")


def test_egress_does_not_open_a_resource_to_who_is_in_none_of_its_groups(tmp_path: Path) -> None:
    with pytest.raises(RefusedDestinationError):
        destinations(tmp_path, "allow").find("api.internal", 443, "https", STRANGER)


@pytest.mark.parametrize("address", ["not-an-address", "", "127.1", "0x7f000001", "fe80::1%lo"])
def test_what_is_no_public_address_in_its_one_spelling_is_not_dialled(tmp_path: Path, address: str) -> None:
    found = destinations(tmp_path, "allow")
    with pytest.raises(RefusedDestinationError):
        found.check_address(found.find("shop.example", 443, "https", AGENT), address, 443)


@pytest.mark.parametrize(
    ("listener", "address", "own"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.9.9.9", True),
        ("127.0.0.1", "0.0.0.0", True),  # noqa: S104
        ("127.0.0.1", "::1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "10.0.0.9", False),
    ],
)
def test_no_resource_leads_back_into_the_gateway(tmp_path: Path, listener: str, address: str, own: bool) -> None:
    found = destinations(tmp_path, http=f"{listener}:18080")
    route = found.find("api.internal", 443, "https", AGENT)
    found.check_address(route, address, 18081)
    if own:
        with pytest.raises(RefusedDestinationError, match="the gateway itself"):
            found.check_address(route, address, 18080)
    else:
        found.check_address(route, address, 18080)


def test_a_wildcard_stands_for_every_name_below_it(tmp_path: Path) -> None:
    resource = {"type": "http", "hosts": ["*.example.com"], "groups": ["agents"]}
    found = Destinations(load_config(make_config(tmp_path, resources={"web": resource}).path))
    for host in ("a.example.com", "b.a.example.com"):
        route = found.find(host, 443, "https", AGENT)
        assert (route.resource.name, route.host, route.upstream_host) == ("web", host, host)
    others = (("example.com", 443), ("a.example.com.evil.org", 443), ("xexample.com", 443), ("a.example.com", 8443))
    for host, port in others:
        with pytest.raises(RefusedDestinationError):
            found.find(host, port, "https", AGENT)
