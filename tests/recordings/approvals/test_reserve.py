"""recordings/approvals/reserve.py: what is kept where the state cannot be written, whole or cut off anywhere."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from onrecord.policies.approvals import State
from onrecord.policies.errors import StoreError
from onrecord.policies.kills import Kill
from onrecord.recordings.approvals.reserve import SIZE, Ended, Entry, Reserve, Stopped

ENTRIES: list[Entry] = [
    Ended(id="a", state=State.REVOKED, reason="no\nline \0 break"),
    Stopped(kill=Kill(id="k", target="run", value="run-1")),
    Ended(id="b", state=State.REFUSED),
]


def test_entries_are_there_again_until_they_are_cleared(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    reserve = Reserve(path)
    for entry in ENTRIES:
        reserve.add(entry)
    reserve.close()
    again = Reserve(path)
    assert again.entries == ENTRIES
    again.clear()
    again.add(ENTRIES[2])
    again.close()
    last = Reserve(path)
    assert last.entries == [ENTRIES[2]]
    last.close()
    assert path.stat().st_size == SIZE


def test_a_reserve_that_ends_anywhere_keeps_every_whole_entry(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    reserve = Reserve(path)
    ends = [0]
    for entry in ENTRIES:
        reserve.add(entry)
        ends.append(path.read_bytes().index(b"\0"))
    reserve.close()
    whole = path.read_bytes()
    for cut in range(ends[-1] + 1):
        path.write_bytes(whole[:cut] + bytes(SIZE - cut))
        found = Reserve(path)
        assert found.entries == ENTRIES[: sum(end <= cut for end in ends) - 1]
        found.add(ENTRIES[0])
        found.close()


def test_an_entry_that_was_damaged_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    path.write_bytes(b'{"type":"ended","id":"a","state":"forgiven"}\n')
    with pytest.raises(StoreError, match=r"cannot be read.*remove the file"):
        Reserve(path)


def test_a_reserve_that_is_used_up_says_so(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve")
    with pytest.raises(StoreError, match="used up"):
        reserve.add(Ended(id="a", state=State.REVOKED, reason="x" * SIZE))
    assert reserve.entries == []
    reserve.close()


def test_it_writes_where_no_file_may_grow(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, limit[1]))
    try:
        for entry in ENTRIES:
            reserve.add(entry)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    reserve.close()
