"""The decoder: any chunking gives the same packets; junk raises SftpError and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.places import names, one_name, read_attrs, read_status
from onrecord.shims.ssh.sftp.requests import Request, Unsupported, offered, read_request
from onrecord.shims.ssh.sftp.wire import Attrs, Fields, SftpError, Splitter

_U32 = st.integers(0, 2**32 - 1)
_ATTRS = st.builds(
    lambda size, owner, permissions, times: Attrs(size, owner[0], owner[1], permissions, times[0], times[1]),
    st.none() | st.integers(0, 2**64 - 1),
    st.just((None, None)) | st.tuples(_U32, _U32),
    st.none() | _U32,
    st.just((None, None)) | st.tuples(_U32, _U32),
)


@given(st.lists(st.binary(min_size=1, max_size=50)), st.data())
def test_any_chunking_gives_the_same_packets(packets: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(wire.string(packet) for packet in packets)
    splitter, got, at = Splitter(), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 40))
        got += list(splitter.feed(stream[at : at + step]))
        at += step
    assert got == packets
    assert splitter.held == 0


@given(st.binary())
def test_junk_raises_only_sftp_error(data: bytes) -> None:
    with contextlib.suppress(SftpError):
        for packet in Splitter().feed(data):
            read_request(packet)
    for read in (read_request, offered, read_status, read_attrs, one_name, names):
        with contextlib.suppress(SftpError):
            read(b"\x03" + data)


@given(st.sampled_from([*range(3, 21), 101, 102, 103, 104, 105, 200, 201]), st.binary())
def test_a_packet_of_any_type_is_read_or_refused(kind: int, data: bytes) -> None:
    for read in (read_request, read_status, read_attrs, one_name, names):
        with contextlib.suppress(SftpError):
            read(bytes([kind]) + data)


@given(_ATTRS)
def test_attributes_survive_the_way(value: Attrs) -> None:
    fields = Fields(wire.attrs(value), 0)
    assert fields.attrs() == value
    fields.end()


@given(st.binary(max_size=100).filter(lambda path: b"\0" not in path), st.integers(0, 63), _ATTRS)
def test_what_is_read_is_what_is_sent(path: bytes, flags: int, value: Attrs) -> None:
    body = wire.string(path) + wire.u32(flags) + wire.attrs(value)
    request = read_request(wire.packet(wire.OPEN, 5, body)[4:])
    assert isinstance(request, Request)
    assert request.encode() == body
    assert request.encode(b"/elsewhere") == wire.string(b"/elsewhere") + wire.u32(flags) + wire.attrs(value)


def test_an_extension_is_known_only_in_its_very_form() -> None:
    pairs = [(b"posix-rename@openssh.com", b"1"), (b"statvfs@openssh.com", b"9"), (b"check-file", b"1")]
    data = bytes([2]) + wire.u32(3) + b"".join(wire.string(name) + wire.string(value) for name, value in pairs)
    assert offered(data) == (3, pairs[:1])


def test_an_unknown_request_keeps_its_id() -> None:
    assert read_request(wire.packet(77, 9)[4:]) == Unsupported(9, "a request of type 77")


@pytest.mark.parametrize("length", [0, wire.MAX_PACKET + 1, 2**32 - 1])
def test_lengths_out_of_bounds_raise(length: int) -> None:
    with pytest.raises(SftpError):
        list(Splitter().feed(wire.u32(length) + b"x"))
