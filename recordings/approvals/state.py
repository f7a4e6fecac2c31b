"""What the desk must not forget: approvals and kill switches in an SQLite file of their own, synchronous to the disk.

What takes a right away goes to a reserve beside it where the file cannot be written (a full disk), and from there into
the file as soon as it can.

The file is working state, not evidence: every step of an approval is a record in the tree as well. Losing it loses
approvals, never grants one: an approval that is not here does not exist.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec
from msgspec.structs import replace

from onrecord.policies.approvals import OPEN, Approval
from onrecord.policies.errors import StoreError
from onrecord.policies.kills import Kill
from onrecord.recordings.approvals.reserve import Ended, Reserve, Stopped, entry_of

FILE = "approvals.db"
RESERVE = "approvals.reserve"
KEPT = 7 * 86400.0  # seconds that ended approvals are kept, for late questions
_OPEN = tuple(state.value for state in OPEN)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS approvals (id TEXT PRIMARY KEY, state TEXT NOT NULL, at REAL NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS kills (id TEXT PRIMARY KEY, data BLOB NOT NULL);
"""

_encode = msgspec.json.Encoder().encode
_approval = msgspec.json.Decoder(Approval).decode
_kill = msgspec.json.Decoder(Kill).decode


class ApprovalState:
    """One file, one writer. Each method that writes is one transaction, on disk when it returns. Raises StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unkept: dict[str, Approval | Kill] = {}  # what took a right away and is not in the file yet
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=2.0)
            path.chmod(0o600)
            self._connection.execute("PRAGMA trusted_schema = OFF")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            old = "DELETE FROM approvals WHERE at < ? AND state NOT IN (?, ?)"
            self._connection.execute(old, (time.time() - KEPT, *_OPEN))
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path}: the state of approvals cannot be opened: {error}") from None
        try:
            self._reserve = Reserve(path.with_name(RESERVE))
        except StoreError:
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()
        self._reserve.close()

    def approvals(self) -> list[Approval]:
        """All that are kept, oldest first. What cannot be read is no approval: it is left out, and so never granted."""
        found: list[Approval] = []
        ended = {one.id: one for one in self._reserve.entries if isinstance(one, Ended)}
        for (data,) in self._rows("SELECT data FROM approvals ORDER BY at, id"):
            try:
                approval = _approval(data)
            except (msgspec.DecodeError, ValueError):
                continue
            if approval.state in OPEN and (over := ended.get(approval.id)) is not None:
                approval = replace(
                    approval,
                    state=over.state,
                    reason=over.reason,
                    decided_at=over.decided_at,
                    decided_by=over.decided_by,
                )
                self._unkept[approval.id] = approval
            elif _encode(approval) != data:  # an earlier version wrote it: `swap` compares bytes
                self.put(approval)
            found.append(approval)
        return found

    def kills(self) -> list[Kill]:
        """The switches that are set. Raises StoreError where one cannot be read: it would be lifted by its damage."""
        try:
            found = {kill.id: kill for kill in map(_kill, (data for (data,) in self._rows("SELECT data FROM kills")))}
        except (msgspec.DecodeError, ValueError) as error:
            raise StoreError(f"{self._path}: a kill switch cannot be read: {error}") from None
        for one in self._reserve.entries:
            if isinstance(one, Stopped) and one.kill.id not in found:
                found[one.kill.id] = self._unkept[one.kill.id] = one.kill
        return [found[id] for id in sorted(found)]

    def put(self, approval: Approval) -> None:
        """Keep an approval as it is now."""
        row = (approval.id, approval.state.value, approval.requested_at, _encode(approval))
        self._write("INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, ?)", row)

    def swap(self, old: Approval, new: Approval) -> bool:
        """Replace `old` by `new` if `old` is what stands there: compare and set. False where it is not."""
        sql = "UPDATE approvals SET state = ?, data = ? WHERE id = ? AND data = ?"
        return self._write(sql, (new.state.value, _encode(new), old.id, _encode(old))) == 1

    def remove(self, id: str) -> None:
        """Forget an approval that has ended."""
        self._write("DELETE FROM approvals WHERE id = ?", (id,))

    def add_kill(self, kill: Kill) -> None:
        self._write("INSERT OR REPLACE INTO kills VALUES (?, ?)", (kill.id, _encode(kill)))

    def remove_kill(self, id: str) -> None:
        self._write("DELETE FROM kills WHERE id = ?", (id,))
        self._unkept.pop(id, None)
        self.catch_up()  # the reserve may name it still

    def reserve(self, ended: Approval | Kill) -> bool:
        """Keep what takes a right away where the file could not. False: it holds only until the recorder restarts."""
        self._unkept[ended.id] = ended
        try:
            self._reserve.add(entry_of(ended))
        except StoreError:
            return False
        return True

    def catch_up(self) -> None:
        """Bring into the file what could not be written before. Raises StoreError where it still cannot."""
        for id, ended in list(self._unkept.items()):
            if isinstance(ended, Kill):
                self.add_kill(ended)
            else:
                self.put(ended)
            del self._unkept[id]
        self._reserve.clear()

    def _rows(self, sql: str) -> list[tuple[bytes]]:
        try:
            return self._connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: the state of approvals cannot be read: {error}") from None

    def _write(self, sql: str, values: tuple[object, ...]) -> int:
        try:
            return self._connection.execute(sql, values).rowcount
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: the state of approvals cannot be written: {error}") from None
