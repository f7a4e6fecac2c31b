"""Following files: any bytes whatever in the journals' folder end in leaves and notes, never in an error or a loop."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.follow import Follower
from onrecord.recordings.frames import NO_ID, Kind, encode_frame, file_header

SEED = b"s" * 32


def frames(count: int) -> list[bytes]:
    found, chain = [], SEED
    for number in range(count):
        frame, chain = encode_frame(chain, Kind.GAP, number.to_bytes(16, "big"), NO_ID, NO_ID, 1, b"payload")
        found.append(frame)
    return found


def follow(data: bytes) -> tuple[list[bytes], list[str]]:
    """Everything that a finished file gives."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "gateway-0.journal").write_bytes(data)
        follower = Follower(Path(folder), {})
        leaves: list[bytes] = []
        notes: list[str] = []
        for _ in range(200):
            found = follower.poll(3)
            for progress in found:
                leaves += progress.leaves
                notes += progress.notes
                follower.accept(progress.state)
            if not found:
                break
        else:
            raise AssertionError("it never ends")
        follower.close()
        return leaves, notes


@given(st.binary(max_size=300))
def test_junk_behind_a_header_is_noted(junk: bytes) -> None:
    good = frames(2)
    leaves, notes = follow(file_header(SEED) + b"".join(good) + junk)
    assert len(leaves) == 2
    assert bool(notes) == bool(junk.strip(b"\x00"))


@given(st.integers(3, 12), st.data())
def test_a_changed_byte_costs_one_record_and_is_noted(count: int, data: st.DataObject) -> None:
    whole = frames(count)
    hit = data.draw(st.integers(0, count - 1))
    at = data.draw(st.integers(0, len(whole[hit]) - 1))
    bit = data.draw(st.integers(0, 7))
    broken = bytearray(whole[hit])
    broken[at] ^= 1 << bit
    leaves, notes = follow(file_header(SEED) + b"".join([*whole[:hit], bytes(broken), *whole[hit + 1 :]]))
    numbers = [int.from_bytes(leaf[6:22], "big") for leaf in leaves]
    assert numbers == [number for number in range(count) if number != hit]
    assert notes


@given(st.binary(max_size=100))
def test_a_file_that_is_no_journal_is_noted_once(junk: bytes) -> None:
    leaves, notes = follow(junk + bytes(60))
    assert leaves == []
    assert len(notes) == 1
