"""The first packet."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres.messages import encode_cancel, encode_startup
from onrecord.shims.postgres.startup import Cancel, Startup, StartupError, decode_packet, pinned_value
from onrecord.shims.postgres.wire import WireError


@given(st.binary(max_size=100), st.sampled_from([196608, 196610, 80877102, 80877103, 131072]))
def test_junk_raises_only_wire_errors(body: bytes, code: int) -> None:
    with contextlib.suppress(WireError):
        decode_packet((len(body) + 8).to_bytes(4, "big") + code.to_bytes(4, "big") + body)


def test_a_startup_packet_is_read_and_the_database_defaults_to_the_user() -> None:
    found = decode_packet(
        encode_startup({"user": "devin", "application_name": "x", "options": r"-c DateStyle=ISO,\ MDY"})
    )
    assert isinstance(found, Startup)
    assert (found.user, found.database) == ("devin", "devin")
    assert found.parameters == {"application_name": "x", "datestyle": "ISO, MDY"}
    assert not found.must_negotiate


def test_a_cancel_request_is_read() -> None:
    assert decode_packet(encode_cancel(7, b"k" * 32)) == Cancel(7, b"k" * 32)


@pytest.mark.parametrize(
    "parameters",
    [
        {"user": ""},
        {"user": "a", "replication": "true"},
        {"user": "a", "options": "-c"},
        {"user": "a", "options": "-W"},
        {"user": "a", "options": "'"},
        {"user": "a", "options": "-c a"},
        {"user": "a", "nonsense": "1"},
    ],
)
def test_what_cannot_be_followed_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(StartupError):
        decode_packet(encode_startup(parameters))


def test_pinned_settings_take_their_own_value_only() -> None:
    assert pinned_value("client_encoding", "'UTF8'")
    assert not pinned_value("client_encoding", "SQL_ASCII")
    assert not pinned_value("search_path", "public, evil")
    assert not pinned_value("role", "none")


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (r"-c application_name=a\ b", "a b"),
        (r"  -c   application_name='a'", "'a'"),
        (r'--application-name="a\\b"', r'"a\b"'),
        ("-capplication_name=a\t-c\vapplication_name=b", "b"),
        ("-c application_name=a\\", "a"),
        ("-c application_name=a\u00a0b", "a\u00a0b"),
    ],
)
def test_options_are_split_as_the_server_splits_them(options: str, value: str) -> None:
    startup = decode_packet(encode_startup({"user": "devin", "options": options}))
    assert isinstance(startup, Startup)
    assert startup.parameters["application_name"] == value
