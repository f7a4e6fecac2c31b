"""Following files: any bytes whatever in the journals' folder end in leaves and notes, never in an error or a loop."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.follow import Follower
from onrecord.recordings.frames import MAGIC, NO_ID, Kind, encode_frame, file_header

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


@given(st.binary(max_size=100).filter(lambda junk: not junk.startswith(MAGIC)))
def test_a_file_that_is_no_journal_is_noted_once(junk: bytes) -> None:
    leaves, notes = follow(junk + bytes(60))
    assert leaves == []
    assert len(notes) == 1


@pytest.mark.parametrize("what", ["symlink", "pipe", "folder", "socket", "dangling"])
def test_what_is_no_regular_file_is_noted_once_and_never_waited_for(tmp_path: Path, what: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(file_header(SEED) + b"".join(frames(2)))
    folder = tmp_path / "journal"
    folder.mkdir()
    odd = folder / "gateway-0.journal"
    (folder / "gateway-1.journal").write_bytes(file_header(b"t" * 32))
    listener = socket.socket(socket.AF_UNIX)
    if what == "symlink":
        odd.symlink_to(outside)
    elif what == "dangling":
        odd.symlink_to(tmp_path / "nothing")
    elif what == "pipe":
        os.mkfifo(odd)
    elif what == "folder":
        odd.mkdir()
    else:
        listener.bind(str(odd))
    listener.close()
    follower = Follower(folder, {})
    notes: list[str] = []
    for _ in range(5):
        for progress in follower.poll(10):
            assert not progress.leaves
            notes += progress.notes
            follower.accept(progress.state)
    follower.close()
    assert len(notes) == 1
    assert "gateway-0.journal" in notes[0]
    assert follower.known["gateway-1.journal"].done


def test_a_copy_of_a_journal_under_another_name_is_noted_and_not_taken_in_again(tmp_path: Path) -> None:
    whole = file_header(SEED) + b"".join(frames(3))
    (tmp_path / "gateway-0.journal").write_bytes(whole)
    follower = Follower(tmp_path, {})
    leaves: list[bytes] = []
    notes: list[str] = []
    for name in ("gateway-0.journal", "postgres-0.journal", "aaa-0.journal"):
        (tmp_path / name).write_bytes(whole)
        for _ in range(4):
            for progress in follower.poll(10):
                leaves += progress.leaves
                notes += progress.notes
                follower.accept(progress.state)
    follower.close()
    assert len(leaves) == 3
    assert len(notes) == 2
    assert all("copy of gateway-0.journal" in note for note in notes)


def test_a_journal_and_its_copy_that_are_found_together_are_taken_in_once(tmp_path: Path) -> None:
    whole = file_header(SEED) + b"".join(frames(3))
    for name in ("gateway-0.journal", "postgres-0.journal"):
        (tmp_path / name).write_bytes(whole)
    follower = Follower(tmp_path, {})
    leaves: list[bytes] = []
    for _ in range(4):
        for progress in follower.poll(10):
            leaves += progress.leaves
            follower.accept(progress.state)
    follower.close()
    assert len(leaves) == 3


@pytest.mark.parametrize("first", ["aaa-0.journal", "zzz-0.journal"])
def test_a_stolen_beginning_takes_no_record_from_the_journal_it_was_copied_from(tmp_path: Path, first: str) -> None:
    whole = frames(6)
    (tmp_path / first).write_bytes(file_header(SEED) + b"".join(whole[:2]))
    (tmp_path / "gateway-0.journal").write_bytes(file_header(SEED) + b"".join(whole))
    follower = Follower(tmp_path, {})
    leaves: list[bytes] = []
    for _ in range(6):
        for progress in follower.poll(10):
            leaves += progress.leaves
            follower.accept(progress.state)
    follower.close()
    assert sorted(int.from_bytes(leaf[6:22], "big") for leaf in leaves) == list(range(6))


def test_a_second_file_that_a_writer_began_after_a_torn_first_frame_is_taken_in(tmp_path: Path) -> None:
    whole = frames(3)
    (tmp_path / "gateway-0.journal").write_bytes(file_header(SEED) + whole[0][:-3])
    (tmp_path / "gateway-1.journal").write_bytes(file_header(SEED) + b"".join(whole))
    follower = Follower(tmp_path, {})
    leaves: list[bytes] = []
    for _ in range(6):
        for progress in follower.poll(10):
            leaves += progress.leaves
            follower.accept(progress.state)
    follower.close()
    assert len(leaves) == 3


def test_empty_journals_that_follow_each_other_have_no_heir(tmp_path: Path) -> None:
    for name in ("gateway-0.journal", "gateway-1.journal", "gateway-2.journal"):
        (tmp_path / name).write_bytes(file_header(SEED))
    follower = Follower(tmp_path, {})
    for _ in range(6):
        for progress in follower.poll(10):
            follower.accept(progress.state)
    assert all(state.done for state in follower.known.values())
    assert follower.heir(follower.known["gateway-0.journal"]) is None
    follower.close()


def test_it_says_whether_more_stands_in_the_journals_than_one_look_took(tmp_path: Path) -> None:
    for name in ("gateway-0", "postgres-0"):
        seed = name.encode().ljust(32, b"s")
        frame, chain = encode_frame(seed, Kind.GAP, NO_ID, NO_ID, NO_ID, 1, b"a")
        second, _ = encode_frame(chain, Kind.GAP, NO_ID, NO_ID, NO_ID, 1, b"b")
        (tmp_path / f"{name}.journal").write_bytes(file_header(seed) + frame + second)
    follower = Follower(tmp_path, {})

    def look(limit: int) -> tuple[int, bool]:
        found = follower.poll(limit)
        for progress in found:
            follower.accept(progress.state)
        return sum(len(progress.leaves) for progress in found), follower.behind

    assert look(3) == (2, True)  # the other file was not looked at
    while look(100)[0]:
        pass
    assert look(100) == (0, False)
    follower.close()


def test_large_records_are_read_to_the_end_in_several_looks(tmp_path: Path) -> None:
    data, chain = [file_header(SEED)], SEED
    for number in range(12):
        payload = bytes([number]) * (5_000_000 if number == 7 else 700_000)
        frame, chain = encode_frame(chain, Kind.GAP, NO_ID, NO_ID, NO_ID, 1, payload)
        data.append(frame)
    (tmp_path / "gateway-0.journal").write_bytes(b"".join(data))
    follower, leaves, behind = Follower(tmp_path, {}), list[int](), list[bool]()
    for _ in range(12):
        for progress in follower.poll(100):
            leaves += [leaf[-1] for leaf in progress.leaves]
            follower.accept(progress.state)
            assert not progress.notes
        behind.append(follower.behind)
    assert leaves == list(range(12))
    assert True in behind
    assert not behind[-1]
    follower.close()
