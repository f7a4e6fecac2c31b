"""mitmproxy's options: what could open the gateway is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from mitmproxy.options import Options

from onrecord.addons.options_guard import FORCED, forbidden, force, listening


def options(**chosen: Any) -> Options:
    found = Options()
    found.add_option("connection_strategy", str, "eager", "an addon of mitmproxy brings it")
    found.add_option("keep_host_header", bool, False, "an addon of mitmproxy brings it too")
    force(found)
    found.update(**chosen)
    return found


def test_mitmproxys_defaults_pass_once_the_gateway_has_set_its_own() -> None:
    assert forbidden(options()) == []
    assert forbidden(Options()) != []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ssl_insecure", True),
        ("ignore_hosts", [".*"]),
        ("allow_hosts", ["a"]),
        ("tcp_hosts", [".*"]),
        ("mode", ["socks5"]),
        ("rawtcp", True),
        ("http3", True),
        ("connection_strategy", "eager"),
        ("ssl_verify_upstream_trusted_ca", "/nowhere"),
        ("add_upstream_certs_to_client_chain", True),
        ("upstream_cert", False),
    ],
)
def test_an_option_that_opens_the_gateway_is_refused_by_name(name: str, value: Any) -> None:
    (line,) = forbidden(options(**{name: value}))
    assert line.startswith(f"{name}={value!r}: ")


@pytest.mark.parametrize(("name", "value"), [("listen_port", 8080), ("confdir", "/x"), ("server", False)])
def test_what_the_gateway_sets_itself_may_differ(name: str, value: Any) -> None:
    assert forbidden(options(**{name: value})) == []


def test_an_option_that_no_addon_knows_is_refused() -> None:
    found = options()
    found.update_defer(map_remote=["|a|b"])
    assert forbidden(found) == ["map_remote: no addon that may run here knows this option"]


def test_a_contrary_choice_is_not_overwritten_so_that_it_can_be_refused() -> None:
    found = Options()
    found.update(http2=False)
    force(found)
    assert forbidden(found) == [f"http2=False: the gateway needs {FORCED['http2']!r}"]


def test_a_silent_watch_may_last_as_long_as_an_api_server_lets_it() -> None:
    assert options().tcp_timeout == 7200
    found = Options()
    found.update(tcp_timeout=60)
    force(found)
    assert found.tcp_timeout == 60


def test_how_the_gateway_listens_is_its_own_choice_alone() -> None:
    chosen = listening(["reverse:tls://onrecord.invalid:443@127.0.0.1:6443"])
    assert forbidden(options(**chosen), chosen) == []
    for name, value in (("mode", ["regular"]), ("mode", [*chosen["mode"], "socks5"]), ("keep_host_header", False)):
        (line,) = forbidden(options(**{**chosen, name: value}), chosen)
        assert line.startswith(f"{name}={value!r}: ")
    assert len(forbidden(options(**chosen))) == 2
