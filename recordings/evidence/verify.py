"""Offline proof that a store is what was recorded: every edit, removal, insertion, move or cut is found and named.

Needs no key but the public one. The records are read once: their hashes rebuild the tree, which must match every
signed checkpoint, those outside the database included; and every index table is computed again from the committed
bytes and compared row by row, the full-text index by its postings and by what it finds.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from onrecord.policies.errors import StoreError
from onrecord.recordings.evidence.checkpoint import Checkpoint, CheckpointError, Verifier, split_notes
from onrecord.recordings.evidence.compare import Damage, Scratch, compare_tables
from onrecord.recordings.evidence.merkle import Frontier, leaf_hash
from onrecord.recordings.evidence.pending import JournalCheck, check_journals
from onrecord.recordings.frames import HEADER, FrameError, Kind, id_text, split_leaf
from onrecord.recordings.migrations import VERSION, expected_schema, read_schema, schema_version
from onrecord.recordings.store import FIRST_LINK, LINK_SIZE, connect_read_only, next_link

_BATCH = 2000


class Report(msgspec.Struct, frozen=True, omit_defaults=False):
    """What was found. `pending` counts records that wait in journals; `gaps` the recorded losses (kind GAP)."""

    ok: bool
    records: int = 0
    checkpoint: str = ""
    first_bad: str = ""
    damage: str = ""
    pending: int = 0
    gaps: int = 0

    def to_json(self) -> dict[str, object]:
        """The object of `verify --json`."""
        if self.ok:
            counts = {"pending": self.pending, "gaps": self.gaps}
            return {"ok": True, "records": self.records, "checkpoint": self.checkpoint, **counts}
        return {"ok": False, "first_bad": self.first_bad, "damage": self.damage}


class _Signed(NamedTuple):
    """The checkpoints to meet: those outside the database and those inside, by size."""

    outside: dict[int, Checkpoint]
    inside: dict[int, Checkpoint]
    trusted: Checkpoint | None

    def at(self, size: int) -> list[tuple[str, bytes]]:
        """Where a checkpoint of `size` stands, and its root."""
        found = [("outside the database", self.outside.get(size)), ("in the database", self.inside.get(size))]
        if self.trusted is not None and self.trusted.size == size:
            found.append(("that you trust", self.trusted))
        return [(where, checkpoint.root) for where, checkpoint in found if checkpoint is not None]


def verify(
    store: Path,
    checkpoints_file: Path,
    vkey: str,
    *,
    journal_folder: Path | None = None,
    trusted_checkpoint: str | None = None,
) -> Report:
    """Check everything. Raises StoreError where there is nothing to check or it is of a later version.

    `trusted_checkpoint` is a signed note that was kept elsewhere (`verify --json` prints one): the store must still
    hold the log that it signed.
    """
    verifier = _read_vkey(vkey)
    try:
        outside = _read_outside(checkpoints_file, verifier)
        trusted = _open_note(verifier, trusted_checkpoint, "the trusted checkpoint") if trusted_checkpoint else None
        if not store.is_file():
            if outside or trusted:
                raise Damage("", f"{store}: the store is gone; {checkpoints_file} proves that there were records")
            raise StoreError(f"{store}: there is no store (has `onrecord up` run with this mitm.toml?)")
        # not query_only: the full-text check needs temporary tables; the file itself is opened read-only
        with closing(connect_read_only(store)) as connection:
            return _verify(connection, store, checkpoints_file, verifier, outside, trusted, journal_folder)
    except Damage as damage:
        return Report(ok=False, first_bad=damage.record, damage=damage.text)


def _verify(
    connection: sqlite3.Connection,
    store: Path,
    checkpoints_file: Path,
    verifier: Verifier,
    outside: dict[int, Checkpoint],
    trusted: Checkpoint | None,
    journal_folder: Path | None,
) -> Report:
    last = ""
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        version = schema_version(connection)
        if version > VERSION:
            raise StoreError(f"{store}: schema version {version}, this onrecord knows {VERSION}: run a later one")
        connection.execute("BEGIN")
        _check_schema(connection)
        signed = _Signed(outside, _read_inside(connection, verifier), trusted)
        _check_published(signed, checkpoints_file, verifier)
        journals = check_journals(connection, journal_folder) if journal_folder else JournalCheck()
        with closing(Scratch()) as scratch:
            stream = _Stream(connection, scratch, signed, journals)
            try:
                stream.run()
            finally:
                last = stream.last
            stream.check_ends()
            compare_tables(connection, scratch, stream.tree, stream.link)
        _check_pages(connection)
    except sqlite3.DatabaseError as error:
        where = f" behind record {last}" if last else ""
        raise Damage(last, f"the database file is damaged{where}: {error}") from None
    note = signed.inside[stream.tree.size].note if stream.tree.size else ""
    return Report(ok=True, records=stream.tree.size, checkpoint=note, pending=journals.pending, gaps=stream.gaps)


class _Stream:
    """One pass over the records."""

    def __init__(
        self, connection: sqlite3.Connection, scratch: Scratch, signed: _Signed, journals: JournalCheck
    ) -> None:
        self._connection, self._scratch, self._signed, self._journals = connection, scratch, signed, journals
        self.tree, self.link = Frontier(), FIRST_LINK
        self.gaps = 0
        self.last = ""
        self._good = 0
        self._sizes = sorted({*signed.outside, *signed.inside, *([signed.trusted.size] if signed.trusted else [])})
        self._next = iter(self._sizes)

    def run(self) -> None:
        """Hash all records, meet every checkpoint, collect what the index tables must hold."""
        target = next(self._next, 0)
        tree, missing = self.tree, self._journals.taken
        cursor = self._connection.execute("SELECT seq, link, leaf FROM records ORDER BY seq")
        while rows := cursor.fetchmany(_BATCH):
            for seq, link, leaf in rows:
                if seq != tree.size:
                    self._raise_gap(seq, leaf)
                hashed = self._check(seq, link, leaf)
                tree.append(hashed)
                self._scratch.add(seq, leaf)
                if missing:
                    missing.discard(hashed)
                if tree.size == target:
                    self._meet(target)
                    target = next(self._next, 0)
            self._scratch.write()
            self.last = _id_of(rows[-1][2])

    def check_ends(self) -> None:
        """Nothing may be missing at the end, nor be there without a signature."""
        size = self.tree.size
        newest = max(self._sizes, default=0)
        if size < newest:
            where = next(where for where, _ in self._signed.at(newest))
            lost = self._record_id(size)
            raise Damage(
                lost or self.last,
                f"the store ends after {size} records, the checkpoint {where} proves {newest}: it was cut or rolled "
                f"back; record number {size} is the first that is missing" + ("" if lost else f", after {self.last}"),
            )
        inside = max(self._signed.inside, default=0)
        if inside < size:
            record = self._record_id(inside)
            raise Damage(record, f"no checkpoint signs record number {inside} and what follows: it was put in later")
        outside = set(self._signed.outside)
        published = {number for number in self._signed.inside if number <= max(outside, default=0)}
        if outside != published:
            odd = min(outside ^ published)
            raise Damage(
                self._record_id(odd - 1),
                f"the checkpoint of {odd} records is {'only' if odd in outside else 'not'} outside the database",
            )
        if self._journals.taken:
            raise Damage(
                "", f"{len(self._journals.taken)} records that were taken in from {self._journals.name} are not here"
            )

    def _check(self, seq: int, link: object, leaf: object) -> bytes:
        """The leaf's hash, if the running chain agrees."""
        if not isinstance(leaf, bytes) or not isinstance(link, bytes):
            raise Damage(self._record_id(seq), f"record number {seq} is no bytes any more")
        hashed = leaf_hash(leaf)
        expected = next_link(self.link, hashed)
        if link != expected or len(link) != LINK_SIZE:
            raise Damage(
                self._record_id(seq, leaf),
                f"record number {seq} is not the one that was stored there: it was edited, put in or moved, "
                "or the one before it was removed",
            )
        self.link = expected
        try:
            kind = split_leaf(leaf)[0]
        except FrameError as error:
            raise Damage(self._record_id(seq, leaf), f"record number {seq} is no record: {error}") from None
        self.gaps += kind is Kind.GAP
        return hashed

    def _meet(self, size: int) -> None:
        root = self.tree.root()
        for where, signed in self._signed.at(size):
            if signed != root:
                self._scratch.write()
                seq = self._scratch.first_difference(self._connection, self._good, size)
                sure = "" if seq is not None else "one of the records from here "
                seq = self._good if seq is None else seq
                raise Damage(
                    self._record_id(seq),
                    f"{sure or 'this record or one of those '}up to number {size - 1} is not what was signed: the "
                    f"checkpoint {where} of {size} records has another root",
                )
        self._good = size

    def _raise_gap(self, seq: object, leaf: object) -> None:
        size = self.tree.size
        lost = self._record_id(size)
        after = _id_of(leaf)
        text = f"record number {size} is missing" + ("" if lost else f": the next one there is {after}")
        raise Damage(lost or after, text if isinstance(seq, int) else f"a record is numbered {seq!r}")

    def _record_id(self, seq: int, leaf: object = None) -> str:
        """The id of record `seq`, from its index row (an edit may have changed the leaf's), else from the leaf."""
        for table in ("commands", "sessions"):
            row = self._connection.execute(f"SELECT id FROM {table} WHERE seq = ?", (seq,)).fetchone()  # noqa: S608
            if row is not None and isinstance(row[0], bytes) and len(row[0]) == 16:
                return id_text(row[0])
        if leaf is None:
            row = self._connection.execute("SELECT leaf FROM records WHERE seq = ?", (seq,)).fetchone()
            leaf = row[0] if row else None
        return _id_of(leaf)


def _id_of(leaf: object) -> str:
    if not isinstance(leaf, bytes) or len(leaf) < HEADER.size:
        return ""
    return id_text(HEADER.unpack_from(leaf)[3])


def _read_vkey(vkey: str) -> Verifier:
    try:
        return Verifier.parse(vkey)
    except CheckpointError as error:
        raise StoreError(f"the public key of the evidence: {error}") from None


def _open_note(verifier: Verifier, note: str, what: str) -> Checkpoint:
    try:
        return verifier.open(note)
    except CheckpointError as error:
        raise Damage("", f"{what} is forged or damaged: {error}") from None


def _read_outside(path: Path, verifier: Verifier) -> dict[int, Checkpoint]:
    """The checkpoints outside the database; an unfinished one at the end (killed in mid-write) is no damage."""
    try:
        notes, _ = split_notes(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, CheckpointError) as error:
        raise Damage("", f"{path}: {error}") from None
    found: dict[int, Checkpoint] = {}
    last = 0
    for number, note in enumerate(notes, 1):
        checkpoint = _open_note(verifier, note, f"{path}: checkpoint {number}")
        if checkpoint.size <= last:
            raise Damage("", f"{path}: checkpoint {number} of {checkpoint.size} records follows one of {last}")
        last = checkpoint.size
        found[last] = checkpoint
    return found


def _read_inside(connection: sqlite3.Connection, verifier: Verifier) -> dict[int, Checkpoint]:
    found: dict[int, Checkpoint] = {}
    for size, note in connection.execute("SELECT size, note FROM checkpoints ORDER BY size"):
        checkpoint = _open_note(verifier, str(note), f"the checkpoint of {size} records in the database")
        if checkpoint.size != size:
            raise Damage("", f"the checkpoint of {size} records in the database is one of {checkpoint.size}")
        found[size] = checkpoint
    return found


def _check_published(signed: _Signed, path: Path, verifier: Verifier) -> None:
    """All checkpoints but the newest are outside too before the next one is signed: fewer there is a cut.

    Where it looks like one the file is read again, behind the snapshot of the database: a recorder that runs has
    published since.
    """
    waiting = _behind(signed.inside, signed.outside)
    if len(waiting) > 1:
        published = _read_outside(path, verifier)
        waiting = _behind(signed.inside, published)
        if len(waiting) > 1:
            raise Damage(
                "",
                f"{path}: it ends at the checkpoint of {max(published, default=0)} records, the one of {waiting[0]} "
                "was there too: the file was cut or removed",
            )


def _behind(inside: dict[int, Checkpoint], outside: dict[int, Checkpoint]) -> list[int]:
    last = max(outside, default=0)
    return sorted(size for size in inside if size > last)


def _check_schema(connection: sqlite3.Connection) -> None:
    found, expected = read_schema(connection), expected_schema()
    if found == expected and schema_version(connection) == VERSION:
        return
    for row in found:
        if row not in expected:
            raise Damage("", f"the schema was changed: {row[0]} {row[1]!r} is not part of it or is not as it should be")
    missing = [row[1] for row in expected if row not in found]
    raise Damage("", f"the schema was changed: {missing[0]!r} is missing" if missing else "the schema version is wrong")


def _check_pages(connection: sqlite3.Connection) -> None:
    """The file itself: an index without a row's entry would hide that row from a search."""
    (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if answer != "ok":
        raise Damage("", f"the database file is damaged: {answer}")
