"""Proofs of single records: true ones hold, altered ones do not, and what is behind them is not called proved."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from onrecord.recordings.evidence.checkpoint import Verifier
from onrecord.recordings.evidence.custody import checkpoints_path, vkey_path
from onrecord.recordings.evidence.merkle import inclusion_proof, leaf_hash, verify_inclusion
from onrecord.recordings.evidence.proving import Prover, State
from onrecord.recordings.ingest import Ingest
from onrecord.recordings.store import FIRST_LINK, next_link
from tests.recordings.samples import Recorded, Writer, drain


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


@contextmanager
def proving(recorded: Recorded) -> Iterator[Prover]:
    prover = Prover(recorded.path, recorded.checkpoints, recorded.vkey)
    try:
        while not prover.advance(0.0):
            pass
        yield prover
    finally:
        prover.close()


def leaves(recorded: Recorded) -> list[bytes]:
    with closing(sqlite3.connect(recorded.path)) as connection:
        return [row[0] for row in connection.execute("SELECT leaf FROM records ORDER BY seq")]


def change(recorded: Recorded, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(recorded.path, isolation_level=None)) as connection:
        connection.execute(sql, values)


def states(recorded: Recorded, prover: Prover) -> list[State]:
    return [prover.check(seq, leaf_hash(leaf)) for seq, leaf in enumerate(leaves(recorded))]


def test_every_record_of_a_sound_store_is_proved(recorded: Recorded) -> None:
    with proving(recorded) as prover:
        assert set(states(recorded, prover)) == {State.PROVED}
        assert not prover.damaged
        assert prover.check(0, bytes(32)) is State.BAD  # other bytes than those that were hashed
        assert prover.check(10**9, bytes(32)) is State.UNKNOWN


def test_an_inclusion_proof_is_checked_with_the_public_key_alone(recorded: Recorded) -> None:
    with proving(recorded) as prover:
        found = prover.inclusion(7)
        assert found is not None
        checkpoint = Verifier.parse(recorded.vkey).open(found.note)
        assert verify_inclusion(leaf_hash(leaves(recorded)[7]), 7, checkpoint.size, found.path, checkpoint.root)
        assert not verify_inclusion(leaf_hash(leaves(recorded)[8]), 7, checkpoint.size, found.path, checkpoint.root)


def test_every_path_is_that_of_the_rfc(recorded: Recorded) -> None:
    hashes = [leaf_hash(leaf) for leaf in leaves(recorded)]
    with proving(recorded) as prover:
        for seq in range(len(hashes)):
            found = prover.inclusion(seq)
            assert found is not None
            assert found.path == inclusion_proof(hashes, seq)


def test_an_edited_record_is_bad_and_none_behind_it_is_proved(recorded: Recorded) -> None:
    size = len(leaves(recorded))
    change(recorded, "UPDATE records SET leaf = CAST(leaf || x'20' AS BLOB) WHERE seq = 40")
    with proving(recorded) as prover:
        found = states(recorded, prover)
        assert found[40] is State.BAD
        assert State.PROVED not in found[40:]
        assert found.count(State.BAD) == 1
        assert found[0] is State.PROVED
        assert prover.damaged
        assert prover.inclusion(40) is None
        assert len(found) == size


def test_an_edit_whose_chain_was_mended_is_found_by_the_root(recorded: Recorded) -> None:
    change(recorded, "UPDATE records SET leaf = CAST(leaf || x'20' AS BLOB) WHERE seq = 40")
    link = FIRST_LINK
    for seq, leaf in enumerate(leaves(recorded)):
        link = next_link(link, leaf_hash(leaf))
        change(recorded, "UPDATE records SET link = ? WHERE seq = ?", link, seq)
    with proving(recorded) as prover:
        found = states(recorded, prover)
        assert found[40] is State.BAD
        assert State.PROVED not in found[40:]
        assert found[0] is State.PROVED


@pytest.mark.parametrize("seq", [0, 40])
def test_a_removed_record_leaves_nothing_behind_it_proved(recorded: Recorded, seq: int) -> None:
    change(recorded, "DELETE FROM records WHERE seq = ?", seq)
    with proving(recorded) as prover:
        assert prover.damaged
        assert prover.proved <= seq


def test_a_store_that_was_cut_is_seen_by_the_checkpoints_outside(recorded: Recorded) -> None:
    change(recorded, "DELETE FROM records WHERE seq > 50")
    change(recorded, "DELETE FROM checkpoints WHERE size > 50")
    with proving(recorded) as prover:
        assert prover.cut


def test_a_forged_checkpoint_proves_nothing(recorded: Recorded) -> None:
    change(recorded, "UPDATE checkpoints SET note = replace(note, '— ', '— x')")
    recorded.checkpoints.write_bytes(b"")
    with proving(recorded) as prover:
        assert prover.proved == 0
        assert State.PROVED not in states(recorded, prover)


def test_what_is_recorded_while_it_hashes_is_proved_with_its_own_checkpoint(tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "recordings.db"
    ingest = Ingest(state, path)
    writer = Writer(state)
    session = writer.session()
    drain(ingest)
    prover = Prover(path, checkpoints_path(state), vkey_path(state).read_text())
    read_notes = prover._read_notes
    grown: list[bytes] = []

    def grow_then_hash() -> None:
        read_notes()
        if len(grown) < 5:  # between the look at the checkpoints and that at the records
            grown.append(writer.command(session, f"SELECT {len(grown)}"))
            drain(ingest)

    prover._read_notes = grow_then_hash  # type: ignore[method-assign]
    for _ in range(12):
        prover.advance(0.0)
    assert prover.proved == prover.size == prover.total
    prover.close()
    writer.journal.close()
    ingest.close()
