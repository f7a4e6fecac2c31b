"""Names are resolved once a client connection, and every address they have is checked."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from onrecord.addons.egress import Destinations, RefusedDestinationError, Route
from onrecord.addons.peers import Peer
from onrecord.addons.upstream_address import claim, pin
from onrecord.policies.config import load_config
from onrecord.policies.model import Identity
from tests.helpers import make_config

AGENT = Identity(issuer="onrecord:dev", subject="agent-7", groups=("agents",))
PUBLIC, SECOND = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
TABLE = {"type": "http", "hosts": ["api.internal"], "groups": ["agents"], "default": "allow"}


class Resolver:
    """Answers look-ups from a script, the last answer for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not found:
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


def resolve_with(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> Resolver:
    resolver = Resolver(*answers)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolver.getaddrinfo, raising=False)
    return resolver


@pytest.fixture
def destinations(tmp_path: Path) -> Destinations:
    second = TABLE | {"hosts": ["second.internal"]}
    setup = make_config(tmp_path, resources={"api": TABLE, "second": second}, gateway={"egress": "allow"})
    return Destinations(load_config(setup.path))


def egress(destinations: Destinations, host: str = "shop.example") -> Route:
    return destinations.find(host, 443, "https", AGENT)


def peer(name: str = "one") -> Peer:
    return Peer(name, "127.0.0.1:5", "127.0.0.1")


BAD = """
127.0.0.1 127.8.8.8 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254 169.254.170.2
100.100.100.200 224.0.0.1 240.0.0.1 255.255.255.255 ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a9fe:a9fe::
"""


@pytest.mark.parametrize("bad", BAD.split())
@pytest.mark.parametrize("others", [[], [PUBLIC]])
async def test_a_name_that_is_no_resource_and_has_an_inner_address_is_not_dialled(
    destinations: Destinations, monkeypatch: pytest.MonkeyPatch, bad: str, others: list[str]
) -> None:
    resolve_with(monkeypatch, [*others, bad])
    one = peer()
    with pytest.raises(RefusedDestinationError):
        await pin(one, egress(destinations), destinations)
    assert not one.pinned
    assert not one.upstreams


async def test_a_name_is_looked_up_once_a_connection_whatever_it_says_later(
    destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = resolve_with(monkeypatch, [PUBLIC], ["127.0.0.1"])
    one, route = peer(), egress(destinations)
    assert await pin(one, route, destinations) == (PUBLIC, 443)
    assert await pin(one, route, destinations) == (PUBLIC, 443)
    assert resolver.asked == ["shop.example"]
    with pytest.raises(RefusedDestinationError):  # the next connection hears the new answer, and checks it
        await pin(peer("two"), route, destinations)


async def test_the_gateway_dials_addresses_and_never_the_name(
    destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_with(monkeypatch, [PUBLIC, PUBLIC])
    assert (await pin(peer(), egress(destinations), destinations))[0] == PUBLIC


async def test_a_configured_resource_may_be_at_an_inner_address(
    destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_with(monkeypatch, ["10.1.2.3"])
    assert await pin(peer(), egress(destinations, "api.internal"), destinations) == ("10.1.2.3", 443)


async def test_a_name_that_does_not_resolve_is_an_os_error(
    destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_with(monkeypatch, [])
    with pytest.raises(OSError, match="no such name"):
        await pin(peer(), egress(destinations), destinations)


async def test_an_address_as_host_is_checked_without_a_look_up(
    destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = resolve_with(monkeypatch, [PUBLIC])
    assert await pin(peer(), egress(destinations, SECOND), destinations) == (SECOND, 443)
    with pytest.raises(RefusedDestinationError):
        await pin(peer(), egress(destinations, "169.254.169.254"), destinations)
    assert resolver.asked == []


async def test_of_several_addresses_the_first_that_answers_is_taken(
    destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        resolve_with(monkeypatch, ["127.0.0.2", "127.0.0.1"])  # nothing listens on the first
        route = egress(destinations, "api.internal")
        one = Route(**{name: getattr(route, name) for name in Route.__slots__} | {"upstream_port": port})
        assert await pin(peer(), one, destinations) == ("127.0.0.1", port)


def test_an_upstream_connection_serves_one_resource_only(destinations: Destinations) -> None:
    one = peer()
    first, second = egress(destinations, "api.internal"), egress(destinations, "second.internal")
    claim(one, first, (PUBLIC, 443))
    claim(one, first, (PUBLIC, 443))
    with pytest.raises(RefusedDestinationError, match=r"already reaches api\.internal"):
        claim(one, second, (PUBLIC, 443))
    claim(one, second, (PUBLIC, 8443))
    claim(peer("two"), second, (PUBLIC, 443))
