"""Hosts in one spelling; which addresses are public."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.addresses import HostError, is_public, normalise_host, split_authority


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Billing.Internal.", "billing.internal"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("[::1]", "::1"),
        ("[::FFFF:10.0.0.1]", "10.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("session_host.internal", "session_host.internal"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert normalise_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        " a",
        "a b",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "2130706433",
        "1.2.3.4.5",
        "a..b",
        "-a",
        "[::1",
        "fe80::1%eth0",
        "a/b",
        "a@b",
    ],
)
def test_a_host_that_resolvers_read_differently_is_refused(text: str) -> None:
    with pytest.raises(HostError):
        normalise_host(text)


@given(st.text(max_size=60))
def test_any_text_gives_a_stable_host_or_a_host_error(text: str) -> None:
    with contextlib.suppress(HostError):
        host = normalise_host(text)
        assert normalise_host(host) == host


@given(st.text(max_size=60))
def test_any_authority_gives_a_host_and_a_port_or_a_host_error(text: str) -> None:
    with contextlib.suppress(HostError):
        _, port = split_authority(text, 443)
        assert 0 < port < 65536


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
        "0.0.0.1", "255.255.255.255", "224.0.0.1", "198.18.0.1", "192.0.0.192", "168.63.129.16", "::1", "::", "fe80::1",
        "fd00:ec2::254", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::127.0.0.1",
    ],
)  # fmt: skip
def test_private_and_metadata_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_the_open_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))
