"""Openings of streams, terminal sizes, and how a command ended."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.protocols import TUNNEL, Carrier, check_chosen, read_opening
from onrecord.addons.kubernetes_api.streams.resize import ResizeReader, size_json
from onrecord.addons.kubernetes_api.streams.status import Exit, clean_status, read_exit


def test_only_subprotocols_that_can_be_read_are_offered() -> None:
    opening = read_opening(
        "websocket", "exec", ["v9.channel.k8s.io, v5.channel.k8s.io", "base64url.bearer.authorization.k8s.io.abc"], ""
    )
    assert opening.offered == ("v5.channel.k8s.io",)
    assert read_opening("websocket", "portforward", [TUNNEL], "").offered == (TUNNEL,)
    assert read_opening("spdy", "portforward", ["portforward.k8s.io"], "").offered == ("portforward.k8s.io",)


@pytest.mark.parametrize(
    ("query", "tty"),
    [("", False), ("tty=true", True), ("tty=false", False), ("tty=0", False), ("tty=", True), ("tty=x&tty=0", True)],
)
def test_a_terminal_is_read_as_the_api_server_reads_it(query: str, tty: bool) -> None:
    assert read_opening("spdy", "exec", ["v4.channel.k8s.io"], query).tty is tty


def test_ports_of_a_forward_over_channels_stand_in_the_query() -> None:
    assert read_opening("websocket", "portforward", ["v4.channel.k8s.io"], "ports=80&ports=81,82").ports == (80, 81, 82)


@pytest.mark.parametrize(
    ("carrier", "subresource", "offers", "query"),
    [
        ("websocket", "log", ["v5.channel.k8s.io"], ""),
        ("websocket", "proxy", ["v5.channel.k8s.io"], ""),
        ("websocket", "exec", [], ""),
        ("websocket", "exec", ["chat"], ""),
        ("spdy", "exec", ["v5.channel.k8s.io"], ""),
        ("spdy", "portforward", [TUNNEL], ""),
        ("websocket", "portforward", ["v4.channel.k8s.io"], ""),
        ("websocket", "portforward", ["v4.channel.k8s.io"], "ports=0"),
        ("websocket", "portforward", ["v4.channel.k8s.io"], "ports=" + ",".join(["1"] * 101)),
    ],
)
def test_an_opening_that_is_not_spoken_is_refused(
    carrier: Carrier, subresource: str, offers: list[str], query: str
) -> None:
    with pytest.raises(StreamError):
        read_opening(carrier, subresource, offers, query)


def test_the_server_must_choose_what_was_offered() -> None:
    opening = read_opening("websocket", "exec", ["v5.channel.k8s.io, v4.channel.k8s.io"], "")
    assert check_chosen(opening, "WebSocket", "v4.channel.k8s.io") == "v4.channel.k8s.io"
    for upgrade, chosen in (("", "v4.channel.k8s.io"), ("SPDY/3.1", "v4.channel.k8s.io"), ("websocket", None)):
        with pytest.raises(StreamError):
            check_chosen(opening, upgrade, chosen)
    with pytest.raises(StreamError, match="not offered"):
        check_chosen(opening, "websocket", "v3.channel.k8s.io")


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=5), st.integers(1, 9))
def test_sizes_come_in_any_pieces(sizes: list[tuple[int, int]], step: int) -> None:
    data = b"".join(size_json(*size) for size in sizes)
    reader = ResizeReader()
    found = [size for start in range(0, len(data), step) for size in reader.feed(data[start : start + step])]
    assert found == sizes


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_junk_sizes_raise_only_their_own_error(data: bytes) -> None:
    with contextlib.suppress(StreamError):
        list(ResizeReader().feed(data))


@pytest.mark.parametrize(
    "data", [b"[1]", b'{"Width":1}', b'{"Width":-1,"Height":1}', b'{"Width":1,"Height":1,"x":1}', b"{" * 5000]
)
def test_a_size_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(StreamError):
        list(ResizeReader().feed(data))


def test_a_status_tells_the_exit_code() -> None:
    failed = (
        b'{"status":"Failure","message":"command terminated with exit code 3","reason":"NonZeroExitCode",'
        b'"details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
    )
    assert read_exit(failed, as_json=True) == Exit("3", "command terminated with exit code 3")
    assert read_exit(b'{"metadata":{},"status":"Success"}', as_json=True) == Exit("0", None)
    assert read_exit(b'{"status":"Fail', as_json=True) is None
    assert read_exit(b"no such program", as_json=False) == Exit("", "no such program")


@settings(deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_a_junk_status_raises_only_its_own_error(payload: bytes, as_json: bool) -> None:
    with contextlib.suppress(StreamError):
        read_exit(payload, as_json=as_json)


def test_the_text_of_a_status_is_cleaned() -> None:
    payload = (
        b'{"status":"Failure","message":"bad ann@example.com","details":{"causes":[{"message":"ann@example.com"}]}}'
    )
    clean = clean_status(payload, lambda text: text.replace("ann@example.com", "***"), as_json=True)
    assert b"example" not in clean
    assert clean_status(payload, lambda text: text, as_json=True) is payload
