"""What the console reads from a store: pages of the timeline by key, never by number; slices of bounded work.

Synchronous; made and used in one thread. Every statement is its own read transaction and looks at a bounded stretch of
time, so that none holds the store's log for long and a search over millions can stop between two of them.
"""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import NamedTuple

import msgspec

from onrecord.recordings.console.conditions import TROUBLE, Condition
from onrecord.recordings.console.rows import Key, Owner, Row, read_owner, read_row
from onrecord.recordings.frames import NO_ID, id_bytes
from onrecord.recordings.queries import Reader
from onrecord.recordings.views import View, chunk_view, join_chunks, read_leaf

FIRST_SLICE = 4_000  # records; grows while nothing is found
MAX_SLICE = 60_000
PAGE_BYTES = 16 * 1024 * 1024  # of leaves read for one page
SHOWN_CHUNKS = 500  # parts of streams in the detail pane
SHOWN_BYTES = 8 * 1024 * 1024
NEWEST = Key(2**63 - 1, 2**63 - 1)
OLDEST = Key(-1, -1)


_NEAR_OLDER = "SELECT seq FROM commands WHERE at <= ? ORDER BY at DESC LIMIT 1"
_NEAR_NEWER = "SELECT seq FROM commands WHERE at >= ? ORDER BY at LIMIT 1"
_FAR_OLDER = "SELECT at FROM commands WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
_FAR_NEWER = "SELECT at FROM commands WHERE seq >= ? ORDER BY seq LIMIT 1"


class Slice(NamedTuple):
    """Lines found in one step, in the order of the search; `reached`: where the next step goes on, None at the end."""

    rows: list[Row]
    reached: Key | None


class Bucket(msgspec.Struct):
    """A stretch of time on the strip: how many were denied or held, and how many failed."""

    denied: int = 0
    failed: int = 0


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A run or a session in the side pane; times in Unix nanoseconds."""

    id: str
    who: str
    place: str
    at: int
    ended: bool
    commands: int
    sessions: int = 0


class Source(Reader):
    """A store as the console reads it. Raises StoreError where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._owners: dict[bytes, Owner] = {}

    def extent(self) -> tuple[int, int]:
        """Times (ns) of the first and the last command; (0, 0) where there is none."""
        first = self._connection.execute("SELECT at FROM commands ORDER BY at LIMIT 1").fetchone()
        last = self._connection.execute("SELECT at FROM commands ORDER BY at DESC LIMIT 1").fetchone()
        return (first[0], last[0]) if first and last else (0, 0)

    def step(
        self,
        condition: Condition,
        start: Key,
        *,
        older: bool,
        limit: int,
        size: int = FIRST_SLICE,
        trouble: bool = False,
    ) -> Slice:
        """At most `limit` lines before (or behind) `start`, the nearest first, of about `size` records.

        With `trouble` only denials, holds and errors, which have an index of their own: then in one step.
        """
        low, high = self._bounds(condition)
        if not older:
            start = max(start, Key(low, -1))
        elif high is not None:
            start = min(start, Key(high + 1, -1))
        edge = None if trouble else self._edge(start, older=older, size=size)
        if older:
            floor = low if edge is None else max(low, edge)
            place, order, bounds = "(c.at, c.seq) < (?, ?) AND c.at >= ?", "DESC", (*start, floor)
            done = edge is None or edge <= low
            reached = Key(floor, -1)
        else:
            ceiling = NEWEST.at if edge is None else edge
            if high is not None:
                ceiling = min(ceiling, high)
            place, order = "(c.at, c.seq) > (?, ?) AND c.at <= ?", "ASC"
            bounds = (*start, ceiling)
            done = edge is None or (high is not None and edge >= high)
            reached = Key(ceiling, NEWEST.seq)
        only = f" AND {TROUBLE}" if trouble else ""
        sql = (
            f"SELECT c.at, c.seq, c.outcome, c.session FROM {condition.source}"  # noqa: S608  # constants; values are ?
            f" WHERE {place}{only} AND {condition.sql} ORDER BY c.at {order}, c.seq {order} LIMIT ?"
        )
        found = self._connection.execute(sql, (*bounds, *condition.values, limit)).fetchall()
        rows, whole = self._rows(found)
        if not whole or len(found) == limit:
            return Slice(rows, rows[-1].key if rows else None)
        return Slice(rows, None if done else reached)

    def page(self, condition: Condition, start: Key, *, older: bool, limit: int) -> list[Row]:
        """`limit` lines before or behind `start`, the nearest first, however far they are."""
        rows: list[Row] = []
        reached: Key | None = start
        size = FIRST_SLICE
        while reached is not None and len(rows) < limit:
            part = self.step(condition, reached, older=older, limit=limit - len(rows), size=size)
            rows += part.rows
            reached, size = part.reached, min(2 * size, MAX_SLICE)
        return rows

    def arrived(self, condition: Condition, after: int, limit: int) -> tuple[list[Row], int]:
        """Lines of records with a number above `after`, in order of number, and the last number looked at."""
        low, high = self._bounds(condition)
        stop = self.newest() - 1
        sql = (
            f"SELECT c.at, c.seq, c.outcome, c.session FROM {condition.source}"  # noqa: S608
            f" WHERE c.seq > ? AND c.at >= ? AND c.at <= ? AND {condition.sql} ORDER BY c.seq LIMIT ?"
        )
        bounds = (after, low, NEWEST.at if high is None else high)
        found = self._connection.execute(sql, (*bounds, *condition.values, limit)).fetchall()
        rows, whole = self._rows(found)
        if rows and (not whole or len(found) == limit):
            return rows, rows[-1].key.seq
        return rows, max(stop, after)

    def again(self, seqs: list[int]) -> list[Row]:
        """The lines of these records as they are now."""
        sql = (
            "SELECT at, seq, outcome, session FROM commands WHERE seq IN (SELECT value FROM json_each(?))"
            " ORDER BY at, seq"
        )
        found = self._connection.execute(sql, (msgspec.json.encode(seqs).decode(),)).fetchall()
        return self._rows(found)[0]

    def row_of(self, seq: int) -> Row | None:
        """One line, by its record's number."""
        rows = self.again([seq])
        return rows[0] if rows else None

    def trouble(self, condition: Condition, low: int, high: int, buckets: int) -> list[Bucket]:
        """Denials and errors of the stretch from `low` to `high` (ns), counted in `buckets` equal parts."""
        counted = [Bucket() for _ in range(buckets)]
        width = max(1, (high - low) // buckets + 1)
        sql = (
            "SELECT (c.at - ?) / ?, sum(c.verdict <> 'allow'), sum(c.verdict = 'allow')"  # noqa: S608
            f" FROM {condition.source} WHERE {TROUBLE} AND c.at >= ? AND c.at <= ? AND {condition.sql} GROUP BY 1"
        )
        for index, denied, failed in self._connection.execute(sql, (low, width, low, high, *condition.values)):
            if 0 <= index < buckets:
                counted[index] = Bucket(denied or 0, failed or 0)
        return counted

    def run_groups(self, limit: int) -> list[Group]:
        """The runs that began a session last, the newest first."""
        sql = "SELECT run, max(at), count(*), max(seq) FROM sessions GROUP BY run ORDER BY 2 DESC LIMIT ?"
        groups = []
        for run, at, sessions, seq in self._connection.execute(sql, (limit,)).fetchall():
            owner = self._owner_at(seq)
            groups.append(
                Group(id=run, who=owner.who, place=owner.place, at=at, ended=True, commands=0, sessions=sessions)
            )
        return groups

    def sessions_of(self, run: str, limit: int) -> list[Group]:
        """The newest sessions of a run, oldest first."""
        sql = (
            "SELECT s.id, s.at, s.ended, s.seq, (SELECT count(*) FROM commands c WHERE c.session = s.id)"
            " FROM sessions s WHERE s.run = ? ORDER BY s.at DESC, s.seq DESC LIMIT ?"
        )
        groups = []
        for id, at, ended, seq, commands in self._connection.execute(sql, (run, limit)).fetchall():
            owner = self._owner_at(seq)
            groups.append(
                Group(id=id.hex(), who=owner.who, place=owner.place, at=at, ended=ended is not None, commands=commands)
            )
        return groups[::-1]

    def leaf_bytes(self, seq: int) -> bytes:
        """A record as it is stored; b"" where there is none."""
        row = self._connection.execute("SELECT leaf FROM records WHERE seq = ?", (seq,)).fetchone()
        return row[0] if row and isinstance(row[0], bytes) else b""

    def whole_bounded(self, seq: int) -> tuple[View | None, int]:
        """A command as `onrecord show` has it, with the first parts of its streams; how many parts are left out."""
        row = self._connection.execute("SELECT outcome FROM commands WHERE seq = ?", (seq,)).fetchone()
        view = self._command(seq, row[0]) if row else None
        if view is None or view["kind"] == "refusal":
            return view, 0
        command = id_bytes(view["id"])
        (count,) = self._connection.execute("SELECT count(*) FROM chunks WHERE command = ?", (command,)).fetchone()
        found = self._connection.execute(
            "SELECT seq FROM chunks WHERE command = ? ORDER BY seq LIMIT ?", (command, SHOWN_CHUNKS)
        ).fetchall()
        chunks: list[View] = []
        taken = 0
        for (number,) in found:
            leaf = self.leaf_bytes(number)
            taken += len(leaf)
            if taken > SHOWN_BYTES:
                break
            chunks.append(chunk_view(read_leaf(leaf)))
        if chunks:
            view["chunks"] = chunks
            if view["outcome"] is not None:
                view["outcome"]["sample"] = join_chunks(view["outcome"]["sample"], chunks)
        return view, count - len(chunks)

    def weight(self, row: Row) -> int:
        """Bytes of all parts of streams of a line's session; of its command, where it has none."""
        where, value = ("session", row.session) if row.session else ("id", row.id)
        sql = (
            "SELECT coalesce(sum(length(r.leaf)), 0) FROM commands c JOIN chunks k ON k.command = c.id"  # noqa: S608
            f" JOIN records r ON r.seq = k.seq WHERE c.{where} = ?"
        )
        (size,) = self._connection.execute(sql, (id_bytes(value),)).fetchone()
        return int(size)

    def interrupt(self) -> None:
        """End the statement that runs, from any thread: it raises there."""
        self._connection.interrupt()

    def records_of_row(self, row: Row) -> list[tuple[str, int]]:
        """What a line was made from: names and numbers of the command, its outcome and the first of its chunks."""
        numbers = [("refusal" if row.kind == "refusal" else "command", row.key.seq)]
        found = self._connection.execute("SELECT outcome FROM commands WHERE seq = ?", (row.key.seq,)).fetchone()
        if found and found[0] is not None:
            numbers.append(("outcome", found[0]))
        if row.kind != "refusal" and row.id:
            chunks = self._connection.execute(
                "SELECT seq FROM chunks WHERE command = ? ORDER BY seq LIMIT 8", (id_bytes(row.id),)
            )
            numbers += [("chunk", seq) for (seq,) in chunks.fetchall()]
        return numbers

    def _rows(self, found: list[tuple[int, int, int | None, bytes | None]]) -> tuple[list[Row], bool]:
        """Lines of index rows; False where there were too many bytes to read all."""
        rows: list[Row] = []
        taken = 0
        for at, seq, outcome, session in found:
            if taken > PAGE_BYTES:
                return rows, False
            leaf = self.leaf_bytes(seq)
            ending = None if outcome is None else (outcome, self.leaf_bytes(outcome))
            taken += len(leaf) + (len(ending[1]) if ending else 0)
            rows.append(read_row(Key(at, seq), leaf, self._owner(session), ending))
        return rows, True

    def _owner(self, session: bytes | None) -> Owner | None:
        if session is None or session == NO_ID:
            return None
        known = self._owners.get(session)
        if known is None:
            row = self._connection.execute("SELECT seq FROM sessions WHERE id = ? ORDER BY seq", (session,)).fetchone()
            if row is None:
                return None  # not kept: it may still come
            if len(self._owners) > 4096:
                self._owners.clear()
            known = self._owners[session] = self._owner_at(row[0])
        return known

    def _owner_at(self, seq: int) -> Owner:
        return read_owner(seq, self.leaf_bytes(seq))

    def _bounds(self, condition: Condition) -> tuple[int, int | None]:
        return condition.since if condition.since is not None else 0, condition.until

    def _edge(self, start: Key, *, older: bool, size: int) -> int | None:
        """A time about `size` records from `start`; None where the store ends before. Any other time would do.

        Numbers and times rise together but for processes whose journals were taken in at different moments.
        """
        beside, further = (_NEAR_OLDER, _FAR_OLDER) if older else (_NEAR_NEWER, _FAR_NEWER)
        near = self._connection.execute(beside, (start.at,)).fetchone()
        while near is not None:
            row = self._connection.execute(further, (near[0] - size if older else near[0] + size,)).fetchone()
            if row is None:
                return None
            if (row[0] < start.at) if older else (row[0] > start.at):
                return int(row[0])
            size *= 2
        return None


def place_of(rows: list[Row], key: Key) -> int:
    """Where `key` stands, or would stand, in lines that are in order."""
    return bisect.bisect_left(rows, key, key=lambda row: row.key)
