"""policies/config/values.py: single values, and what is no such value."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.config import Address, SecretRef
from onrecord.policies.config import values as v


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:1", "::1", 1),
        ("[0:0:0:0:0:0:0:1]:65535", "::1", 65535),
        ("LocalHost:80", "localhost", 80),
    ],
)
def test_addresses(text, host, port):
    assert v.address(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1", "8080", ":8080", "*:8080", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "h:８０",
     "h:1e3", "a b:80", "127.0.0.1:99999999999", "0x7f.1:80", "http://h:80"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(v.BadValue):
        v.address(text)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (512, 512),
        ("1 MiB", 1 << 20),
        ("64KiB", 65536),
        ("10 MB", 10**7),
        ("1.5 KiB", 1536),
        ("3", 3),
        ("2 b", 2),
    ],
)
def test_sizes(value, size):
    assert v.size(value) == size


@pytest.mark.parametrize("value", ["", "big", "1 MiBs", "-1", -1, "1,5 MB", "0.3 b", "1 mb 2", "１ MB", "nan"])
def test_what_is_no_size(value):
    with pytest.raises(v.BadValue):
        v.size(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1, 1.0), (0.25, 0.25), ("250 ms", 0.25), ("60s", 60.0), ("15 min", 900.0), ("1h", 3600.0), ("7 d", 604800.0)],
)
def test_durations(value, seconds):
    assert v.duration(value) == seconds


@pytest.mark.parametrize("value", ["", "soon", "1 year", -1, "1", float("nan"), float("inf"), "-1 s", "1 H"])
def test_what_is_no_duration(value):
    with pytest.raises(v.BadValue):
        v.duration(value)


def test_moments_need_a_zone_and_dates_begin_in_utc():
    noon = datetime(2026, 12, 1, 12, tzinfo=UTC)
    assert v.moment(noon) == v.moment("2026-12-01T12:00:00Z") == noon.timestamp()
    assert v.moment(date(2026, 12, 1)) == v.moment("2026-12-01") == noon.timestamp() - 43200
    for bad in (datetime(2026, 12, 1), "2026-12-01T12:00:00", "tomorrow", ""):
        with pytest.raises(v.BadValue):
            v.moment(bad)


@pytest.mark.parametrize(
    ("text", "network"), [("10.0.0.0/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("2001:DB8::/32", "2001:db8::/32")]
)
def test_networks(text, network):
    assert v.network(text) == network


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "10.0.0", "", "anywhere"])
def test_what_is_no_network(text):
    with pytest.raises(v.BadValue):
        v.network(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Billing.Internal.", "billing.internal"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("ｅｘａｍｐｌｅ。com", "example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::FFFF:10.0.0.1]", "10.0.0.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("*.Example.com", "*.example.com"),
        ("a_b.internal", "a_b.internal"),
    ],
)
def test_hosts_have_one_form(text, host):
    assert v.host_name(text, wildcard=True) == host


@pytest.mark.parametrize(
    "text",
    ["", ".", "*", "*.", "a..b", "a.*.b", "**.b", "-a.b", "a-.b", "h:80", "http://h", "u@h", "h/x", "127.1",
     "0x7f.0.0.1", "2130706433", "010.0.0.1", "a b", "a\n", "x" * 64, ".".join(["abcdefgh"] * 32), "a.b..", "x\0"],
)  # fmt: skip
def test_what_is_no_host(text):
    with pytest.raises(v.BadValue):
        v.host_name(text, wildcard=True)


def test_a_wildcard_is_a_host_only_where_it_is_asked_for():
    with pytest.raises(v.BadValue, match="wildcard"):
        v.host_name("*.example.com")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a.b", "a.b", True),
        ("*.b", "a.b", True),
        ("x.y.b", "*.b", True),
        ("*.b", "*.a.b", True),
        ("*.a.b", "*.b", True),
        ("*.b", "b", False),
        ("*.b", "ab", False),
        ("*.b", "*.cb", False),
        ("a.b", "c.b", False),
    ],
)
def test_overlap_of_hosts(one, other, expected):
    assert v.overlap(one, other) is v.overlap(other, one) is expected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST.", "::ffff:127.0.0.1"])
def test_loopback(host):
    assert v.is_loopback(host)


@pytest.mark.parametrize("host", ["::", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", ""])
def test_what_is_not_loopback(host):
    assert not v.is_loopback(host)


def test_references():
    folder = Path("/etc/onrecord")
    assert v.reference("env:NAME", "w", folder) == SecretRef("env", "NAME", "w")
    assert v.reference("file:key.pem", "w", folder) == SecretRef("file", "/etc/onrecord/key.pem", "w")
    assert v.reference("file:/run/key", "w", folder) == SecretRef("file", "/run/key", "w")
    assert v.reference("exec:/bin/echo a 'b c'", "w", folder) == SecretRef("exec", "/bin/echo a 'b c'", "w")


@pytest.mark.parametrize(
    "text",
    ["", "hunter2", "env:", "env:hunter2 x", "file:", "exec:", "exec:cat x", "exec:'/bin", "ENV:X", "vault:hunter2"],
)
def test_what_is_no_reference_is_refused_without_echo(text):
    with pytest.raises(v.BadValue) as error:
        v.reference(text, "w", Path("/"))
    assert "hunter2" not in f"{error.value.reason} {error.value.fix}"


@given(
    secret=st.text(st.characters(categories=["L", "N"]), min_size=3),
    rest=st.sampled_from(["@h/db", "@h:5/db?x=1", "@"]),
)
def test_shown_never_has_userinfo_or_query(secret, rest):
    secret = "Q" + secret
    for text in (f"postgres://u:{secret}{rest}", f"u:{secret}{rest}", f"postgres://h/db?password={secret}"):
        assert secret not in v.shown(text)


@given(text=st.text(max_size=40))
def test_junk_raises_only_bad_value(text):
    for parse in (
        v.address, v.size, v.duration, v.moment, v.network, v.host_name, lambda t: v.name(t, "x"),
        lambda t: v.url(t, ("https",), "x"), lambda t: v.url("https://" + t, ("https",), "x"),
        lambda t: v.reference("exec:" + t, "", Path("/")), lambda t: v.reference("file:" + t, "", Path("/")),
    ):  # fmt: skip
        with contextlib.suppress(v.BadValue):
            parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://h:99999",
        "https://[::1",
        "https://",
        "https:h",
        "ftp://h",
        "https://h/#x",
        "https://h\\x",
        "https://h?x",
    ],
)
def test_what_is_no_url(text):
    with pytest.raises(v.BadValue):
        v.url(text, ("https", "http"), "https://h")
