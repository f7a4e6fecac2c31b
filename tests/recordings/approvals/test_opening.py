"""recordings/approvals/opening.py: what the desk of a recorder knows of a run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from onrecord.policies.approvals import Participant
from onrecord.policies.config import load_config
from onrecord.policies.model import Identity
from onrecord.recordings.approvals.opening import DeskParts
from onrecord.recordings.evidence.checkpoint import Signer
from onrecord.recordings.frames import HEADER, NO_ID, Kind, new_id
from onrecord.recordings.records import SessionRecord, encode
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
