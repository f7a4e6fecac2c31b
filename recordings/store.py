"""The store: one SQLite file, one writer, any number of read-only readers.

`StoreWriter.commit` puts a batch of leaves, their index rows, the journals' offsets and a signed checkpoint into one
FULL-synchronous transaction. Everything it remembers changes only when that transaction is on disk.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from onrecord.policies.errors import StoreError
from onrecord.recordings.evidence.checkpoint import Signer
from onrecord.recordings.evidence.merkle import Frontier, leaf_hashes
from onrecord.recordings.inserting import insert_rows
from onrecord.recordings.migrations import VERSION, expected_schema, migrate, read_schema, schema_version
from onrecord.recordings.projection import Projection

LINK_SIZE = 16
FIRST_LINK = bytes(LINK_SIZE)


def next_link(link: bytes, hashed_leaf: bytes) -> bytes:
    """The running chain beside the tree: it names the first record that was altered. The proof is the tree."""
    return hashlib.sha256(link + hashed_leaf).digest()[:LINK_SIZE]


def next_links(link: bytes, hashes: Iterable[bytes]) -> list[bytes]:
    """`next_link` of each in turn, `link` being the one before the first."""
    return [link := hashlib.sha256(link + hashed).digest()[:LINK_SIZE] for hashed in hashes]


class JournalState(NamedTuple):
    """How far a journal file was taken in: `chain` after the byte at `position`; `seed` is its first chain value.

    `done`: its writer is gone, nothing more will come, and the file may be deleted once a checkpoint outside covers it.
    An empty `chain` stands after a damage: the next frame is taken at its word.
    """

    name: str
    position: int
    chain: bytes
    seed: bytes
    done: bool = False


class Batch(NamedTuple):
    """Leaves to store with the state of their journal behind them; no state for the recorder's own records."""

    leaves: list[bytes]
    state: JournalState | None = None


class StoreWriter:
    """The one writer. Not thread-safe; raises sqlite3.Error or StoreError, after which `close` it."""

    def __init__(self, path: Path, signer: Signer) -> None:
        self.path = path
        self._signer = signer
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
        try:
            path.chmod(0o600)
            execute = self._connection.execute
            execute("PRAGMA trusted_schema = OFF")
            execute("PRAGMA journal_mode = WAL")
            execute("PRAGMA synchronous = FULL")
            execute("PRAGMA cache_size = -16384")
            migrate(self._connection)
            if read_schema(self._connection) != expected_schema():  # a trigger would act at every record
                raise StoreError(f"{path}: the schema was changed; run `onrecord verify`")
            self._inode = path.stat().st_ino
            row = execute("SELECT size, frontier, link FROM tree").fetchone()
            self._tree = Frontier.decode(row[0], row[1]) if row else Frontier()
            self._link: bytes = row[2] if row else FIRST_LINK
            (count,) = execute("SELECT coalesce(max(seq) + 1, 0) FROM records").fetchone()
        except ValueError:
            self._connection.close()
            raise StoreError(f"{path}: the stored tree is damaged; run `onrecord verify`") from None
        except BaseException:
            self._connection.close()
            raise
        if count != self._tree.size:
            self._connection.close()
            raise StoreError(f"{path}: {count} records under a tree of {self._tree.size}; run `onrecord verify`")
        self._projection = Projection()

    @property
    def size(self) -> int:
        """Number of records."""
        return self._tree.size

    def close(self) -> None:
        self._connection.close()

    def journals(self) -> dict[str, JournalState]:
        """Every journal file ever followed."""
        rows = self._connection.execute("SELECT name, position, chain, seed, done FROM journals")
        return {name: JournalState(name, at, chain, seed, bool(done)) for name, at, chain, seed, done in rows}

    def checkpoints(self) -> list[tuple[int, str]]:
        """Size and signed note of every checkpoint, oldest first."""
        return self._connection.execute("SELECT size, note FROM checkpoints ORDER BY size").fetchall()

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Size and note of the newest checkpoint."""
        row: tuple[int, str] | None = self._connection.execute(
            "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1"
        ).fetchone()
        return row

    def open_sessions(self, journal: str) -> list[bytes]:
        """Sessions in a journal file that have no end yet."""
        rows = self._connection.execute("SELECT id FROM open_sessions WHERE journal = ?", (journal,))
        return [row[0] for row in rows]

    def journals_with_open_sessions(self) -> set[str]:
        """Names of the journals whose sessions have no end yet."""
        return {name for (name,) in self._connection.execute("SELECT DISTINCT journal FROM open_sessions")}

    def open_commands(self, session: bytes) -> list[bytes]:
        """Commands of a session that have no outcome yet."""
        rows = self._connection.execute(
            "SELECT id FROM commands WHERE session = ? AND outcome IS NULL ORDER BY seq", (session,)
        )
        return list(dict.fromkeys(row[0] for row in rows))

    def hand_over(self, journal: str, successor: str) -> None:
        """The open sessions of a rotated journal go on in its successor."""
        self._connection.execute("UPDATE open_sessions SET journal = ? WHERE journal = ?", (successor, journal))

    def commit(self, batches: Iterable[Batch], *, replace_from: int | None = None) -> str | None:
        """Store batches and sign the tree they make. Returns the signed note, None where there was no record.

        Checkpoints above `replace_from` records are replaced by the new one: they were never published outside.
        """
        if self.path.stat().st_ino != self._inode:
            raise StoreError(f"{self.path}: the file was replaced under the recorder")
        tree, link, projection = self._tree.copy(), self._link, self._projection
        connection = self._connection
        rows: list[tuple[int, bytes, bytes]] = []
        states: list[JournalState] = []
        opened: list[tuple[bytes, str]] = []
        note: str | None = None
        try:
            for leaves, state in batches:
                hashes = leaf_hashes(leaves)
                links = next_links(link, hashes)
                rows.extend(zip(range(tree.size, tree.size + len(leaves)), links, leaves, strict=True))
                for seq, leaf in enumerate(leaves, tree.size):
                    projection.add(seq, leaf)
                tree.extend(hashes)
                link = links[-1] if links else link
                if state is not None:
                    states.append(state)
                    opened.extend((id, state.name) for id in projection.opened)
                projection.opened.clear()
            ended = [(id,) for id in projection.ended]
            connection.execute("BEGIN IMMEDIATE")
            insert_rows(connection, "records", 3, rows)
            projection.write(connection)
            connection.executemany("INSERT OR IGNORE INTO open_sessions VALUES (?, ?)", opened)
            connection.executemany("DELETE FROM open_sessions WHERE id = ?", ended)
            connection.executemany("INSERT OR REPLACE INTO journals VALUES (?, ?, ?, ?, ?)", states)
            if rows:
                if replace_from is not None:
                    connection.execute("DELETE FROM checkpoints WHERE size > ?", (replace_from,))
                note = self._signer.sign(tree.size, tree.root())
                connection.execute("INSERT INTO checkpoints VALUES (?, ?)", (tree.size, note))
                connection.execute("INSERT OR REPLACE INTO tree VALUES (0, ?, ?, ?)", (tree.size, tree.encode(), link))
            connection.execute("COMMIT")
        except BaseException:
            self._projection = Projection()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._tree, self._link = tree, link
        return note


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. On a read-only medium, where SQLite could not lock, the file must stand still."""
    medium = "immutable=1" if not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists() else "mode=ro"
    return sqlite3.connect(f"file:{quote(str(path))}?{medium}", uri=True, isolation_level=None, timeout=5.0)


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection. Raises StoreError where there is no store or it is of another version."""
    if not path.is_file():
        raise StoreError(f"{path}: there is no store (has `onrecord up` run with this mitm.toml?)")
    try:
        connection = connect_read_only(path)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
            version = schema_version(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"{path}: not a store that can be read: {error}") from None
    if version != VERSION:
        connection.close()
        newer = "run a later onrecord" if version > VERSION else "start `onrecord up` once to bring it up to date"
        raise StoreError(f"{path}: schema version {version}, this onrecord reads {VERSION}: {newer}")
    return connection
