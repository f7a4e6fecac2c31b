"""The desk of a recorder, with its state, its journal and its key."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from onrecord.policies.approvals import Participant
from onrecord.policies.config import Config
from onrecord.policies.config.approvals import approval_rules
from onrecord.policies.errors import StoreError
from onrecord.recordings.approvals.desk import Desk
from onrecord.recordings.approvals.state import FILE, ApprovalState
from onrecord.recordings.frames import HEADER, Kind
from onrecord.recordings.journal import Journal
from onrecord.recordings.records import ApprovalRecord, KillRecord
from onrecord.recordings.store import connect_read_only

JOURNAL = "approvals"
KEY_FILE = "approvals.key"
MAX_LATE = 10_000
ENDINGS = frozenset({"refused", "revoked", "cancelled", "expired", "rejected", "killed"})
"""Steps that take a right away, or give none."""

_PARTICIPANTS = """
SELECT DISTINCT
  subject, on_behalf_of, json_extract(content, '$.identity.names'), json_extract(content, '$.identity.actors')
FROM (
  SELECT s.subject, s.on_behalf_of, CAST(substr(r.leaf, ?) AS TEXT) AS content
  FROM sessions s JOIN records r ON r.seq = s.seq WHERE s.run = ?
)
"""


class DeskParts:
    """A desk and what it writes to. `close` puts the last records on disk. Raises StoreError."""

    def __init__(self, config: Config, journals: Path) -> None:
        state = config.gateway.state
        self._store = config.recordings.store
        key = _key(state / KEY_FILE)
        self._journals = journals
        self._journal: Journal | None = None  # made with the first record
        self._state = ApprovalState(state / FILE)
        self._late: deque[tuple[Kind, ApprovalRecord | KillRecord, bytes]] = deque(maxlen=MAX_LATE)
        self.desk = Desk(
            self._state,
            self._record,
            approval_rules(config),
            participants=self._participants,
            key=key,
            catch_up=self._catch_up,
        )

    def close(self) -> None:
        """Nothing more will be decided."""
        self._state.close()
        with contextlib.suppress(StoreError):
            self._catch_up()
        if self._journal is not None:
            with contextlib.suppress(StoreError):
                self._journal.close()

    def _record(self, kind: Kind, record: ApprovalRecord | KillRecord, session: bytes) -> None:
        """Put a step on disk. What takes a right away has the journal's reserve, where the disk is full."""
        if record.event not in ENDINGS:
            self._catch_up()
            journal = self._open()
            journal.append(kind, record, session=session)
            journal.flush()
            return
        self._late.append((kind, record, session))
        self._catch_up()

    def _catch_up(self) -> None:
        """Write the endings that wait because there was no room for a journal. Raises StoreError; they wait on."""
        while self._late:
            journal = self._open()
            kind, record, session = self._late.popleft()
            journal.refuse(kind, record, session=session)

    def _open(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self._journals, JOURNAL, durability="power")
        return self._journal

    def _participants(self, run: str) -> Iterator[Participant]:
        """Who took part in a run. Raises StoreError where it cannot be read: then nobody can be ruled out."""
        try:
            with contextlib.closing(connect_read_only(self._store)) as connection:
                rows = connection.execute(_PARTICIPANTS, (HEADER.size + 1, run)).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"who took part in the run cannot be read: {error}") from None
        try:
            for subject, behalf, names, actors in rows:
                yield Participant("", subject, behalf, _others(names), _others(actors))
        except (msgspec.DecodeError, ValueError) as error:
            raise StoreError(f"who took part in the run cannot be read: {error}") from None


def _others(text: str | None) -> tuple[str, ...]:
    return () if text is None else msgspec.json.decode(text, type=tuple[str, ...])


def _key(path: Path) -> bytes:
    """The key that makes digests of commands mute; made where there is none. Raises StoreError."""
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        key = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: the key of approvals cannot be had: {error.strerror}") from None
    if len(key) != 32:
        raise StoreError(f"{path}: not a key of 32 bytes: remove it to get a new one")
    return key
