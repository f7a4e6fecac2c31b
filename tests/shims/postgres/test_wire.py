"""Bytes ↔ messages: any chunking gives the same, junk raises WireError only."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres.wire import CLIENT_LIMITS, MessageBuffer, WireError, message

KINDS = st.sampled_from([b"Q", b"P", b"B", b"E", b"D", b"C"])
MESSAGES = st.lists(st.builds(message, KINDS, st.binary(max_size=60)), max_size=12)


def drain(buffer: MessageBuffer) -> list[bytes]:
    found: list[bytes] = []
    while one := buffer.next():
        found.append(one[1])
    return found


@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1), st.booleans())
def test_any_chunking_gives_the_same_messages(messages: list[bytes], sizes: list[int], batches: bool) -> None:
    data = b"".join(messages)
    buffer = MessageBuffer(CLIENT_LIMITS)
    found: list[bytes] = []
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        buffer.feed(data[position : position + size])
        position += size
        turn += 1
        if batches:
            while batch := buffer.all():
                found += [one for _, one in batch]
        else:
            found += drain(buffer)
    assert found == messages
    assert buffer.pending == 0


@given(st.lists(st.binary(max_size=50), max_size=10), st.booleans())
def test_junk_raises_only_wire_errors(pieces: list[bytes], batches: bool) -> None:
    buffer = MessageBuffer(CLIENT_LIMITS)
    with contextlib.suppress(WireError):
        for piece in pieces:
            buffer.feed(piece)
            while buffer.all() if batches else buffer.next():
                pass


@pytest.mark.parametrize(
    ("data", "sqlstate"),
    [
        (b"z", "08P01"),
        (b"Q\0\0\0\3", "08P01"),
        (b"Q\x7f\xff\xff\xff", "54000"),
        (b"S\0\0\0\5", "08P01"),
        (b"d\0\0\0\3", "08P01"),
    ],
)
def test_a_bad_header_is_refused_before_its_body_is_buffered(data: bytes, sqlstate: str) -> None:
    buffer = MessageBuffer(CLIENT_LIMITS)
    buffer.feed(data)
    with pytest.raises(WireError) as caught:
        buffer.next()
    assert caught.value.sqlstate == sqlstate
