"""The journal: what flush returned for is on disk, what it raised for is not, whatever the disk does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from onrecord.policies.errors import StoreError
from onrecord.recordings import journal as module
from onrecord.recordings.frames import FILE_HEADER_SIZE, Frame, Kind, decode_frames, id_text, read_file_header
from onrecord.recordings.journal import Journal
from onrecord.recordings.records import GapRecord


def gap(number: int) -> GapRecord:
    return GapRecord(refusals=number, since=0, reason="x")


def read(path: Path) -> list[Frame]:
    data = path.read_bytes()
    return list(decode_frames(data[FILE_HEADER_SIZE:], read_file_header(data)))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def read_all(folder: Path) -> list[Frame]:
    """All files as one chain."""
    frames: list[Frame] = []
    chain = b""
    for path in files(folder):
        data = path.read_bytes()
        seed = read_file_header(data)
        assert chain in (b"", seed), "each file goes on where the one before it ended"
        found = list(decode_frames(data[FILE_HEADER_SIZE:], seed))
        frames += found
        chain = found[-1].chain if found else seed
    return frames


class Disk:
    """os.write, os.fdatasync and fallocate that fail when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.sync_fails = False
        self.truncate_fails = False
        self._write, self._sync, self._truncate = os.write, os.fdatasync, os.ftruncate
        monkeypatch.setattr("os.write", self.write)
        monkeypatch.setattr("os.fdatasync", self.fdatasync)
        monkeypatch.setattr("os.ftruncate", self.ftruncate)
        monkeypatch.setattr(module, "_allocate", self.allocate)

    def write(self, fd: int, data: bytes) -> int:
        if self.room is None:
            return self._write(fd, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(fd, data[: self.room])
        self.room -= written
        return written

    def fdatasync(self, fd: int) -> None:
        if self.sync_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        if self.truncate_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._truncate(fd, size)

    def allocate(self, fd: int, offset: int, length: int) -> bool:
        return False


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_flush_puts_all_of_it_on_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gateway")
    ids = [journal.append(Kind.GAP, gap(number)) for number in range(3)]
    assert read(journal.path) == []
    assert journal.pending
    journal.flush()
    assert [frame.id for frame in read(journal.path)] == ids
    journal.close()
    journal.close()
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_it_rotates_and_the_chain_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gateway", rotate_at=1000)
    ids = []
    for number in range(40):
        ids.append(journal.append(Kind.GAP, gap(number)))
        journal.flush()
    journal.close()
    assert len(files(tmp_path)) > 3
    assert [frame.id for frame in read_all(tmp_path)] == ids


@pytest.mark.parametrize("room", [0, 1, 50, 250])
def test_a_write_cut_short_leaves_nothing_of_the_batch(tmp_path: Path, disk: Disk, room: int) -> None:
    journal = Journal(tmp_path, "gateway")
    kept = journal.append(Kind.GAP, gap(1))
    journal.flush()
    disk.room = room
    for number in range(3):
        journal.append(Kind.GAP, gap(number))
    with pytest.raises(StoreError, match="No space left"):
        journal.flush()
    disk.room = None
    after = journal.append(Kind.GAP, gap(9))
    journal.flush()
    assert [frame.id for frame in read_all(tmp_path)] == [kept, after]
    journal.close()


def test_records_of_two_callers_that_are_lost_are_lost_for_both(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path, "gateway")
    before = journal.losses
    journal.append(Kind.GAP, gap(1))
    journal.append(Kind.GAP, gap(2))
    disk.room = 0
    with pytest.raises(StoreError):
        journal.flush()  # the first caller's
    with pytest.raises(StoreError):
        journal.flush()  # the second's: its record is not on disk either
    disk.room = None
    journal.append(Kind.GAP, gap(3))
    journal.flush()
    journal.flush()
    assert journal.losses > before
    journal.close()


def test_a_torn_end_that_cannot_be_cut_begins_a_new_file(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path, "gateway")
    kept = journal.append(Kind.GAP, gap(1))
    journal.flush()
    disk.room, disk.truncate_fails = 30, True
    journal.append(Kind.GAP, gap(2))
    with pytest.raises(StoreError):
        journal.flush()
    journal.append(Kind.GAP, gap(3))
    with pytest.raises(StoreError):
        journal.flush()  # no room for a new file either
    assert len(files(tmp_path)) == 1, "a file that cannot be begun leaves nothing behind"
    disk.room, disk.truncate_fails = None, False
    after = journal.append(Kind.GAP, gap(4))
    journal.flush()
    assert [frame.id for frame in read_all(tmp_path)] == [kept, after]
    journal.close()


def test_a_failed_sync_is_a_failed_write_and_what_follows_is_readable(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path, "gateway", durability="power")
    kept = journal.append(Kind.GAP, gap(1))
    journal.flush()
    disk.sync_fails = True
    journal.append(Kind.GAP, gap(2))
    with pytest.raises(StoreError):
        journal.flush()
    disk.sync_fails = False
    after = journal.append(Kind.GAP, gap(3))
    journal.flush()
    assert [frame.id for frame in read_all(tmp_path)] == [kept, after]
    journal.close()


def test_a_rotation_without_room_goes_on_in_the_old_file_and_loses_nothing(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, "gateway", rotate_at=300)
    ids = []
    original: Callable[[int, bytes], int] = disk.write

    def no_new_files(fd: int, data: bytes) -> int:
        if data.startswith(b"onrecord-journal"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(fd, data)

    monkeypatch.setattr("os.write", no_new_files)
    for number in range(10):
        ids.append(journal.append(Kind.GAP, gap(number)))
        journal.flush()
    assert len(files(tmp_path)) == 1
    monkeypatch.setattr("os.write", original)
    disk.room = 20
    journal.append(Kind.GAP, gap(98))
    with pytest.raises(StoreError):
        journal.flush()  # and its undoing cuts only what it wrote
    disk.room = None
    ids.append(journal.append(Kind.GAP, gap(99)))
    journal.flush()
    assert [frame.id for frame in read_all(tmp_path)] == ids
    journal.close()


def test_refusals_without_any_room_are_counted_and_the_count_is_written(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path, "gateway")
    disk.room = 0
    for number in range(5):
        assert id_text(journal.refuse(Kind.GAP, gap(number)))
    assert journal.lost_refusals == 5
    disk.room = None
    kept = journal.append(Kind.GAP, gap(7))
    journal.flush()
    counted, after = read_all(tmp_path)
    assert b'"refusals":5' in counted.payload
    assert after.id == kept
    assert journal.lost_refusals == 0
    journal.close()


def test_a_refusal_that_finds_no_room_for_what_waits_fails_the_waiting_flush(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path, "gateway")
    journal.append(Kind.GAP, gap(1))
    disk.room = 0
    journal.refuse(Kind.GAP, gap(2))
    disk.room = None
    with pytest.raises(StoreError, match="lost"):
        journal.flush()
    journal.close()


def test_a_record_over_the_limit_is_counted_when_it_is_a_refusal(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gateway")
    journal.refuse(Kind.GAP, GapRecord(refusals=0, since=0, reason="x" * (65 * 1024 * 1024)))
    assert journal.lost_refusals == 1
    journal.refuse(Kind.GAP, gap(2))
    assert len(read_all(tmp_path)) == 2
    journal.close()


@pytest.mark.parametrize(
    "how", ["removed", "renamed", "replaced by a copy", "replaced by a link", "moved with its folder"]
)
def test_a_journal_that_was_taken_away_is_written_no_further(tmp_path: Path, how: str) -> None:
    folder, aside = tmp_path / "journal", tmp_path / "aside"
    journal = Journal(folder, "gateway")
    journal.append(Kind.GAP, gap(1))
    journal.flush()
    first = journal.path
    content = first.read_bytes()
    if how == "removed":
        first.unlink()
    elif how == "moved with its folder":
        folder.rename(aside)
    else:
        first.rename(aside)
        if how == "replaced by a copy":
            first.write_bytes(content)
        elif how == "replaced by a link":
            first.symlink_to(aside)
    journal._looked_at = 0.0  # as after a while
    after = journal.append(Kind.GAP, gap(2))
    journal.flush()
    refused = journal.refuse(Kind.GAP, gap(3))
    assert journal.path != first
    command, note, refusal = read(journal.path)
    assert (command.id, refusal.id) == (after, refused)
    assert first.name.encode() in note.payload
    assert (
        read_file_header(journal.path.read_bytes())
        == list(decode_frames(content[FILE_HEADER_SIZE:], content[19:51]))[-1].chain
    )
    journal.close()


def test_a_refusal_goes_into_a_new_file_where_the_old_one_was_taken_away(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gateway")
    journal.path.unlink()
    journal._looked_at = 0.0
    refused = journal.refuse(Kind.GAP, gap(3))
    assert refused in [frame.id for frame in read(journal.path)]
    journal.close()


def test_where_no_new_file_can_be_made_for_one_taken_away_nothing_is_let_through(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, "gateway")
    journal.path.unlink()
    folder.rmdir()
    folder.touch()
    for _ in range(2):
        journal._looked_at = 0.0
        journal.append(Kind.GAP, gap(1))
        with pytest.raises(StoreError, match="no journal can be opened"):
            journal.flush()
    folder.unlink()
    kept = journal.append(Kind.GAP, gap(2))
    journal.flush()
    assert kept in [frame.id for frame in read(journal.path)]
    journal.close()
