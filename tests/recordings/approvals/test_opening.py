"""recordings/approvals/opening.py: what the desk of a recorder knows of a run."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.approvals import Participant
from onrecord.policies.config import load_config
from onrecord.policies.errors import StoreError
from onrecord.policies.model import Identity
from onrecord.recordings.approvals.opening import DeskParts
from onrecord.recordings.evidence.checkpoint import Signer
from onrecord.recordings.frames import (
    FILE_HEADER_SIZE,
    HEADER,
    NO_ID,
    Kind,
    decode_frames,
    new_id,
    read_file_header,
)
from onrecord.recordings.journal import Journal
from onrecord.recordings.records import ApprovalRecord, KillRecord, SessionRecord, encode
from onrecord.recordings.store import Batch, StoreWriter


def test_who_took_part_in_a_run_is_known_by_all_names(tmp_path: Path) -> None:
    path = tmp_path / "mitm.toml"
    path.write_text('[gateway]\npostgres = "127.0.0.1:5433"\nstate = "state"\n')
    config = load_config(path)
    (tmp_path / "state" / "journal").mkdir(parents=True, mode=0o700)
    people = [
        Identity(issuer="i", subject="devin", on_behalf_of="0u1", names=("alice@example.com",), actors=("planner",)),
        Identity(issuer="i", subject="carol", kind="human"),
    ]
    with contextlib.closing(StoreWriter(config.recordings.store, Signer("onrecord/test", b"k" * 32))) as store:
        leaves = []
        for who in (*people, *people):
            record = SessionRecord(run="run-1", identity=who, resource="orders", protocol="postgres", client="c")
            leaves.append(HEADER.pack(1, Kind.SESSION, 0, new_id(), NO_ID, NO_ID, 1) + encode(record))
        store.commit([Batch(leaves)])
        parts = DeskParts(config, tmp_path / "state" / "journal")
        try:
            assert set(parts._participants("run-1")) == {
                Participant("", "devin", "0u1", ("alice@example.com",), ("planner",)),
                Participant("", "carol"),
            }
            assert not list(parts._participants("run-2"))
        finally:
            parts.close()


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[DeskParts]:
    path = tmp_path / "mitm.toml"
    path.write_text('[gateway]\npostgres = "127.0.0.1:5433"\nstate = "state"\n')
    (tmp_path / "state" / "journal").mkdir(parents=True, mode=0o700)
    found = DeskParts(load_config(path), tmp_path / "state" / "journal")
    yield found
    found.close()


def events(tmp_path: Path) -> list[str]:
    found = []
    for path in sorted((tmp_path / "state" / "journal").glob("approvals-*.journal")):
        data = path.read_bytes()
        frames = decode_frames(data[FILE_HEADER_SIZE:], read_file_header(data))
        found += [json.loads(frame.payload).get("event", "gap") for frame in frames]
    return found


def step(event: Any) -> ApprovalRecord:
    return ApprovalRecord(approval="a", event=event)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_on_a_full_disk_what_takes_a_right_away_is_on_record_and_what_gives_one_is_refused(
    parts: DeskParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts._record(Kind.APPROVAL, step("requested"), NO_ID)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_reserve", full)
        for event in ("granted", "agreed", "consumed", "requested", "preview"):
            with pytest.raises(StoreError, match="No space left"):
                parts._record(Kind.APPROVAL, step(event), NO_ID)
        with pytest.raises(StoreError, match="No space left"):
            parts._record(Kind.KILL, KillRecord(event="lifted"), NO_ID)
        for event in ("refused", "revoked", "cancelled", "expired", "rejected"):
            parts._record(Kind.APPROVAL, step(event), NO_ID)
        parts._record(Kind.KILL, KillRecord(event="killed"), NO_ID)
    assert events(tmp_path) == ["requested", "refused", "revoked", "cancelled", "expired", "rejected", "killed"]


def test_an_ending_for_which_no_journal_could_be_made_is_written_late(
    parts: DeskParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_journal(_: Journal) -> None:
        raise StoreError("no journal can be opened")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_open", no_journal)
        with pytest.raises(StoreError):
            parts._record(Kind.KILL, KillRecord(event="killed"), NO_ID)
        parts.desk.tick()
    assert events(tmp_path) == []
    parts.desk.tick()
    assert events(tmp_path) == ["killed"]
    parts.desk.tick()
    assert events(tmp_path) == ["killed"]
