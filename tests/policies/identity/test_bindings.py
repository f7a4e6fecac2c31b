from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.identity.bindings import (
    certificate_thumbprint,
    client_address,
    client_allowed,
    decode_thumbprint,
    parse_networks,
    same_certificate,
)


@pytest.mark.parametrize(
    "client",
    ["10.1.2.3", "10.1.2.3:5432", "::ffff:10.1.2.3", "[::ffff:10.1.2.3]:5432", "::ffff:a01:203", "[::ffff:a01:203]"],
)
def test_one_client_has_many_spellings(client: str) -> None:
    assert str(client_address(client)) == "10.1.2.3"
    assert client_allowed(client, parse_networks(["10.0.0.0/8"]))
    assert client_allowed(client, parse_networks(["::ffff:10.0.0.0/104"]))
    assert not client_allowed(client, parse_networks(["192.168.0.0/16", "2001:db8::/32"]))


def test_ipv6_clients_are_matched_with_port_and_scope() -> None:
    networks = parse_networks(["fe80::/10", "2001:db8::1"])
    assert client_allowed("[fe80::1%eth0]:443", networks)
    assert client_allowed("2001:db8::1", networks)
    assert not client_allowed("2001:db8::2", networks)


@pytest.mark.parametrize(
    "client", ["", "localhost", "10.0.0.1.evil.example", "010.0.0.1", "10.1", "unix:", "[", "::1::"]
)
def test_a_client_that_is_no_address_is_in_no_network(client: str) -> None:
    assert not client_allowed(client, parse_networks(["0.0.0.0/0", "::/0"]))
    assert client_allowed(client, ())


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="example"):
        parse_networks(["example.com"])


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_none(text: str) -> None:
    client_allowed(text, parse_networks(["10.0.0.0/8"]))
    decode_thumbprint(text)


def test_a_certificate_is_recognised_in_each_spelling() -> None:
    digest = hashlib.sha256(b"certificate").digest()
    b64 = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert certificate_thumbprint(b"certificate") == digest.hex()
    for spelling in (digest.hex(), digest.hex().upper(), digest.hex(":"), b64):
        assert same_certificate(digest, spelling)
    for other in (None, "", "x", digest.hex()[:-2], hashlib.sha256(b"other").hexdigest(), b64[:-1]):
        assert not same_certificate(digest, other)
