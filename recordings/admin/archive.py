"""What the pages read of the store: in threads, few at a time, each on a connection of its own that cannot write."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec

from onrecord.policies.errors import StoreError
from onrecord.recordings.evidence.checkpoint import CheckpointError, Verifier
from onrecord.recordings.evidence.custody import vkey_path
from onrecord.recordings.evidence.merkle import leaf_hash
from onrecord.recordings.queries import Filters, Reader
from onrecord.recordings.store import FIRST_LINK, next_link, open_reader
from onrecord.recordings.views import View

AT_ONCE = 4
PAGE = 200


class Evidence(msgspec.Struct, frozen=True):
    """Where a record stands in the log. `covered` is the size of the first signed tree that holds it, 0 for none yet.

    `linked`: the chain beside the tree holds at this record. Neither is the whole proof: `onrecord verify` is.
    """

    number: int
    leaf_hash: str
    linked: bool
    covered: int = 0
    signed: bool = False
    origin: str = ""
    note: str = ""


class Archive:
    """Reads `store`; `state` holds the log's public key."""

    def __init__(self, store: Path, state: Path) -> None:
        self._store, self._state = store, state
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def runs(self, since: int, limit: int = PAGE) -> list[View]:
        """Runs that began since (Unix nanoseconds), newest first. Raises StoreError."""
        return (await self._read(lambda reader: reader.runs(Filters(since=since, limit=limit))))[::-1]

    async def run(self, run: str, limit: int = PAGE) -> tuple[list[View], list[View]]:
        """A run's sessions and its newest commands, each oldest first. Raises StoreError."""

        def read(reader: Reader) -> tuple[list[View], list[View]]:
            sessions = reader.sessions(Filters(run=run, limit=limit))
            return sessions, reader.log(Filters(run=run, limit=limit))

        return await self._read(read)

    async def session(self, session: str, limit: int = PAGE) -> list[View]:
        """A session's newest commands, oldest first. Raises StoreError, NotFoundError."""
        return await self._read(lambda reader: reader.log(Filters(session=session, limit=limit)))

    async def record(self, id: str) -> tuple[View, Evidence]:
        """A record and its evidence. Raises StoreError, NotFoundError."""

        def read(reader: Reader) -> tuple[View, int]:
            _, number = reader.find(id)
            return reader.show(id), number

        view, number = await self._read(read)
        async with self._slots:
            return view, await asyncio.to_thread(self._evidence, number)

    async def _read[T](self, question: Callable[[Reader], T]) -> T:
        def ask() -> T:
            with Reader(self._store) as reader:
                return question(reader)

        async with self._slots:
            return await asyncio.to_thread(ask)

    def _evidence(self, number: int) -> Evidence:
        try:
            connection = open_reader(self._store)
            try:
                rows = connection.execute(
                    "SELECT seq, link, leaf FROM records WHERE seq IN (?, ?) ORDER BY seq", (number - 1, number)
                ).fetchall()
                signed = connection.execute(
                    "SELECT size, note FROM checkpoints WHERE size > ? ORDER BY size LIMIT 1", (number,)
                ).fetchone()
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}") from None
        if not rows or rows[-1][0] != number:
            raise StoreError("the record is not in the store any more: run `onrecord verify`")
        before = FIRST_LINK if number == 0 else rows[0][1] if len(rows) == 2 else b""
        hashed = leaf_hash(rows[-1][2])
        found = Evidence(number, hashed.hex(), rows[-1][1] == next_link(before, hashed))
        if signed is None:
            return found
        size, note = signed
        try:
            checkpoint = Verifier.parse(vkey_path(self._state).read_text()).open(note)
        except (OSError, UnicodeDecodeError, CheckpointError):
            return msgspec.structs.replace(found, covered=size, note=note)
        return msgspec.structs.replace(
            found, covered=size, signed=checkpoint.size == size, origin=checkpoint.origin, note=note
        )
