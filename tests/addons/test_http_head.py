"""Heads: what is stripped, what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.http_head import HeadError, check_opening, check_request_line, read_head

FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Host", b"Connection", b"TE", b"X-A", b"Upgrade", b"content-type", b"X_Forwarded_For", b"Via"]
        ),
        st.binary(max_size=30),
    ),
    max_size=8,
)


@given(FIELDS)
def test_what_is_kept_holds_no_hop_by_hop_field_and_no_control_byte(fields: list[tuple[bytes, bytes]]) -> None:
    with contextlib.suppress(HeadError):
        for name, value in read_head(tuple(fields)).fields:
            assert name.lower() not in (b"via", b"x_forwarded_for", b"proxy-authorization")
            assert not any(byte < 9 or 9 < byte < 32 or byte == 127 for byte in value)


@given(st.binary(max_size=20), st.binary(max_size=40), st.binary(max_size=10))
def test_any_request_line_passes_or_is_a_head_error(method: bytes, target: bytes, version: bytes) -> None:
    with contextlib.suppress(HeadError):
        check_request_line(method, target, version)
        assert b" " not in target
        assert target[:1] in (b"/", b"*")


def test_grpc_needs_trailers_and_its_own_content_type() -> None:
    assert read_head(((b"te", b"trailers"), (b"content-type", b"application/grpc+proto"))).grpc
    assert not read_head(((b"content-type", b"application/grpc"),)).grpc
    assert not read_head(((b"te", b"trailers"), (b"content-type", b"application/grpc-web"))).grpc


@pytest.mark.parametrize("token", [b"authorization", b"Host", b"cookie, close", b"content-length"])
def test_a_connection_header_cannot_take_away_what_matters(token: bytes) -> None:
    with pytest.raises(HeadError):
        read_head(((b"Host", b"a"), (b"Connection", token)))


@pytest.mark.parametrize(
    ("method", "version", "more"),
    [
        (b"PURGE", b"HTTP/1.1", ()),
        (b"POST", b"HTTP/1.1", ((b"Content-Length", b"2"),)),
        (b"GET", b"HTTP/1.1", ((b"Content-Length", b"2"),)),
        (b"GET", b"HTTP/1.1", ((b"Transfer-Encoding", b"chunked"),)),
        (b"GET", b"HTTP/1.0", ()),
        (b"GET", b"HTTP/2.0", ()),
    ],
)
def test_a_websocket_opens_with_a_bare_get(
    method: bytes, version: bytes, more: tuple[tuple[bytes, bytes], ...]
) -> None:
    opening = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    check_opening(read_head(opening), b"GET", b"HTTP/1.1")
    with pytest.raises(HeadError):
        check_opening(read_head(opening + more), method, version)


@pytest.mark.parametrize("name", [b"transfer_encoding", b"content_length", b"content_type"])
def test_a_framing_header_with_an_underscore_is_refused(name: bytes) -> None:
    with pytest.raises(HeadError):
        read_head(((name, b"chunked"),))
