"""Finding records: index tables say which rows, the leaves say what is in them. Read-only, short transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.recordings.approvals.history import approval_part, approval_record
from onrecord.recordings.frames import NO_ID, Kind, id_bytes, id_text
from onrecord.recordings.store import open_reader
from onrecord.recordings.views import (
    Leaf,
    View,
    chunk_view,
    command_view,
    iso_time,
    join_chunks,
    read_leaf,
    record_view,
    session_view,
)

_PAGE = 500
_SESSIONS_KEPT = 4096


class NotFoundError(OnrecordError):
    """No record has this id, or more than one begins with it."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What `log` lists. `since` is Unix time in nanoseconds; a session may be the beginning of its id."""

    session: str | None = None
    run: str | None = None
    identity: str | None = None
    resource: str | None = None
    kind: str | None = None
    verdict: str | None = None
    since: int | None = None
    limit: int | None = None


class Reader:
    """A store, opened for reading. Raises StoreError where it cannot be."""

    def __init__(self, path: Path) -> None:
        self._connection = open_reader(path)
        self._path = path
        self._sessions: dict[bytes, Leaf | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"{self._path}: the store cannot be read: {error}; run `onrecord verify`") from None

    def close(self) -> None:
        self._connection.close()

    def leaf(self, seq: int) -> Leaf | None:
        """Record number `seq`."""
        row = self._connection.execute("SELECT leaf FROM records WHERE seq = ?", (seq,)).fetchone()
        return read_leaf(row[0]) if row else None

    def leaves(self, start: int, stop: int) -> Iterator[tuple[int, Leaf]]:
        """Records number `start` to `stop` (not included), taken apart."""
        sql = "SELECT seq, leaf FROM records WHERE seq >= ? AND seq < ? ORDER BY seq"
        for seq, data in self._connection.execute(sql, (start, stop)).fetchall():
            yield int(seq), read_leaf(data)

    def chunk(self, leaf: Leaf) -> View:
        """A chunk as `show` has it among those of its command."""
        return chunk_view(leaf)

    def session_number(self, session: str) -> int:
        """The number of the record that began a session. Raises NotFoundError."""
        low, _ = _id_range(session)
        row = self._connection.execute("SELECT seq FROM sessions WHERE id = ?", (low,)).fetchone()
        if row is None:
            raise NotFoundError(f"no session has the id {session!r}")
        return int(row[0])

    def log(self, filters: Filters) -> list[View]:
        """The newest commands that fit, oldest first."""
        return list(self.commands(filters))

    def commands(self, filters: Filters) -> Iterator[View]:
        """`log` one by one: a store is larger than memory."""
        where, values = self._conditions(filters)
        limit = -1 if filters.limit is None else filters.limit
        sql = (
            "SELECT c.seq, c.outcome FROM commands c LEFT JOIN sessions s ON s.id = c.session"  # noqa: S608
            f" WHERE {where} ORDER BY c.at DESC, c.seq DESC LIMIT ?"
        )
        rows = self._connection.execute(sql, (*values, limit)).fetchall()
        for seq, outcome in reversed(rows):
            view = self._command(seq, outcome)
            if view is not None:
                yield view

    def newest(self) -> int:
        """Number of records."""
        (count,) = self._connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM records").fetchone()
        return int(count)

    def finished_since(self, seq: int, stop: int, filters: Filters) -> Iterator[View]:
        """Commands and refusals whose last word (outcome, or the refusal) is in records `seq` to `stop`: for `tail`."""
        where, values = self._conditions(filters)
        sql = (
            "SELECT c.seq, c.outcome FROM commands c LEFT JOIN sessions s ON s.id = c.session"  # noqa: S608
            f" WHERE c.seq IN (SELECT value FROM json_each(?)) AND {where} ORDER BY c.at, c.seq"
        )
        numbers: set[int] = set()
        for number, data in self._connection.execute(
            "SELECT seq, leaf FROM records WHERE seq >= ? AND seq < ?", (seq, stop)
        ).fetchall():
            leaf = read_leaf(data)
            if leaf.kind == Kind.REFUSAL:
                numbers.add(number)
            elif leaf.kind == Kind.OUTCOME:
                found = self._connection.execute("SELECT seq FROM commands WHERE id = ?", (leaf.command,))
                numbers.update(row[0] for row in found)
        encoded = msgspec.json.encode(sorted(numbers)).decode()
        for number, outcome in self._connection.execute(sql, (encoded, *values)).fetchall():
            view = self._command(number, outcome)
            if view is not None:
                yield view

    def sessions(self, filters: Filters) -> list[View]:
        """The newest sessions that fit, oldest first."""
        conditions, values = ["1"], []
        for column, value in (("s.run", filters.run), ("s.resource", filters.resource)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(encodable(value))
        if filters.identity is not None:
            conditions.append("(s.subject = ? OR s.on_behalf_of = ?)")
            values += [encodable(filters.identity)] * 2
        since = filters.since if filters.since is not None else 0
        sql = (
            "SELECT s.seq, s.ended, (SELECT count(*) FROM commands c WHERE c.session = s.id) FROM sessions s"  # noqa: S608
            f" WHERE {' AND '.join(conditions)} AND s.at >= ? ORDER BY s.at DESC, s.seq DESC LIMIT ?"
        )
        limit = -1 if filters.limit is None else filters.limit
        rows = self._connection.execute(sql, (*values, since, limit)).fetchall()
        views = []
        for seq, ended, count in reversed(rows):
            leaf = self.leaf(seq)
            if leaf is not None:
                views.append(session_view(leaf, None if ended is None else self.leaf(ended), count))
        return views

    def runs(self, filters: Filters) -> list[View]:
        """Runs with what they did, by their last activity, oldest first."""
        runs: dict[str, View] = {}
        for session in self.sessions(msgspec.structs.replace(filters, limit=None)):
            run = runs.setdefault(
                session["run"] or "",
                {
                    "id": session["run"], "run": session["run"], "at": session["at"], "last": session["at"],
                    "identity": session["identity"],
                    "resources": [], "sessions": 0, "commands": 0, "denied": 0,
                },
            )  # fmt: skip
            run["last"] = max(run["last"], session["ended"] or session["at"])
            run["sessions"] += 1
            run["commands"] += session["commands"]
            if session["resource"] not in run["resources"]:
                run["resources"].append(session["resource"])
        sql = (
            "SELECT s.run, count(*) FROM commands c JOIN sessions s ON s.id = c.session"
            " WHERE c.verdict <> 'allow' GROUP BY s.run"
        )
        for name, denied in self._connection.execute(sql):
            if name in runs:
                runs[name]["denied"] = denied
        ordered = sorted(runs.values(), key=lambda run: run["last"])
        return ordered if filters.limit is None else ordered[max(0, len(ordered) - filters.limit) :]

    def find(self, text: str) -> tuple[str, int]:
        """What a unique beginning or end of an id names: "command", "session", "approval" or "record", and its number.

        Raises NotFoundError.
        """
        low, high = _id_range(text)
        found: dict[bytes, tuple[str, int]] = {}
        for table, what in (("commands", "command"), ("sessions", "session")):
            sql = f"SELECT id, seq FROM {table} WHERE id >= ? AND id <= ? ORDER BY seq LIMIT 3"  # noqa: S608
            for id, seq in self._connection.execute(sql, (low, high)):
                found[id] = (what, seq)  # of two commands with one id the later stands: it is the refused one
        if not found:
            found = self._find_by_end(text)
        if not found:
            sql = "SELECT approval, min(seq) FROM approvals WHERE approval >= ? AND approval <= ? GROUP BY 1 LIMIT 3"
            for id, seq in self._connection.execute(sql, (low, high)):
                found[id] = ("approval", seq)
        if not found and len(text.replace("-", "")) == 32:
            sql = "SELECT seq FROM records WHERE substr(leaf, 7, 16) = ? LIMIT 1"
            for (seq,) in self._connection.execute(sql, (low,)):
                found[low] = ("record", seq)
        if not found:
            raise NotFoundError(f"no record has an id that begins or ends with {text!r}")
        if len(found) > 1:
            some = ", ".join(id_text(id) for id in sorted(found)[:2])
            raise NotFoundError(f"more than one record's id begins or ends with {text!r} ({some}, …): give more of it")
        return next(iter(found.values()))

    def _find_by_end(self, text: str) -> dict[bytes, tuple[str, int]]:
        """Lists show the end of an id, which is random; its beginning is the time."""
        digits = text.replace("-", "").upper()
        found: dict[bytes, tuple[str, int]] = {}
        for table, what in (("commands", "command"), ("sessions", "session")):
            sql = f"SELECT id, seq FROM {table} WHERE substr(hex(id), ?) = ? LIMIT 3"  # noqa: S608
            for id, seq in self._connection.execute(sql, (-len(digits), digits)):
                found[id] = (what, seq)
        return found

    def show(self, text: str) -> View:
        """One record with all that belongs to it, by a unique beginning of its id. Raises NotFoundError."""
        what, seq = self.find(text)
        if what == "session":
            return self.session_of(seq)
        if what == "approval":
            (raw,) = self._connection.execute("SELECT approval FROM approvals WHERE seq = ?", (seq,)).fetchone()
            return approval_record(id_text(raw), self.approval_leaves(id_text(raw)))
        if what == "command":
            (outcome,) = self._connection.execute("SELECT outcome FROM commands WHERE seq = ?", (seq,)).fetchone()
            view = self._command(seq, outcome, whole=True)
            if view is not None:
                return view
        leaf = self.leaf(seq)
        if leaf is None:
            raise NotFoundError(f"the record {text} is not in the store any more: run `onrecord verify`")
        if leaf.command != NO_ID and leaf.kind in (Kind.OUTCOME, Kind.CHUNK):
            return record_view(leaf) | {"of": id_text(leaf.command)}
        return record_view(leaf)

    def chunks(self, command: bytes) -> list[View]:
        """The recorded parts of a command's streams, in order."""
        rows = self._connection.execute("SELECT seq FROM chunks WHERE command = ? ORDER BY seq", (command,)).fetchall()
        return [chunk_view(leaf) for (seq,) in rows if (leaf := self.leaf(seq)) is not None]

    def match(self, query: str, limit: int) -> Iterator[tuple[int, Leaf]]:
        """The newest records that an FTS5 query finds, newest first."""
        sql = "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid DESC LIMIT ?"
        rows = self._connection.execute(sql, (query, limit)).fetchall()
        for (seq,) in rows:
            leaf = self.leaf(seq)
            if leaf is not None:
                yield seq, leaf

    def owner(self, seq: int, leaf: Leaf) -> int:
        """The number of the command that a record belongs to; its own where it belongs to none."""
        if leaf.kind not in (Kind.OUTCOME, Kind.CHUNK):
            return seq
        row = self._connection.execute(
            "SELECT seq FROM commands WHERE id = ? ORDER BY seq DESC LIMIT 1", (leaf.command,)
        ).fetchone()
        return int(row[0]) if row else seq

    def command_of(self, seq: int, leaf: Leaf) -> View | None:
        """The command that a record belongs to, as `log` shows it."""
        if leaf.kind in (Kind.OUTCOME, Kind.CHUNK):
            row = self._connection.execute(
                "SELECT seq, outcome FROM commands WHERE id = ? ORDER BY seq DESC LIMIT 1", (leaf.command,)
            ).fetchone()
        else:
            row = self._connection.execute("SELECT seq, outcome FROM commands WHERE seq = ?", (seq,)).fetchone()
        return self._command(*row) if row else None

    def records_of(self, sessions: Iterable[str]) -> list[View]:
        """Commands of sessions with their chunks, in the order in which they happened: for `replay`."""
        views: list[View] = []
        for session in sessions:
            low, _ = _id_range(session)
            rows = self._connection.execute(
                "SELECT seq, outcome FROM commands WHERE session = ? ORDER BY seq", (low,)
            ).fetchall()
            views += [view for row in rows if (view := self._command(*row, whole=True)) is not None]
        return sorted(views, key=lambda view: str(view["at"]))

    def _conditions(self, filters: Filters) -> tuple[str, list[Any]]:
        conditions: list[str] = ["1"]
        values: list[Any] = []
        for sql, value in (
            ("s.run = ?", filters.run),
            ("c.kind = ?", filters.kind),
            ("c.verdict = ?", filters.verdict),
            ("c.at >= ?", filters.since),
        ):
            if value is not None:
                conditions.append(sql)
                values.append(value)
        if filters.session is not None:
            conditions.append("c.session >= ? AND c.session <= ?")
            values += _id_range(filters.session)
        if filters.resource is not None:
            conditions.append("coalesce(s.resource, c.resource) = ?")
            values.append(filters.resource)
        if filters.identity is not None:
            conditions.append("? IN (s.subject, s.on_behalf_of, c.subject, c.on_behalf_of)")
            values.append(filters.identity)
        return " AND ".join(conditions), [encodable(value) if isinstance(value, str) else value for value in values]

    def _command(self, seq: int, outcome: int | None, *, whole: bool = False) -> View | None:
        leaf = self.leaf(seq)
        if leaf is None:
            return None
        ending = None if outcome is None else self.leaf(outcome)
        view = command_view(leaf, self._session_leaf(leaf.session), ending)
        verdict = leaf.get("verdict")
        if isinstance(verdict, dict) and isinstance(verdict.get("approval"), str) and verdict["approval"]:
            view["approval"] = approval_part(verdict["approval"], self.approval_leaves(verdict["approval"]))
        if whole and leaf.kind == Kind.COMMAND:
            chunks = self.chunks(leaf.command)
            if chunks:
                view["chunks"] = chunks
                if view["outcome"] is not None:
                    view["outcome"]["sample"] = join_chunks(view["outcome"]["sample"], chunks)
        if whole and ending is not None:
            view["ended"] = iso_time(ending.at)
        return view

    def session_of(self, seq: int) -> View:
        """The session that record `seq` began. Raises NotFoundError."""
        row = self._connection.execute(
            "SELECT ended, (SELECT count(*) FROM commands c WHERE c.session = s.id) FROM sessions s WHERE seq = ?",
            (seq,),
        ).fetchone()
        leaf = self.leaf(seq)
        if leaf is None or row is None:
            raise NotFoundError("the session is not in the store any more: run `onrecord verify`")
        return session_view(leaf, None if row[0] is None else self.leaf(row[0]), row[1])

    def approval_leaves(self, approval: str) -> list[Leaf]:
        """The records of one approval, in order."""
        try:
            raw = id_bytes(approval)
        except ValueError:
            return []
        rows = self._connection.execute("SELECT seq FROM approvals WHERE approval = ? ORDER BY seq", (raw,)).fetchall()
        return [leaf for (seq,) in rows if (leaf := self.leaf(seq)) is not None]

    def approvals(self, filters: Filters) -> list[View]:
        """The newest approvals on record, with every step, oldest first; verdict, kind and session do not count."""
        sql = "SELECT approval, min(seq) FROM approvals WHERE approval <> x'' GROUP BY approval ORDER BY 2 DESC"
        found: list[View] = []
        for raw, _ in self._connection.execute(sql).fetchall():
            view = approval_record(id_text(raw), self.approval_leaves(id_text(raw)))
            who = view["identity"] or {}
            if filters.run not in (None, view["run"]) or filters.resource not in (None, view["resource"]):
                continue
            if filters.identity not in (None, who.get("subject"), who.get("on_behalf_of")):
                continue
            if filters.since is not None and (view["requested_at"] or "") < iso_time(filters.since):
                continue
            found.append(view)
            if filters.limit is not None and len(found) >= filters.limit:
                break
        return found[::-1]

    def _session_leaf(self, id: bytes) -> Leaf | None:
        if id == NO_ID:
            return None
        if id not in self._sessions:
            if len(self._sessions) > _SESSIONS_KEPT:
                self._sessions.clear()
            row = self._connection.execute("SELECT seq FROM sessions WHERE id = ? ORDER BY seq", (id,)).fetchone()
            self._sessions[id] = self.leaf(row[0]) if row else None
        return self._sessions[id]


def encodable(text: str) -> str:
    """`text` without lone surrogates, which a command line can hold and a database cannot."""
    return text.encode("utf-8", "replace").decode()


def _id_range(text: str) -> tuple[bytes, bytes]:
    """The lowest and the highest id that begin with `text` (hex, dashes ignored). Raises NotFoundError."""
    digits = text.replace("-", "").lower()
    if not 1 <= len(digits) <= 32 or any(digit not in "0123456789abcdef" for digit in digits):
        raise NotFoundError(f"not a record id: {text!r}")
    return bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))
