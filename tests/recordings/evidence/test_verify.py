"""Every way to alter a store is found, at random places, and the first bad record is named."""

# ruff: noqa: S311  # random places, not secrets

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onrecord.policies.errors import StoreError
from onrecord.recordings.evidence.checkpoint import Signer, split_notes
from onrecord.recordings.evidence.custody import load_signer
from onrecord.recordings.evidence.merkle import Frontier, leaf_hash
from onrecord.recordings.frames import HEADER, Kind, id_text, split_leaf
from onrecord.recordings.ingest import Ingest
from onrecord.recordings.queries import Filters, Reader
from onrecord.recordings.search import fts_query
from onrecord.recordings.store import FIRST_LINK, next_link
from tests.recordings.samples import Recorded, Writer, drain


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("original"))


@pytest.fixture
def recorded(original: Recorded, tmp_path: Path) -> Recorded:
    """A copy to alter."""
    shutil.copytree(original.state.parent, tmp_path, dirs_exist_ok=True)
    copy = object.__new__(Recorded)
    copy.state, copy.path, copy.commands = tmp_path / "state", tmp_path / "recordings.db", original.commands
    return copy


def change(recorded: Recorded, *statements: str | tuple[str, tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(recorded.path, isolation_level=None)) as connection:
        for statement in statements:
            sql, values = statement if isinstance(statement, tuple) else (statement, ())
            connection.execute(sql, values)


def rows(recorded: Recorded) -> list[tuple[int, bytes, bytes]]:
    with closing(sqlite3.connect(recorded.path)) as connection:
        return connection.execute("SELECT seq, link, leaf FROM records ORDER BY seq").fetchall()


def record_id(leaf: bytes) -> str:
    return id_text(HEADER.unpack_from(leaf)[3])


def relink(recorded: Recorded) -> None:
    """What a careful forger does: every link is computed again."""
    link = FIRST_LINK
    with closing(sqlite3.connect(recorded.path, isolation_level=None)) as connection:
        for seq, _, leaf in connection.execute("SELECT seq, link, leaf FROM records ORDER BY seq").fetchall():
            link = next_link(link, leaf_hash(leaf))
            connection.execute("UPDATE records SET link = ? WHERE seq = ?", (link, seq))


def test_an_untouched_store_verifies(original: Recorded) -> None:
    report = original.verify()
    assert report.ok, report.damage
    assert report.records == len(rows(original))
    assert set(report.to_json()) >= {"ok", "records", "checkpoint"}


@pytest.mark.parametrize("seed", range(6))
def test_one_edited_byte_names_its_record(recorded: Recorded, seed: int) -> None:
    seq, _, leaf = random.Random(seed).choice(rows(recorded))
    at = random.Random(seed).randrange(HEADER.size, len(leaf))
    edited = leaf[:at] + bytes([leaf[at] ^ 1]) + leaf[at + 1 :]
    change(recorded, ("UPDATE records SET leaf = ? WHERE seq = ?", (edited, seq)))
    report = recorded.verify()
    assert not report.ok
    assert report.first_bad == record_id(leaf)
    assert f"number {seq} " in report.damage


@pytest.mark.parametrize("seed", range(3))
def test_an_edit_whose_links_were_computed_again_fails_at_its_checkpoint(recorded: Recorded, seed: int) -> None:
    everything = rows(recorded)
    seq, _, leaf = random.Random(seed).choice(everything)
    change(recorded, ("UPDATE records SET leaf = ? WHERE seq = ?", (leaf + b" ", seq)))
    relink(recorded)
    report = recorded.verify()
    assert not report.ok
    named = next(number for number, _, other in everything if record_id(other) == report.first_bad)
    assert named <= seq < named + 20  # the batch that one checkpoint signs
    assert "another root" in report.damage


@pytest.mark.parametrize("seed", range(3))
def test_a_deleted_record_is_named_or_its_follower(recorded: Recorded, seed: int) -> None:
    everything = rows(recorded)
    seq, _, leaf = random.Random(seed).choice(everything[:-1])
    change(recorded, ("DELETE FROM records WHERE seq = ?", (seq,)))
    report = recorded.verify()
    assert not report.ok
    assert report.first_bad in {record_id(leaf), record_id(everything[seq + 1][2])}
    assert f"number {seq} is missing" in report.damage


def test_a_deleted_record_with_all_later_ones_moved_up_is_found(recorded: Recorded) -> None:
    change(recorded, "DELETE FROM records WHERE seq = 5", "UPDATE records SET seq = seq - 1 WHERE seq > 5")
    report = recorded.verify()
    assert not report.ok
    assert "number 5 " in report.damage


def test_swapped_records_are_found(recorded: Recorded) -> None:
    everything = rows(recorded)
    (a, link_a, leaf_a), (b, link_b, leaf_b) = everything[7], everything[19]
    change(
        recorded,
        ("UPDATE records SET link = ?, leaf = ? WHERE seq = ?", (link_b, leaf_b, a)),
        ("UPDATE records SET link = ?, leaf = ? WHERE seq = ?", (link_a, leaf_a, b)),
    )
    report = recorded.verify()
    assert not report.ok
    assert "number 7 " in report.damage


def test_a_record_put_in_at_the_end_has_no_signature(recorded: Recorded) -> None:
    everything = rows(recorded)
    seq, link, leaf = everything[-1]
    forged = HEADER.pack(1, 7, 0, b"f" * 16, bytes(16), bytes(16), 1) + leaf[HEADER.size :]
    change(recorded, ("INSERT INTO records VALUES (?, ?, ?)", (seq + 1, next_link(link, leaf_hash(forged)), forged)))
    report = recorded.verify()
    assert not report.ok
    assert report.first_bad == record_id(forged)
    assert "no checkpoint signs" in report.damage


@pytest.mark.parametrize("cut", [1, 7])
def test_records_cut_off_the_end_with_their_checkpoints_are_missed(recorded: Recorded, cut: int) -> None:
    everything = rows(recorded)
    size = len(everything) - cut
    change(
        recorded,
        ("DELETE FROM records WHERE seq >= ?", (size,)),
        ("DELETE FROM checkpoints WHERE size > ?", (size,)),
        ("DELETE FROM commands WHERE seq >= ?", (size,)),
    )
    report = recorded.verify()
    assert not report.ok
    assert report.first_bad
    assert "cut or rolled back" in report.damage


def test_an_older_copy_of_the_whole_database_is_a_rollback(tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "recordings.db"
    ingest = Ingest(state, path)
    writer = Writer(state)
    session = writer.session()
    writer.command(session, "SELECT 1")
    drain(ingest)
    ingest.close()
    old = path.read_bytes()
    ingest = Ingest(state, path)
    writer.command(session, "SELECT 2")
    drain(ingest)
    ingest.close()
    path.write_bytes(old)
    recorded = object.__new__(Recorded)
    recorded.state, recorded.path = state, path
    report = recorded.verify()
    assert not report.ok
    assert "rolled back" in report.damage
    with pytest.raises(StoreError, match="rolled back or cut"):
        Ingest(state, path)
    path.unlink()
    assert "the store is gone" in recorded.verify().damage
    with pytest.raises(StoreError, match="the store is gone"):
        Ingest(state, path)
    writer.journal.close()


def test_a_whole_log_signed_with_another_key_is_forged(recorded: Recorded) -> None:
    other = Signer(load_signer(recorded.state, fresh=False).name, b"k" * 32)
    tree = Frontier()
    for _, _, leaf in rows(recorded):
        tree.append(leaf_hash(leaf))
    note = other.sign(tree.size, tree.root())
    change(recorded, ("UPDATE checkpoints SET note = ? WHERE size = ?", (note, tree.size)))
    report = recorded.verify()
    assert not report.ok
    assert "forged" in report.damage
    recorded.checkpoints.write_text(note + "\n")
    assert "forged" in recorded.verify().damage


def test_a_checkpoint_file_that_was_shortened_or_rearranged_is_found(recorded: Recorded) -> None:
    notes, tail = split_notes(recorded.checkpoints.read_bytes())
    assert len(notes) > 4
    assert tail == b""
    without = notes[:2] + notes[3:]
    recorded.checkpoints.write_text("".join(note + "\n" for note in without))
    assert "not outside" in recorded.verify().damage
    recorded.checkpoints.write_text("".join(note + "\n" for note in reversed(notes)))
    assert "follows one of" in recorded.verify().damage


def test_a_trusted_checkpoint_catches_a_log_that_was_made_anew(recorded: Recorded, tmp_path: Path) -> None:
    kept = recorded.verify().checkpoint
    assert recorded.verify(trusted_checkpoint=kept).ok
    signer = load_signer(recorded.state, fresh=False)
    shutil.rmtree(recorded.state / "evidence")
    for leftover in recorded.path.parent.glob("recordings.db*"):
        leftover.unlink()
    (recorded.state / "evidence").mkdir()
    key = recorded.state / "evidence" / "signing.key"
    key.write_text(signer.encode())
    key.chmod(0o600)
    ingest = Ingest(recorded.state, recorded.path)  # the forger has the key
    writer = Writer(recorded.state, "forger")
    session = writer.session()
    for _ in range(60):
        writer.command(session, "SELECT 'nothing happened'")
    drain(ingest)
    ingest.close()
    writer.journal.close()
    assert recorded.verify().ok
    report = recorded.verify(trusted_checkpoint=kept)
    assert not report.ok
    assert "that you trust" in report.damage


DERIVED: dict[str, str] = {
    "a hidden command": "DELETE FROM commands WHERE seq = (SELECT max(seq) FROM commands)",
    "another verdict": "UPDATE commands SET verdict = 'allow' WHERE verdict = 'deny'",
    "another kind": "UPDATE commands SET kind = 'http' WHERE seq = (SELECT min(seq) FROM commands)",
    "another status": "UPDATE commands SET status = 'ok' WHERE status = 'refused'",
    "another time": "UPDATE commands SET at = at + 1 WHERE seq = (SELECT min(seq) FROM commands)",
    "another outcome": "UPDATE commands SET outcome = outcome + 1 WHERE seq = (SELECT min(seq) FROM commands)",
    "another session": "UPDATE commands SET session = zeroblob(16) WHERE seq = (SELECT min(seq) FROM commands)",
    "another id": "UPDATE commands SET id = zeroblob(16) WHERE seq = (SELECT min(seq) FROM commands)",
    "an extra command": "INSERT INTO commands SELECT 99999, id, session, kind, verdict, status, at, outcome, NULL,"
    " NULL, NULL FROM commands LIMIT 1",
    "another subject": "UPDATE sessions SET subject = 'mallory' WHERE seq = (SELECT min(seq) FROM sessions)",
    "another human": "UPDATE sessions SET on_behalf_of = NULL",
    "another run": "UPDATE sessions SET run = 'run-9'",
    "a reopened session": "UPDATE sessions SET ended = NULL",
    "a hidden session": "DELETE FROM sessions WHERE seq = (SELECT max(seq) FROM sessions)",
    "a hidden chunk": "DELETE FROM chunks WHERE seq = (SELECT max(seq) FROM chunks)",
    "a moved chunk": "UPDATE chunks SET command = zeroblob(16)",
    "an invented open session": "INSERT INTO open_sessions VALUES (zeroblob(16), 'x')",
    "another tree": "UPDATE tree SET link = zeroblob(16)",
    "no checkpoints": "DELETE FROM checkpoints",
    "an odd checkpoint gone": "DELETE FROM checkpoints WHERE size = (SELECT min(size) FROM checkpoints)",
    "words taken out of the search": "INSERT INTO search (search, rowid, text) SELECT 'delete', c.seq, 'orders'"
    " FROM commands c WHERE kind = 'sql' LIMIT 1",
    "words put into the search": "INSERT INTO search (rowid, text) VALUES (3, 'innocent')",
    "an emptied search": "DELETE FROM search_data",
    "other search settings": "INSERT INTO search (search, rank) VALUES ('rank', 'bm25(10.0)')",
    "a trigger": "CREATE TRIGGER quiet AFTER INSERT ON records BEGIN DELETE FROM records; END",
    "a view": "CREATE VIEW other AS SELECT 1",
    "an index": "CREATE INDEX more ON records (link)",
    "a table": "CREATE TABLE other (x)",
    "a column": "ALTER TABLE commands ADD COLUMN more TEXT",
    "a generated column": "ALTER TABLE commands ADD COLUMN more TEXT AS (kind)",
    "a dropped index": "DROP INDEX commands_by_id",
    "an older version": "PRAGMA user_version = 0",
    "statistics": "ANALYZE",
}


@pytest.mark.parametrize("what", DERIVED)
def test_what_is_not_evidence_is_checked_against_it(recorded: Recorded, what: str) -> None:
    change(recorded, DERIVED[what])
    report = recorded.verify()
    assert not report.ok, what
    assert report.damage


def test_a_word_that_is_stored_but_cannot_be_reached_is_found(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, 0)
    ingest = Ingest(recorded.state, recorded.path)
    writer = Writer(recorded.state)
    session = writer.session()
    for number in range(300):
        writer.command(session, " ".join(f"w{number * 7919 + word:x}" for word in range(60)))
    drain(ingest)
    ingest.close()
    writer.journal.close()
    assert recorded.verify().ok
    change(recorded, "DELETE FROM search_idx")
    report = recorded.verify()
    assert not report.ok
    assert "full-text index does not find" in report.damage


@pytest.mark.parametrize("what", ["a beginning", "the newest"])
def test_a_search_that_is_led_astray_is_found_though_each_word_is_there(tmp_path: Path, what: str) -> None:
    recorded = Recorded(tmp_path, 0)
    ingest = Ingest(recorded.state, recorded.path)
    writer = Writer(recorded.state)
    session = writer.session()
    for number in range(300):
        many = (
            " ".join(f"w{number * 7919 + word:x}" for word in range(60)) if what == "a beginning" else "common " * 300
        )
        writer.command(session, f"{many} customers_{number}")
    drain(ingest)
    ingest.close()
    writer.journal.close()
    if what == "the newest":  # all in one segment: only long lists of records have an index of their own
        change(recorded, "INSERT INTO search(search) VALUES ('optimize')")
    assert recorded.verify().ok

    def found(text: str) -> int:
        with Reader(recorded.path) as reader:
            return len(list(reader.match(fts_query(text), -1)))

    asked = "customer*" if what == "a beginning" else "common"
    assert found(asked) == 300
    with closing(sqlite3.connect(recorded.path, isolation_level=None)) as connection:
        if what == "a beginning":
            segments = connection.execute("SELECT segid, max(pgno) FROM search_idx GROUP BY segid").fetchall()
            for segment, last in segments:
                (right,) = connection.execute(
                    "SELECT pgno FROM search_idx WHERE segid = ? AND term <= ? ORDER BY term DESC LIMIT 1",
                    (segment, b"0customers"),
                ).fetchone()
                add = "INSERT OR REPLACE INTO search_idx VALUES (?, ?, ?)"
                connection.executemany(add, [(segment, b"0custom", last), (segment, b"0customers", right)])
        else:
            number, page = connection.execute("SELECT id, block FROM search_data WHERE id >> 36 & 1").fetchone()
            connection.execute("UPDATE search_data SET block = ? WHERE id = ?", (page[: len(page) // 2], number))
    assert found(asked) < 300
    report = recorded.verify()
    assert not report.ok
    assert "full-text index" in report.damage


def test_records_behind_a_view_or_of_another_type_are_found(recorded: Recorded) -> None:
    change(
        recorded,
        "ALTER TABLE records RENAME TO hidden",
        "CREATE VIEW records AS SELECT * FROM hidden",
    )
    assert "schema" in recorded.verify().damage


def test_a_text_where_bytes_stood_is_found_even_under_a_rewritten_schema(recorded: Recorded) -> None:
    change(
        recorded,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, ' STRICT', '') WHERE name = 'records'",
    )
    change(recorded, "UPDATE records SET leaf = 'text' WHERE seq = 3")
    assert "schema" in recorded.verify().damage
    change(
        recorded,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = sql || ' STRICT' WHERE name = 'records'",
    )
    assert not recorded.verify().ok


def test_an_index_that_hides_a_row_is_found(recorded: Recorded) -> None:
    with closing(sqlite3.connect(recorded.path, isolation_level=None)) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'commands_by_id'").fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = sql || ' WHERE kind <> ''refusal''' WHERE name = 'commands_by_id'"
        )
    change(recorded, "REINDEX commands_by_id")
    with closing(sqlite3.connect(recorded.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'commands_by_id'", (sql,))
    report = recorded.verify()
    assert not report.ok
    assert "database file is damaged" in report.damage


@pytest.mark.parametrize("seed", range(8))
def test_any_changed_byte_of_the_file_is_found_or_without_effect(recorded: Recorded, seed: int) -> None:
    """One bit of a page that holds something: damage is reported, never an exception, never wrong content."""
    change(recorded, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = rows(recorded)
    data = bytearray(recorded.path.read_bytes())
    at = random.Random(seed).randrange(4096, len(data))
    data[at] ^= 1 << random.Random(seed).randrange(8)
    recorded.path.write_bytes(data)
    report = recorded.verify()
    if report.ok:  # free space inside a page
        assert rows(recorded) == before


def test_a_store_that_is_no_database_is_damage(recorded: Recorded) -> None:
    recorded.path.write_bytes(b"junk" * 5000)
    assert not recorded.verify().ok


def test_a_newer_schema_is_refused_clearly(recorded: Recorded) -> None:
    change(recorded, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema version 99"):
        recorded.verify()
    with pytest.raises(StoreError, match="schema version 99"):
        Ingest(recorded.state, recorded.path)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[Recorded, Writer, Callable[[], None]]]:
    """A store whose journal still waits in part."""
    state, path = tmp_path / "state", tmp_path / "recordings.db"
    ingest = Ingest(state, path)
    writer = Writer(state)
    session = writer.session()
    writer.command(session, "SELECT 1")
    drain(ingest)
    ingest.close()
    recorded = object.__new__(Recorded)
    recorded.state, recorded.path = state, path

    def add() -> None:
        writer.command(session, "SELECT 2")

    yield recorded, writer, add
    writer.journal.close()


def test_records_that_wait_in_a_journal_are_counted(waiting) -> None:
    recorded, _, add = waiting
    add()
    assert recorded.verify().pending == 2


def test_an_offset_moved_past_a_waiting_record_is_found(waiting) -> None:
    recorded, writer, add = waiting
    add()
    size = writer.journal.path.stat().st_size
    change(recorded, ("UPDATE journals SET position = ?", (size,)))
    report = recorded.verify()
    assert not report.ok
    change(recorded, ("UPDATE journals SET chain = ?", (writer.journal._flushed_chain,)))
    report = recorded.verify()
    assert not report.ok
    assert "not here" in report.damage


@pytest.mark.parametrize("what", ["removed", "emptied", "cut", "cut in mid-note"])
def test_checkpoints_outside_that_were_cut_are_found_and_never_healed(recorded: Recorded, what: str) -> None:
    notes, _ = split_notes(recorded.checkpoints.read_bytes())
    assert len(notes) > 4
    if what == "removed":
        recorded.checkpoints.unlink()
    else:
        keep = {"emptied": 0, "cut": len(notes) - 2, "cut in mid-note": len(notes) - 3}[what]
        rest = notes[keep][:30] if what == "cut in mid-note" else ""
        recorded.checkpoints.write_text("".join(note + "\n" for note in notes[:keep]) + rest)
    report = recorded.verify()
    assert not report.ok
    assert "cut or removed" in report.damage
    with pytest.raises(StoreError, match="cut or removed"):
        Ingest(recorded.state, recorded.path)
    assert not recorded.verify().ok


def test_one_checkpoint_may_wait_to_be_published(recorded: Recorded) -> None:
    notes, _ = split_notes(recorded.checkpoints.read_bytes())
    recorded.checkpoints.write_text("".join(note + "\n" for note in notes[:-1]))
    assert recorded.verify().ok
    Ingest(recorded.state, recorded.path).close()
    assert split_notes(recorded.checkpoints.read_bytes())[0] == notes


def test_a_recorder_does_not_start_under_a_trigger(recorded: Recorded) -> None:
    change(recorded, DERIVED["a trigger"])
    with pytest.raises(StoreError, match="schema was changed"):
        Ingest(recorded.state, recorded.path)


def test_what_is_no_journal_stops_neither_verify_nor_recorder(recorded: Recorded) -> None:
    folder = recorded.state / "journal"
    folder.mkdir(exist_ok=True)
    os.mkfifo(folder / "pipe-0.journal")
    (folder / "folder-0.journal").mkdir()
    (folder / "link-0.journal").symlink_to("/dev/zero")
    with (folder / "huge-0.journal").open("wb") as file:
        file.truncate(1 << 40)
    assert recorded.verify().ok
    ingest = Ingest(recorded.state, recorded.path)
    for _ in range(4):
        drain(ingest)
    ingest.close()
    report = recorded.verify()
    assert report.ok, report.damage
    assert report.gaps >= 4


def test_a_replayed_journal_brings_no_second_record(tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "recordings.db"
    ingest = Ingest(state, path)
    writer = Writer(state)
    session = writer.session()
    writer.command(session, "SELECT 1")
    writer.end(session)
    kept = writer.journal.path.read_bytes()
    writer.journal.close()
    for _ in range(3):
        drain(ingest)
    before = ingest.size
    for name in (writer.journal.path.name, "gateway-9.journal", "other-1.journal"):
        (state / "journal" / name).write_bytes(kept)
    for _ in range(4):
        drain(ingest)
    ingest.close()
    recorded = object.__new__(Recorded)
    recorded.state, recorded.path = state, path
    report = recorded.verify()
    assert report.ok, report.damage
    added = [split_leaf(leaf) for _, _, leaf in rows(recorded)[before:]]
    assert {part[0] for part in added} == {Kind.GAP}
    assert report.gaps == 2


def test_a_journal_called_done_while_records_wait_in_it_is_found_and_read_on(waiting) -> None:
    recorded, writer, add = waiting
    add()
    change(recorded, "UPDATE journals SET done = 1")
    report = recorded.verify()
    assert not report.ok
    assert "2 of its records were not" in report.damage
    writer.journal.close()
    ingest = Ingest(recorded.state, recorded.path)
    drain(ingest)
    drain(ingest)
    ingest.close()
    with Reader(recorded.path) as reader:
        assert [view["text"] for view in reader.log(Filters())] == ["SELECT 1", "SELECT 2"]
    assert recorded.verify().ok


def test_a_journal_that_begins_otherwise_than_the_store_says_is_found(waiting) -> None:
    recorded, _, _ = waiting
    change(recorded, ("UPDATE journals SET seed = ?", (bytes(32),)))
    assert "begins does not fit" in recorded.verify().damage
