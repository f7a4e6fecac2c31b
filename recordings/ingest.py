"""Journals → store, one step at a time: what the recorder process does in its thread. Synchronous.

Order of every step: read frames, one FULL-synchronous transaction (leaves, index rows, journal offsets, signed
checkpoint), the checkpoint's copy outside the database, only then the deletion of journals that are wholly taken in.
A kill at any point loses nothing and stores nothing twice: what is not in the transaction is still in the journal.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

import msgspec

from onrecord.policies.errors import StoreError
from onrecord.policies.model import Outcome
from onrecord.recordings.evidence.checkpoint import CheckpointError, Verifier
from onrecord.recordings.evidence.custody import CheckpointFile, checkpoints_path, load_signer
from onrecord.recordings.follow import Follower
from onrecord.recordings.frames import HEADER, NO_ID, VERSION, Kind, new_id
from onrecord.recordings.records import GapRecord, Record, SessionEndRecord
from onrecord.recordings.store import Batch, JournalState, StoreWriter

BATCH = 2000
PUBLISH_EVERY = 0.5
GONE = "the gateway process ended"

_encode = msgspec.json.Encoder().encode


class Ingest:
    """The single writer of a store. Raises StoreError where the evidence does not fit."""

    def __init__(self, state: Path, store: Path) -> None:
        self._state, self._path = state, store
        self.notes: list[str] = []
        self._published_at = 0.0
        self._unpublished: tuple[int, str] | None = None
        self._open()

    @property
    def size(self) -> int:
        """Number of records in the store."""
        return self._store.size

    @property
    def behind(self) -> bool:
        """Whether more stood in the journals than the last step took in."""
        return self._follower.behind

    def close(self) -> None:
        """Publish what is signed and let go of everything."""
        try:
            self._publish()
        finally:
            self._follower.close()
            self._store.close()
            self._outside.close()

    def step(self) -> int:
        """Take in what is new, at most about BATCH records; returns how many.

        Raises StoreError, sqlite3.Error or OSError.
        """
        batches: list[Batch] = []
        states: list[JournalState] = []
        for progress in self._follower.poll(BATCH):
            batches.append(Batch(progress.leaves, progress.state))
            states.append(progress.state)
            if progress.notes:
                batches.append(Batch([_gap(note) for note in progress.notes]))
                self.notes.extend(progress.notes)
        if batches:
            note = self._store.commit(batches, replace_from=self._outside.last)
            for state in states:
                self._follower.accept(state)
                self._present.add(state.name)
            if note is not None:
                self._unpublished = (self._store.size, note)
        if self._unpublished and time.monotonic() - self._published_at > PUBLISH_EVERY:
            self._publish()
        self._finish()
        return sum(len(batch.leaves) for batch in batches)

    def _open(self) -> None:
        outside = checkpoints_path(self._state)
        no_log = not self._path.exists() and not (outside.exists() and outside.stat().st_size)
        signer = load_signer(self._state, fresh=no_log)
        if not no_log and not self._path.exists():
            raise StoreError(
                f"{self._path}: the store is gone though {outside} proves that there were records: put the store "
                "back, or move state/evidence and state/journal aside to begin a new log"
            )
        try:
            self._outside = CheckpointFile(outside, Verifier.parse(signer.vkey))
        except (CheckpointError, OSError) as error:
            raise StoreError(f"{outside}: {error}: put the file back as it was") from None
        try:
            self._store = StoreWriter(self._path, signer)
            try:
                self._reconcile(outside)
                self._follower = Follower(self._state / "journal", self._store.journals())
                # journals that are not deleted yet; what is done among them may still wait for its sessions' end
                self._present = {name for name in self._follower.known if self._journal(name).exists()}
                self._reopen_unfinished()
                self._present |= self._store.journals_with_open_sessions() & self._follower.known.keys()
                self._deletable: set[str] = set()
            except BaseException:
                self._store.close()
                raise
        except BaseException:
            self._outside.close()
            raise

    def _reconcile(self, outside: Path) -> None:
        """The database must be at least as new as the checkpoints outside it."""
        if self._store.size < self._outside.last:
            raise StoreError(
                f"{self._path}: the store has {self._store.size} records, {outside} proves {self._outside.last}: it "
                "was rolled back or cut; put the newest copy back, or move the store, state/evidence and "
                "state/journal aside to begin a new log"
            )
        last = self._store.last_checkpoint()
        if (last[0] if last else 0) != self._store.size:
            raise StoreError(f"{self._path}: the newest records have no checkpoint; run `onrecord verify`")
        unpublished = [size for size, _ in self._store.checkpoints() if size > self._outside.last]
        if len(unpublished) > 1:  # one is signed only after the one before was published
            raise StoreError(
                f"{outside}: it ends at the checkpoint of {self._outside.last} records, the one of {unpublished[0]} "
                "was there too: the file was cut or removed; put it back, or move the store, state/evidence and "
                "state/journal aside to begin a new log"
            )
        self._unpublished = last if last and last[0] > self._outside.last else None

    def _reopen_unfinished(self) -> None:
        """A journal that the store calls done though more stands in it is read on: else it would be deleted so."""
        for name in self._present:
            state = self._follower.known[name]
            if state.done and state.seed and self._journal(name).lstat().st_size > state.position:
                self._follower.known[name] = state._replace(done=False)

    def _journal(self, name: str) -> Path:
        return self._state / "journal" / name

    def _publish(self) -> None:
        if self._unpublished:
            self._outside.append(*self._unpublished)
            self._unpublished = None
            self._published_at = time.monotonic()

    def _finish(self) -> None:
        """End what dead processes left open; delete journals that the outside checkpoints cover."""
        known = self._follower.known
        for name in sorted(self._present):
            if known[name].done:
                self._present.discard(name)
                self._deletable.add(name)
                heir = self._follower.heir(known[name])
                if heir is not None:
                    self._store.hand_over(name, heir)
                else:
                    self._abort(known[name])
        if self._deletable and not self._unpublished:
            for name in self._deletable:
                with contextlib.suppress(IsADirectoryError, PermissionError):  # a folder under a journal's name stays
                    self._journal(name).unlink(missing_ok=True)
            self._deletable.clear()

    def _abort(self, state: JournalState) -> None:
        """The process that wrote this journal is gone: nothing of its sessions will come any more."""
        leaves: list[bytes] = []
        for session in self._store.open_sessions(state.name):
            commands = self._store.open_commands(session)
            for command in commands:
                record = Outcome(status="aborted", error=GONE)
                leaves.append(_leaf(Kind.OUTCOME, record, session=session, command=command))
            leaves.append(_leaf(Kind.SESSION_END, SessionEndRecord(reason=GONE), session=session))
        if leaves:
            note = self._store.commit([Batch(leaves)], replace_from=self._outside.last)
            if note is not None:
                self._unpublished = (self._store.size, note)


def take_lock(path: Path) -> int:
    """One recorder a state folder, ever: flock(2), held by the descriptor. Raises StoreError where another one runs."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise StoreError(f"{path}: another recorder runs on this state folder") from None
    return fd


def _leaf(kind: Kind, record: Record, *, session: bytes = NO_ID, command: bytes = NO_ID) -> bytes:
    """A record of the recorder's own, as stored."""
    at = time.time_ns()
    return HEADER.pack(VERSION, kind, 0, new_id(at), session, command, at) + _encode(record)


def _gap(note: str) -> bytes:
    return _leaf(Kind.GAP, GapRecord(refusals=0, since=time.time_ns(), reason=note))
