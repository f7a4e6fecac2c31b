"""SPDY/3.1: what is understood, what is refused, and that chunking makes no difference."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.streams import spdy_frames as frames
from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.events import (
    Accepted,
    Data,
    Ended,
    Event,
    GoneAway,
    Opened,
    Pinged,
    Reset,
)
from onrecord.addons.kubernetes_api.streams.spdy import MAX_STREAMS, SpdyWire, Use
from onrecord.addons.kubernetes_api.streams.spdy_dictionary import DICTIONARY


class Client:
    """Writes what a client writes."""

    def __init__(self) -> None:
        self._headers = frames.HeaderWriter()

    def open(
        self, stream: int, fields: dict[str, str] | None = None, flags: int = 0, parent: int = 0, **more: str
    ) -> bytes:
        block = self._headers.write({**(fields or {}), **more})
        return frames.control(frames.SYN_STREAM, struct.pack(">IIBB", stream, parent, 0, 0) + block, flags)


def client_events(data: bytes, use: Use = "command") -> list[Event]:
    return list(SpdyWire(use).feed(data, from_client=True))


def merged(events: list[Event]) -> list[Event]:
    """Neighbouring pieces of one stream as one."""
    made: list[Event] = []
    for event in events:
        last = made[-1] if made else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream:
            made[-1] = Data(event.stream, event.kind, last.data + event.data)
        else:
            made.append(event)
    return made


def test_the_dictionary_is_the_one_of_the_draft() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_a_command_opens_its_streams_and_sends_on_them() -> None:
    client = Client()
    data = client.open(1, streamtype="error") + client.open(3, streamtype="stdin") + client.open(5, streamtype="resize")
    data += frames.data_frames(3, b"ls\n", ends=True) + frames.control(frames.PING, struct.pack(">I", 7))
    assert client_events(data) == [
        Opened(1, "error"),
        Opened(3, "stdin"),
        Opened(5, "resize"),
        Data(3, "stdin", b"ls\n"),
        Ended(3, "stdin"),
        Pinged(7),
    ]


def test_a_forward_names_its_port_in_each_stream() -> None:
    client = Client()
    data = client.open(1, streamtype="error", port="5432", requestid="0")
    data += client.open(3, streamtype="data", port="5432", requestid="0") + frames.data_frames(3, b"\x00\x01")
    assert client_events(data, "forward") == [
        Opened(1, "error", 5432, 0),
        Opened(3, "data", 5432, 0),
        Data(3, "data", b"\x00\x01"),
    ]


@settings(deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from([3, 5]), st.binary(max_size=50)), max_size=8),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=60),
)
def test_any_chunking_gives_the_same_events(parts: list[tuple[int, bytes]], cuts: list[int]) -> None:
    client = Client()
    data = client.open(3, streamtype="data", port="80", requestid="1")
    data += client.open(5, streamtype="data", port="81", requestid="2")
    data += b"".join(frames.data_frames(stream, part) for stream, part in parts)
    data += frames.data_frames(3, b"", ends=True) + frames.control(frames.GOAWAY, struct.pack(">II", 0, 0))
    wire = SpdyWire("forward")
    events: list[Event] = []
    position = 0
    while position < len(data):
        step = cuts[position % len(cuts)]
        events += wire.feed(data[position : position + step], from_client=True)
        position += step
    wire.close(from_client=True)
    assert merged(events) == merged(client_events(data, "forward"))


@settings(deadline=None)
@given(
    events=st.lists(st.sampled_from([b"a", b"bc", b"\x80\x03\x00\x01"]), max_size=6),
    use=st.sampled_from(["command", "forward"]),
)
def test_what_one_hop_writes_the_next_reads(events: list[bytes], use: Use) -> None:
    kind, headers = ("stdin", {"streamtype": "stdin"}) if use == "command" else ("data", {"streamtype": "data"})
    if use == "forward":
        headers |= {"port": "80", "requestid": "9"}
    first, second = SpdyWire(use), SpdyWire(use)
    sent = Client().open(1, headers) + b"".join(frames.data_frames(1, part) for part in events)
    here = list(first.feed(sent, from_client=True))
    there = list(second.feed(b"".join(first.encode(event, to_client=False) for event in here), from_client=True))
    assert there == here
    assert isinstance(here[0], Opened)
    assert here[0].kind == kind


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans(), st.sampled_from(["command", "forward"]))
def test_junk_raises_only_its_own_error(data: bytes, from_client: bool, use: Use) -> None:
    with contextlib.suppress(StreamError):
        wire = SpdyWire(use)
        list(wire.feed(data, from_client=from_client))
        wire.close(from_client=from_client)


@settings(deadline=None)
@given(st.binary(max_size=80), st.integers(0, 12), st.integers(0, 3))
def test_junk_in_a_control_frame_raises_only_its_own_error(payload: bytes, type: int, flags: int) -> None:
    with contextlib.suppress(StreamError):
        client_events(frames.control(type, payload, flags))


def test_a_server_answers_and_sends_its_own_kinds() -> None:
    wire = SpdyWire("command")
    client = Client()
    list(wire.feed(client.open(1, streamtype="stdout") + client.open(3, streamtype="stdin"), from_client=True))
    reply = frames.control(frames.SYN_REPLY, struct.pack(">I", 1) + frames.HeaderWriter().write({}))
    answer = reply + frames.data_frames(1, b"hello", ends=True) + frames.control(9, struct.pack(">II", 1, 5))
    assert list(wire.feed(answer, from_client=False)) == [
        Accepted(1),
        Data(1, "stdout", b"hello"),
        Ended(1, "stdout"),
    ]


def test_a_stream_that_was_reset_swallows_what_was_on_its_way() -> None:
    wire = SpdyWire("command")
    list(wire.feed(Client().open(1, streamtype="stdout"), from_client=True))
    reset = frames.control(frames.RST_STREAM, struct.pack(">II", 1, 5))
    assert list(wire.feed(reset, from_client=True)) == [Reset(1, "stdout", 5)]
    assert list(wire.feed(frames.data_frames(1, b"late"), from_client=False)) == []


def test_a_goaway_is_told_on() -> None:
    assert client_events(frames.control(frames.GOAWAY, struct.pack(">II", 0, 0))) == [GoneAway(0, 0)]


def opened(use: Use = "command", **fields: str) -> SpdyWire:
    wire = SpdyWire(use)
    list(wire.feed(Client().open(1, fields), from_client=True))
    return wire


def bomb() -> bytes:
    deflate = zlib.compressobj(9, zdict=DICTIONARY)
    plain = struct.pack(">II", 1, 1) + b"a" + struct.pack(">I", 1 << 24) + bytes(1 << 24)
    block = deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">IIBB", 1, 0, 0, 0) + block


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (Client().open(1, streamtype="shell"), "not known"),
        (Client().open(1, streamtype="stdin", port="1"), "not known"),
        (Client().open(2, streamtype="stdin"), "even"),
        (Client().open(1, parent=1, streamtype="stdin"), "belongs to another"),
        (Client().open(1, flags=2, streamtype="stdin"), "flags"),
        (Client().open(5, streamtype="stdin") + Client().open(3, streamtype="stdout"), "used before"),
        (frames.data_frames(1, b"x"), "never opened"),
        (frames.control(frames.HEADERS, struct.pack(">I", 1)), "HEADERS is not spoken"),
        (frames.control(10, b""), "type 10"),
        (struct.pack(">II", 1 << 31 | 2 << 16 | 1, 0), "version 2"),
        (struct.pack(">II", 1 << 31 | 3 << 16 | 1, 1 << 23), "over the limit"),
        (struct.pack(">II", 1, 0x80 << 24), "flags"),
        (frames.control(frames.SYN_STREAM, bomb()), "inflates beyond"),
        (frames.control(frames.SYN_STREAM, bomb()[:10] + b"junk"), "does not inflate"),
        (frames.control(frames.SYN_STREAM, b"\0\0"), "cut short"),
        (frames.control(frames.SETTINGS, struct.pack(">I", 9)), "another length"),
        (frames.control(frames.PING, b"\0"), "PING frame of 1 bytes"),
        (frames.control(frames.GOAWAY, struct.pack(">II", 99, 0)), "never was"),
    ],
)
def test_what_is_not_spoken_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(StreamError, match=reason):
        client_events(data)


def test_two_streams_for_one_purpose_are_refused() -> None:
    client = Client()
    with pytest.raises(StreamError, match="a second SPDY stream for stdin"):
        client_events(client.open(1, streamtype="stdin") + client.open(3, streamtype="stdin"))


def test_data_in_the_wrong_direction_is_refused() -> None:
    with pytest.raises(StreamError, match="data on stdout from the client"):
        list(opened(streamtype="stdout").feed(frames.data_frames(1, b"x"), from_client=True))
    with pytest.raises(StreamError, match="data on stdin from the server"):
        list(opened(streamtype="stdin").feed(frames.data_frames(1, b"x"), from_client=False))


def test_data_behind_the_end_is_refused() -> None:
    with pytest.raises(StreamError, match="behind a stream's end"):
        list(
            opened(streamtype="stdin").feed(
                frames.data_frames(1, b"x", ends=True) + frames.data_frames(1, b"y"), from_client=True
            )
        )


def test_a_server_opens_no_streams() -> None:
    with pytest.raises(StreamError, match="the server opens"):
        list(SpdyWire("forward").feed(Client().open(2, streamtype="data", port="1"), from_client=False))


@pytest.mark.parametrize("port", ["0", "65536", "-1", "٣", "8080 ", ""])
def test_a_forward_to_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(StreamError):
        client_events(Client().open(1, streamtype="data", port=port, requestid="1"), "forward")


def test_streams_are_limited() -> None:
    client = Client()
    data = b"".join(
        client.open(2 * n + 1, streamtype="data", port="80", requestid=str(n)) for n in range(MAX_STREAMS + 1)
    )
    with pytest.raises(StreamError, match="SPDY streams at once"):
        client_events(data, "forward")


def test_a_cut_frame_is_told_at_the_end() -> None:
    wire = opened(streamtype="stdin")
    list(wire.feed(frames.data_frames(1, b"whole")[:-2], from_client=True))
    with pytest.raises(StreamError, match="inside a SPDY frame"):
        wire.close(from_client=True)
