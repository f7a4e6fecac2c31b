"""Frames: any chunking gives the same records, junk raises only FrameError, every changed byte is noticed."""

from __future__ import annotations

import contextlib
from hashlib import sha256
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.frames import (
    FILE_HEADER_SIZE,
    HEADER,
    MAX_FRAME,
    NO_ID,
    PREFIX,
    Frame,
    FrameError,
    Kind,
    decode_frames,
    encode_frame,
    file_header,
    id_bytes,
    id_text,
    new_id,
    read_file_header,
    split_leaf,
    take_leaves,
)

SEED = b"s" * 32
IDS = st.binary(min_size=16, max_size=16)
RECORDS = st.lists(
    st.tuples(st.sampled_from(Kind), IDS, IDS, IDS, st.integers(0, 2**64 - 1), st.binary(max_size=200)), max_size=8
)
Row = tuple[Kind, bytes, bytes, bytes, int, bytes]


def encode(records: list[Row]) -> bytes:
    data, chain = b"", SEED
    for record in records:
        frame, chain = encode_frame(chain, *record)
        data += frame
    return data


def contents(frames: list[Frame]) -> list[Row]:
    return [(frame.kind, frame.id, frame.session, frame.command, frame.at, frame.payload) for frame in frames]


@given(RECORDS)
def test_what_is_encoded_is_decoded(records: list[Row]) -> None:
    data = encode(records)
    frames = list(decode_frames(data, SEED, 100))
    assert contents(frames) == records
    assert all(split_leaf(frame.leaf)[-1] == frame.payload for frame in frames)
    if frames:
        assert frames[-1].end == 100 + len(data)


@given(RECORDS, st.data())
def test_any_chunking_gives_the_same_frames(records: list[Row], data: st.DataObject) -> None:
    whole = encode(records)
    position, chain, found = 0, SEED, list[Frame]()
    end = 0
    while end < len(whole):
        end = data.draw(st.integers(end + 1, len(whole)))
        for frame in decode_frames(whole[position:end], chain, position):
            found.append(frame)
            position, chain = frame.end, frame.chain
    assert contents(found) == records


@given(RECORDS, st.data())
def test_the_recorders_quick_way_takes_the_same_leaves_and_stops_at_the_same_damage(
    records: list[Row], data: st.DataObject
) -> None:
    whole = bytearray(encode(records)) + bytes(data.draw(st.integers(0, 60)))
    for _ in range(data.draw(st.integers(0, 2)) if whole else 0):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    frames: list[Frame] = []
    damage: FrameError | None = None
    try:
        frames.extend(decode_frames(cut, SEED, 5))
    except FrameError as error:
        damage = error
    limit, junk = data.draw(st.integers(1, len(records) + 1)), data.draw(st.binary(max_size=20))
    found = take_leaves(junk + cut, len(junk), SEED, 5 - len(junk), limit)
    assert found.leaves == [frame.leaf for frame in frames[:limit]]
    last = frames[:limit][-1:]
    assert (found.end, found.chain) == ((last[0].end - 5 + len(junk), last[0].chain) if last else (len(junk), SEED))
    if len(frames) < limit:
        assert (found.error and found.error.offset) == (damage and damage.offset)


@given(st.integers(0, 255), st.integers(0, 255))
def test_the_quick_way_refuses_the_versions_and_kinds_that_nobody_knows(version: int, kind: int) -> None:
    leaf = bytes([version, kind]) + bytes(HEADER.size - 2)
    chain = sha256(SEED + leaf).digest()
    frame = PREFIX.pack(len(leaf), crc32(chain + leaf), chain) + leaf
    known = version == 1 and kind in Kind
    found = take_leaves(frame, 0, SEED, 0, 1)
    assert (found.leaves, found.error is None) == (([leaf], True) if known else ([], False))


@given(st.binary(max_size=400))
def test_junk_raises_only_frame_errors(data: bytes) -> None:
    for decode in (lambda: list(decode_frames(data, SEED)), lambda: read_file_header(data), lambda: split_leaf(data)):
        with contextlib.suppress(FrameError):
            decode()


@given(RECORDS.filter(bool), st.data())
def test_a_changed_byte_never_passes(records: list[Row], data: st.DataObject) -> None:
    whole = bytearray(encode(records))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    found: list[Frame] = []
    with contextlib.suppress(FrameError):
        found.extend(decode_frames(bytes(whole), SEED))
    assert contents(found) == records[: len(found)]
    assert len(found) < len(records)


def test_a_frame_moved_or_repeated_breaks_the_chain() -> None:
    first, chain = encode_frame(SEED, Kind.GAP, NO_ID, NO_ID, NO_ID, 1, b"a")
    second, _ = encode_frame(chain, Kind.GAP, NO_ID, NO_ID, NO_ID, 2, b"b")
    for order in (second, first + first, first + second + second):
        with pytest.raises(FrameError, match="chain"):
            list(decode_frames(order, SEED))


def test_an_unfinished_frame_and_preallocated_zeros_end_what_was_written() -> None:
    frame, _ = encode_frame(SEED, Kind.GAP, NO_ID, NO_ID, NO_ID, 1, b"payload")
    assert len(list(decode_frames(frame + bytes(500), SEED))) == 1
    for cut in range(len(frame)):
        assert list(decode_frames(frame[:cut], SEED)) == []


def test_a_length_that_no_frame_has_is_damage() -> None:
    for length in (1, HEADER.size - 1, MAX_FRAME + 1, 2**32 - 1):
        with pytest.raises(FrameError, match="at byte 7"):
            list(decode_frames(PREFIX.pack(length, 0, SEED) + bytes(100), SEED, 7))


def test_an_unknown_kind_or_version_is_damage() -> None:
    for kind in (0, 99, 255):
        frame, _ = encode_frame(SEED, kind, NO_ID, NO_ID, NO_ID, 1, b"")
        with pytest.raises(FrameError, match="kind"):
            list(decode_frames(frame, SEED))


def test_a_record_over_the_limit_is_refused_when_it_is_made() -> None:
    with pytest.raises(FrameError, match="over the limit"):
        encode_frame(SEED, Kind.GAP, NO_ID, NO_ID, NO_ID, 1, bytes(MAX_FRAME))


def test_the_file_header_holds_the_seed() -> None:
    assert read_file_header(file_header(SEED) + b"more") == SEED
    assert len(file_header(SEED)) == FILE_HEADER_SIZE
    with pytest.raises(FrameError):
        read_file_header(file_header(SEED)[:-1])


@given(IDS)
def test_ids_have_one_text_form(raw: bytes) -> None:
    assert id_bytes(id_text(raw)) == raw


@pytest.mark.parametrize("text", ["x", "0" * 32, "0" * 36, "A" * 8 + "-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "00-"])
def test_other_forms_of_an_id_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        id_bytes(text)


def test_new_ids_are_version_7_and_ordered_by_time() -> None:
    early, late = new_id(1_000_000_000), new_id(2_000_000_000)
    assert early < late
    assert id_text(early)[14] == "7"
    assert id_text(early)[19] in "89ab"
