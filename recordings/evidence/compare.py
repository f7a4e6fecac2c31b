"""The index tables, computed again into a scratch database and compared row by row with those of a store."""

from __future__ import annotations

import itertools
import operator
import sqlite3

from onrecord.recordings.evidence.merkle import Frontier
from onrecord.recordings.frames import HEADER, id_text
from onrecord.recordings.migrations import migrate
from onrecord.recordings.projection import Projection

_ROWS = 4096
# what is compared, a table: the record's number comes first where a row belongs to one
_TABLES = (
    ("sessions", "SELECT * FROM sessions WHERE seq >= ? AND seq < ? ORDER BY seq"),
    ("commands", "SELECT * FROM commands WHERE seq >= ? AND seq < ? ORDER BY seq"),
    ("chunks", "SELECT seq, command FROM chunks WHERE seq >= ? AND seq < ? ORDER BY command, seq"),
    ("approvals", "SELECT * FROM approvals WHERE seq >= ? AND seq < ? ORDER BY seq"),
)
_ALL = (0, 2**63 - 1)


class Damage(Exception):  # noqa: N818  # a finding, carried to the report
    """What is wrong, and the id of the first bad record."""

    def __init__(self, record: str, text: str) -> None:
        self.record, self.text = record, text
        super().__init__(text)


class Scratch:
    """A temporary database on disk that is filled by the code that fills the store."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect("", isolation_level=None)
        migrate(self.connection)
        self.connection.execute("PRAGMA journal_mode = OFF")
        self.connection.execute("PRAGMA synchronous = OFF")
        self._projection = Projection()

    def close(self) -> None:
        self.connection.close()

    def add(self, seq: int, leaf: bytes) -> None:
        """Collect a record's rows."""
        self._projection.add(seq, leaf)

    def write(self) -> None:
        """Put what was collected into the tables."""
        opened = [(id, "") for id in self._projection.opened]
        ended = [(id,) for id in self._projection.ended]
        self.connection.execute("BEGIN")
        self._projection.write(self.connection)
        self.connection.executemany("INSERT OR IGNORE INTO open_sessions VALUES (?, ?)", opened)
        self.connection.executemany("DELETE FROM open_sessions WHERE id = ?", ended)
        self.connection.execute("COMMIT")

    def first_difference(self, store: sqlite3.Connection, start: int, stop: int) -> int | None:
        """The first record in a range whose rows differ from what is known so far of it."""
        found = [_first_difference(store, self.connection, sql, (start, stop)) for _, sql in _TABLES[:2]]
        return min((row for row in found if row is not None), default=None)


def compare_tables(store: sqlite3.Connection, scratch: Scratch, tree: Frontier, link: bytes) -> None:
    """Raises Damage for the first table that is not what the records make it."""
    for table, sql in _TABLES:
        seq = _first_difference(store, scratch.connection, sql, _ALL)
        if seq is not None:
            raise Damage(_record_id(store, seq), f"the row of record number {seq} in table {table!r} was altered")
    _compare_open(store, scratch.connection)
    rows = store.execute("SELECT id, size, frontier, link FROM tree").fetchall()
    if rows != ([(0, tree.size, tree.encode(), link)] if tree.size else []):
        raise Damage("", "the stored state of the tree is not that of the records")
    _compare_search(store, scratch.connection)


def _first_difference(
    store: sqlite3.Connection, scratch: sqlite3.Connection, sql: str, bounds: tuple[int, int]
) -> int | None:
    theirs, ours = store.execute(sql, bounds), scratch.execute(sql, bounds)
    while True:
        left, right = theirs.fetchmany(_ROWS), ours.fetchmany(_ROWS)
        if left != right:
            odd = set(left).symmetric_difference(right)
            # rows behind a missing one are shifted, not wrong
            return int(min(row[0] for row in odd) if odd else left[0][0])
        if not left:
            return None


def _compare_open(store: sqlite3.Connection, scratch: sqlite3.Connection) -> None:
    sql = "SELECT id FROM open_sessions ORDER BY id"
    theirs, ours = store.execute(sql).fetchall(), scratch.execute(sql).fetchall()
    if theirs != ours:
        odd = min(set(theirs).symmetric_difference(ours))[0]
        raise Damage(id_text(odd), "the session is marked as open or ended against what its records say")


def _compare_search(store: sqlite3.Connection, scratch: sqlite3.Connection) -> None:
    """The full-text index: the same postings, and every word finds the same records.

    Both, because a word that is in the postings but cannot be reached would be hidden from a search. Asked as a search
    asks, newest first: the other way round other pages of the index are used.
    """
    config = store.execute("SELECT k, v FROM search_config").fetchall()
    if config != scratch.execute("SELECT k, v FROM search_config").fetchall():
        raise Damage("", "the settings of the full-text index were altered")
    for connection in (store, scratch):
        connection.execute("CREATE VIRTUAL TABLE temp.postings USING fts5vocab(main, search, instance)")
    sql = "SELECT doc, offset, term, col FROM temp.postings"
    seq = _first_difference(store, scratch, sql, ())  # type: ignore[arg-type]
    if seq is not None:
        raise Damage(_record_id(store, seq), f"the full-text index of record number {seq} was altered")
    _check_beginnings(store)
    sql = "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid DESC"
    postings = scratch.execute("SELECT term, doc FROM temp.postings")  # by term, then by record
    for word, group in itertools.groupby(postings, key=operator.itemgetter(0)):
        expected = list(dict.fromkeys(doc for _, doc in group))[::-1]
        found = [row[0] for row in store.execute(sql, ('"' + word.replace('"', '""') + '"',))]
        if found != expected:
            seq = min(set(found).symmetric_difference(expected), default=min(expected))
            raise Damage(_record_id(store, seq), f"the full-text index does not find {word!r} where it stands")


def _check_beginnings(store: sqlite3.Connection) -> None:
    """The beginnings of words lead to pages in the order of both, one each (FTS5's %_idx, page number times two).

    Then a search for a beginning comes to the page that its whole words come to; another entry would only mislead it.
    """
    last: tuple[int, int] = (0, 0)
    for entry in store.execute("SELECT segid, pgno >> 1 FROM search_idx ORDER BY segid, term"):
        if entry <= last:
            raise Damage("", "the full-text index leads a search for the beginning of a word astray")
        last = entry


def _record_id(store: sqlite3.Connection, seq: int) -> str:
    row = store.execute("SELECT leaf FROM records WHERE seq = ?", (seq,)).fetchone()
    return id_text(HEADER.unpack_from(row[0])[3]) if row else ""
