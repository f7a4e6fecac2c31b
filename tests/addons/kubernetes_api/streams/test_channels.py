"""Channels of a WebSocket: what is understood, what is refused, and that fragments make no difference."""

from __future__ import annotations

import base64
import contextlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.streams.channels import MAX_BASE64, MAX_WHOLE, ChannelWire
from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.events import Data, Ended, Event, Opened, PortNamed

V5, V4, TEXT = "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"


def events(*messages: bytes, from_client: bool = False, protocol: str = V5) -> list[Event]:
    wire = ChannelWire(protocol)
    return [event for message in messages for event in wire.feed(message, from_client=from_client)]


def test_each_channel_has_its_name() -> None:
    assert events(b"\x01out", b"\x02err", b'\x03{"status":"Success"}') == [
        Data(1, "stdout", b"out"),
        Data(2, "stderr", b"err"),
        Data(3, "error", b'{"status":"Success"}'),
    ]
    assert events(b"\x00in", b'\x04{"Width":80,"Height":24}', b"\xff\x00", from_client=True) == [
        Data(0, "stdin", b"in"),
        Data(4, "resize", b'{"Width":80,"Height":24}'),
        Ended(0, "stdin"),
    ]


def test_the_server_may_send_empty_messages() -> None:
    assert events(b"\x00", b"\x01") == [Data(0, "stdin", b""), Data(1, "stdout", b"")]


def test_text_messages_hold_base64() -> None:
    assert events(b"1" + base64.b64encode(b"hello"), protocol=TEXT) == [Data(1, "stdout", b"hello")]
    assert ChannelWire(TEXT).encode(Data(1, "stdout", b"hello"), to_client=True) == b"1" + base64.b64encode(b"hello")


@settings(deadline=None)
@given(data=st.binary(max_size=60), cut=st.lists(st.integers(0, 60), max_size=5), protocol=st.sampled_from([V5, TEXT]))
def test_any_fragments_of_a_message_give_the_same_bytes(data: bytes, cut: list[int], protocol: str) -> None:
    wire, sender = ChannelWire(protocol), ChannelWire(protocol)
    message = sender.encode(Data(1, "stdout", data), to_client=True)
    edges = [0, *sorted(min(one, len(message)) for one in cut), len(message)]
    parts = [message[a:b] for a, b in pairwise(edges)]
    found: list[Event] = []
    for index, part in enumerate(parts):
        found += wire.feed(part, from_client=False, whole=index == len(parts) - 1)
    assert all(isinstance(event, Data) and event.kind == "stdout" for event in found)
    assert b"".join(event.data for event in found if isinstance(event, Data)) == data
    wire.close(from_client=False)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=6),
    st.booleans(),
    st.sampled_from([V5, V4, TEXT, "channel.k8s.io"]),
    st.sampled_from([None, (80,), (80, 81)]),
)
def test_junk_raises_only_its_own_error(
    parts: list[tuple[bytes, bool]], from_client: bool, protocol: str, ports: tuple[int, ...] | None
) -> None:
    with contextlib.suppress(StreamError):
        wire = ChannelWire(protocol, ports)
        for part, whole in parts:
            list(wire.feed(part, from_client=from_client, whole=whole))
        wire.close(from_client=from_client)


def test_a_forward_has_two_channels_a_port_and_the_server_names_it() -> None:
    wire = ChannelWire(V4, (80, 5432))
    assert list(wire.opening()) == [
        Opened(0, "data", 80, 0),
        Opened(1, "error", 80, 0),
        Opened(2, "data", 5432, 1),
        Opened(3, "error", 5432, 1),
    ]
    port = (5432).to_bytes(2, "little")
    assert list(wire.feed(b"\x02" + port[:1], from_client=False)) == []
    assert list(wire.feed(b"\x02" + port[1:] + b"hello", from_client=False)) == [
        PortNamed(2, 5432),
        Data(2, "data", b"hello"),
    ]
    assert list(wire.feed(b"\x02hi", from_client=True)) == [Data(2, "data", b"hi")]
    with pytest.raises(StreamError, match="another port"):
        list(wire.feed(b"\x00\x01\x00", from_client=False))


@pytest.mark.parametrize(
    ("message", "from_client", "protocol", "reason"),
    [
        (b"", True, V5, "without a channel"),
        (b"\x05x", True, V5, "not known"),
        (b"\xfex", True, V5, "not known"),
        (b"\xff\x00", True, V4, "not known"),
        (b"\xff", True, V5, "does not name"),
        (b"\xff\x00\x01", True, V5, "does not name"),
        (b"\xff\x01", True, V5, "does not write"),
        (b"\xff\xff", True, V5, "does not write"),
        (b"\x01x", True, V5, "stdout from the client"),
        (b"\x03x", True, V5, "error from the client"),
        (b"\x00x", False, V5, "stdin from the server"),
        (b"\x04x", False, V5, "resize from the server"),
        (b"\x03" + b" " * (MAX_WHOLE + 1), False, V5, "more than"),
        (b"1" + b"A" * MAX_BASE64, False, TEXT, "more than"),
        (b"1?", False, TEXT, "not base64"),
        (b"x", False, TEXT, "without a channel"),
        (b"9", False, TEXT, "not known"),
    ],
)
def test_what_is_not_spoken_is_refused(message: bytes, from_client: bool, protocol: str, reason: str) -> None:
    with pytest.raises(StreamError, match=reason):
        events(message, from_client=from_client, protocol=protocol)


def test_nothing_follows_a_half_close() -> None:
    with pytest.raises(StreamError, match="behind its end"):
        events(b"\xff\x00", b"\x00more", from_client=True)
    with pytest.raises(StreamError, match="second half-close"):
        events(b"\xff\x00", b"\xff\x00", from_client=True)


def test_a_large_message_is_handed_out_as_it_comes() -> None:
    wire = ChannelWire(V5)
    first = list(wire.feed(b"\x01" + bytes(1 << 20), from_client=False, whole=False))
    assert [len(event.data) for event in first if isinstance(event, Data)] == [1 << 20]


def test_a_cut_message_is_told_at_the_end() -> None:
    wire = ChannelWire(V5)
    list(wire.feed(b"\x01abc", from_client=False, whole=False))
    with pytest.raises(StreamError, match="inside a message"):
        wire.close(from_client=False)
