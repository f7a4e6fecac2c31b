"""Journals become a store: nothing is lost or doubled, whoever is killed, wherever the disk ends."""

# ruff: noqa: S311  # random moments, not secrets

from __future__ import annotations

import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onrecord.policies.errors import StoreError
from onrecord.recordings.frames import FILE_HEADER_SIZE, Kind, id_text
from onrecord.recordings.ingest import GONE, Ingest, take_lock
from onrecord.recordings.queries import Filters, Reader
from tests.recordings.samples import Recorded, Writer, drain

WRITING = """
import sys
from pathlib import Path
from onrecord.recordings.frames import id_text
from tests.recordings.samples import Writer
writer = Writer(Path(sys.argv[1]), rotate_at=40_000)
session = writer.session()
number = 0
while True:
    number += 1
    raw = writer.command(session, f"SELECT {number}", status=None if number % 5 == 0 else "ok")
    sys.stdout.write(id_text(raw) + "\\n")  # on record: it would now go upstream
    sys.stdout.flush()
"""
INGESTING = """
import sys, time
from pathlib import Path
from onrecord.recordings.ingest import Ingest
ingest = Ingest(Path(sys.argv[1]), Path(sys.argv[2]))
print("ready", flush=True)
while True:
    ingest.step()
    time.sleep(0.002)
"""


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """Paths of a store that does not exist yet."""
    made = object.__new__(Recorded)
    made.state, made.path = tmp_path / "state", tmp_path / "recordings.db"
    return made


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )


def kill(process: subprocess.Popen[bytes]) -> bytes:
    """kill -9, and what it had printed."""
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=30)
    return output


def logged(recorded: Recorded) -> list[dict[str, object]]:
    with Reader(recorded.path) as reader:
        return reader.log(Filters())


def take_in(recorded: Recorded) -> None:
    ingest = Ingest(recorded.state, recorded.path)
    drain(ingest)
    while ingest._unpublished:  # journals go once the checkpoint behind them stands outside, twice a second at most
        time.sleep(0.05)
        ingest.step()
    drain(ingest)
    ingest.close()


def test_killing_writer_and_recorder_at_any_moment_loses_and_doubles_nothing(recorded: Recorded) -> None:
    chance = random.Random(7)
    flushed: list[str] = []
    for _ in range(4):
        writer = start(WRITING, recorded.state)
        assert writer.stdout is not None
        select.select([writer.stdout], [], [], 30)
        for _ in range(2):
            recorder = start(INGESTING, recorded.state, recorded.path)
            assert recorder.stdout is not None
            assert recorder.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.0, 0.15))
            kill(recorder)
            # drained all the time, or the writer would stand still
            flushed += _read_some(writer)
        lines = kill(writer).decode().splitlines(keepends=True)
        flushed += [line.strip() for line in lines if line.endswith("\n")]
    take_in(recorded)
    views = logged(recorded)
    count = Counter(view["id"] for view in views)
    assert len(flushed) > 100
    assert not set(flushed) - set(count), "a command that may have gone upstream is not on record"
    assert max(count.values()) == 1
    assert all(view["outcome"] is not None for view in views), "what the dead left open is ended"
    report = recorded.verify()
    assert report.ok, report.damage
    left = (recorded.state / "journal").glob("*.journal")
    # one whose writer was killed before the header stands for ten minutes: it holds nothing
    assert not [path for path in left if path.stat().st_size >= FILE_HEADER_SIZE]
    with Reader(recorded.path) as reader:
        assert {session["reason"] for session in reader.sessions(Filters())} == {GONE}


def _read_some(process: subprocess.Popen[bytes]) -> list[str]:
    assert process.stdout is not None
    fd = process.stdout.fileno()
    data = b""
    while select.select([fd], [], [], 0)[0]:
        part = os.read(fd, 65536)
        if not part:
            break
        data += part
        if len(data) > 500_000:
            break
    while data and not data.endswith(b"\n"):
        data += os.read(fd, 1)
    return data.decode().split()


def test_a_journal_file_appears_in_the_store_while_it_is_written(recorded: Recorded) -> None:
    ingest = Ingest(recorded.state, recorded.path)
    writer = Writer(recorded.state)
    session = writer.session()
    for number in range(3):
        writer.command(session, f"SELECT {number}")
        drain(ingest)
        assert len(logged(recorded)) == number + 1
    assert writer.journal.path.exists()
    writer.journal.close()
    drain(ingest)
    drain(ingest)
    assert not writer.journal.path.exists()
    ingest.close()


def test_sessions_go_on_over_a_rotation(recorded: Recorded) -> None:
    ingest = Ingest(recorded.state, recorded.path)
    writer = Writer(recorded.state, rotate_at=2000)
    session = writer.session()
    for number in range(40):
        writer.command(session, f"SELECT {number}")
        if number % 7 == 0:
            drain(ingest)
    drain(ingest)
    drain(ingest)
    with Reader(recorded.path) as reader:
        (view,) = reader.sessions(Filters())
        assert view["ended"] is None
        assert view["commands"] == 40
    writer.end(session)
    writer.journal.close()
    drain(ingest)
    with Reader(recorded.path) as reader:
        (view,) = reader.sessions(Filters())
        assert view["reason"] == "closed"
    ingest.close()
    assert recorded.verify().ok


def test_a_process_whose_files_are_far_behind_is_read_in_order(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onrecord.recordings.follow.READ_SIZE", 3000)
    writer = Writer(recorded.state, rotate_at=20_000)
    session = writer.session()
    for number in range(150):
        writer.command(session, f"SELECT {number}")
    writer.end(session)
    writer.journal.close()
    assert len(list((recorded.state / "journal").iterdir())) > 2
    take_in(recorded)
    assert [view["text"] for view in logged(recorded)] == [f"SELECT {number}" for number in range(150)]
    with Reader(recorded.path) as reader:
        assert [view["reason"] for view in reader.sessions(Filters())] == ["closed"]
        positions = [seq for view in reader.log(Filters()) for _, seq in [reader.find(str(view["id"]))]]
    assert positions == sorted(positions)
    assert recorded.verify().ok


def test_an_unfinished_frame_of_a_dead_process_is_noted_and_no_damage(recorded: Recorded) -> None:
    writer = Writer(recorded.state)
    session = writer.session()
    writer.command(session, "SELECT 1", status=None)
    writer.journal.close()
    path = writer.journal.path
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    take_in(recorded)
    report = recorded.verify()
    assert (report.ok, report.gaps) == (True, 1)
    with Reader(recorded.path) as reader:
        assert reader.log(Filters()) == []
        assert reader.sessions(Filters())[0]["reason"] == GONE


def test_damage_in_the_middle_is_noted_and_the_rest_is_taken_in(recorded: Recorded) -> None:
    writer = Writer(recorded.state)
    session = writer.session()
    starts = []
    for number in range(20):
        starts.append(writer.journal.path.stat().st_size)
        writer.command(session, f"SELECT {number}")
    writer.journal.close()
    data = bytearray(writer.journal.path.read_bytes())
    data[starts[10] + 150] ^= 1
    writer.journal.path.write_bytes(data)
    take_in(recorded)
    texts = [view["text"] for view in logged(recorded)]
    assert texts == [f"SELECT {number}" for number in range(20) if number != 10]
    report = recorded.verify()
    assert report.ok
    assert report.gaps >= 1


def test_a_frame_taken_out_of_a_journal_leaves_a_gap_on_record(recorded: Recorded) -> None:
    writer = Writer(recorded.state)
    session = writer.session()
    writer.command(session, "SELECT 1")
    begin = writer.journal.path.stat().st_size
    writer.command(session, "DELETE FROM orders")
    end = writer.journal.path.stat().st_size
    writer.command(session, "SELECT 3")
    writer.journal.close()
    data = writer.journal.path.read_bytes()
    writer.journal.path.write_bytes(data[:begin] + data[end:])
    take_in(recorded)
    assert recorded.verify().gaps == 1
    assert [view["text"] for view in logged(recorded)] == ["SELECT 1", "SELECT 3"]


def test_a_journal_that_vanishes_is_noted(recorded: Recorded) -> None:
    ingest = Ingest(recorded.state, recorded.path)
    writer = Writer(recorded.state)
    writer.session()
    drain(ingest)
    writer.journal.path.unlink()
    drain(ingest)
    ingest.close()
    assert recorded.verify().gaps == 1


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_what_is_written_to_a_journal_that_was_taken_away_is_on_record(recorded: Recorded, how: str) -> None:
    ingest = Ingest(recorded.state, recorded.path)
    writer = Writer(recorded.state)
    session = writer.session()
    writer.command(session, "SELECT 1")
    drain(ingest)
    path = writer.journal.path
    path.unlink() if how == "removed" else path.rename(path.with_suffix(".aside"))
    writer.journal._looked_at = time.monotonic() + 3600  # a moment before the writer looks again
    writer.command(session, "SELECT 2")
    drain(ingest)
    writer.command(session, "SELECT 3")
    writer.journal._looked_at = 0.0
    writer.command(session, "SELECT 4")
    drain(ingest)
    for _ in range(3):
        ingest.step()
    ingest.close()
    ingest = Ingest(recorded.state, recorded.path)
    writer.command(session, "SELECT 5")
    drain(ingest)
    ingest.close()
    assert [view["text"] for view in logged(recorded)] == [f"SELECT {number}" for number in range(1, 6)]
    assert all(view["outcome"]["status"] == "ok" for view in logged(recorded))  # type: ignore[index]
    assert recorded.verify().gaps == 2  # the recorder's note and the writer's


def test_a_journal_that_may_not_be_read_stops_the_store_and_is_never_deleted(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Ingest(recorded.state, recorded.path)
    writer = Writer(recorded.state)
    writer.command(writer.session(), "SELECT 1")
    real = os.open

    def forbidden(path: object, flags: int, *arguments: object) -> int:
        if str(path).endswith(".journal"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("os.open", forbidden)
        with pytest.raises(PermissionError):
            ingest.step()
    ingest.close()
    ingest = Ingest(recorded.state, recorded.path)
    drain(ingest)
    ingest.close()
    assert [view["text"] for view in logged(recorded)] == ["SELECT 1"]
    assert recorded.verify().gaps == 0


def test_two_recorders_never_share_a_state_folder(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "recorder.lock")
    with pytest.raises(StoreError, match="another recorder"):
        take_lock(tmp_path / "recorder.lock")
    os.close(lock)


def test_a_missing_or_readable_key_is_refused(recorded: Recorded) -> None:
    take_in(recorded)
    key = recorded.state / "evidence" / "signing.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        Ingest(recorded.state, recorded.path)
    key.unlink()
    with pytest.raises(StoreError, match="key is gone"):
        Ingest(recorded.state, recorded.path)


def test_payloads_that_cannot_be_read_are_listed_and_do_not_stop_anything(recorded: Recorded) -> None:
    writer = Writer(recorded.state)
    for kind in Kind:
        for payload in (b"", b"\xff\xfe", b"[1]", b'{"kind": 3}', b'{"text": "\\u0000\\u001b[2J"}', b"[" * 5000):
            writer.journal.append_payload(kind, payload, session=b"s" * 16, command=b"c" * 16, at=2**64 - 1)
    writer.journal.flush()
    writer.journal.close()
    take_in(recorded)
    assert recorded.verify().ok
    assert {view["kind"] for view in logged(recorded)} == {"unreadable"}


# -- the disk is full ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB. Where none can be mounted the test fails: it must not be skipped."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Use up every byte that is left."""
    path = folder / "fill"
    with path.open("ab", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return path


def test_a_full_disk_stops_the_store_and_it_recovers_by_itself(small_disk: Path, tmp_path: Path) -> None:
    recorded = object.__new__(Recorded)
    recorded.state, recorded.path = tmp_path / "state", small_disk / "recordings.db"
    ingest = Ingest(recorded.state, recorded.path)
    writer = Writer(recorded.state)
    session = writer.session()
    writer.command(session, "SELECT 1")
    drain(ingest)
    filler = fill(small_disk)
    for number in range(2000):
        writer.command(session, f"SELECT {number}, '{'x' * 500}'")
    with pytest.raises((sqlite3.Error, OSError)):
        drain(ingest)
    ingest.close()
    assert len(logged(recorded)) < 2001
    filler.unlink()
    take_in(recorded)
    assert len(logged(recorded)) == 2001
    writer.journal.close()
    assert recorded.verify().ok


def test_a_full_disk_refuses_in_the_journal_and_keeps_the_refusals(small_disk: Path, tmp_path: Path) -> None:
    state = small_disk / "state"
    writer = Writer(state)
    session = writer.session()
    filler = fill(small_disk)
    with pytest.raises(StoreError, match="cannot be written"):  # noqa: PT012  # the first few still have room
        for _ in range(1000):
            writer.command(session, "SELECT 1 " + "x" * 5000)
    for _ in range(3):
        with pytest.raises(StoreError, match="cannot be written"):
            writer.command(session, "DELETE FROM orders " + "x" * 5000)
    refused = [writer.refusal(f"junk {number}") for number in range(200)]
    assert writer.journal.lost_refusals == 0, "the reserve holds them"
    counted = 0
    while writer.journal.lost_refusals == 0 and counted < 20_000:
        writer.refusal("y" * 2000)
        counted += 1
    assert writer.journal.lost_refusals, "the reserve ends somewhere"
    filler.unlink()
    after = writer.command(session, "SELECT 2")
    writer.journal.close()
    recorded = object.__new__(Recorded)
    recorded.state, recorded.path = tmp_path / "store", tmp_path / "recordings.db"
    (recorded.state).mkdir()
    (state / "journal").rename(small_disk / "moved")
    (recorded.state / "journal").symlink_to(small_disk / "moved")
    take_in(recorded)
    views = {view["id"]: view for view in logged(recorded)}
    assert {id_text(raw) for raw in refused} <= set(views)
    assert id_text(after) in views
    assert not any("DELETE" in str(view["text"]) for view in views.values())
    with closing(sqlite3.connect(recorded.path)) as connection:
        leaves = [leaf for (leaf,) in connection.execute("SELECT leaf FROM records")]
    gaps = [leaf for leaf in leaves if leaf[1] == Kind.GAP]
    assert len(gaps) == 1
    assert b"refusals" in gaps[0]
    assert recorded.verify().ok
