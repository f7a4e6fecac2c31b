"""What an export is about: sessions and, one by one, their commands with all parts of their streams."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from onrecord.policies.errors import StoreError
from onrecord.recordings.frames import id_bytes
from onrecord.recordings.queries import Filters, NotFoundError, Reader
from onrecord.recordings.views import View, iso_time

_BATCH = 500


class Subject(msgspec.Struct, frozen=True):
    """A run, a session or a command of a store; `sessions` are those that belong to it, oldest first."""

    what: str
    id: str
    sessions: tuple[View, ...]
    numbers: tuple[tuple[int, int | None], ...]  # records of commands and of their outcomes, in order of time


class Archive(Reader):
    """A store, opened for exports."""

    def subject(self, text: str) -> Subject:
        """What `text` names: a run's id, or the beginning or end of a session's or command's. Raises NotFoundError."""
        sessions = self.sessions(Filters(run=text))
        if sessions:
            return Subject("run", text, tuple(sessions), self._numbers(sessions))
        view = self.show(text)
        if "commands" in view and "verdict" not in view:
            return Subject("session", view["id"], (view,), self._numbers([view]))
        if "verdict" not in view:
            if not view.get("of"):
                raise NotFoundError(f"{text} is a {view.get('kind', 'record')}, neither a run, a session nor a command")
            view = self.show(view["of"])
        _, seq = self.find(view["id"])
        (outcome,) = self._connection.execute("SELECT outcome FROM commands WHERE seq = ?", (seq,)).fetchone()
        found = (self.session_of(self.find(view["session"])[1]),) if view["session"] else ()
        return Subject("command", view["id"], found, ((seq, outcome),))

    def commands_of(self, subject: Subject) -> Iterator[View]:
        """Each command as `log --json` prints it, with `ended`, and `chunks` that are not joined to the sample."""
        for seq, outcome in subject.numbers:
            view = self._command(seq, outcome)
            if view is None:
                continue
            if view["kind"] != "refusal":
                view["chunks"] = self.chunks(id_bytes(view["id"]))
            ending = None if outcome is None else self.leaf(outcome)
            if ending is not None:
                view["ended"] = iso_time(ending.at)
            yield view

    def record_numbers(self, subject: Subject) -> list[int]:
        """Numbers of all records that an export of `subject` rests on, in order."""
        found: set[int] = set()
        for seq, outcome in subject.numbers:
            found.add(seq)
            if outcome is not None:
                found.add(outcome)
            leaf = self.leaf(seq)
            if leaf is not None:
                found.update(
                    row[0]
                    for row in self._connection.execute("SELECT seq FROM chunks WHERE command = ?", (leaf.command,))
                )
        for session in subject.sessions:
            found.update(
                number
                for row in self._connection.execute(
                    "SELECT seq, ended FROM sessions WHERE id = ?", (id_bytes(session["id"]),)
                )
                for number in row
                if number is not None
            )
        return sorted(found)

    def leaf_bytes(self, seq: int) -> bytes:
        """A record as it is stored."""
        row = self._connection.execute("SELECT leaf FROM records WHERE seq = ?", (seq,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise StoreError(f"record number {seq} is not in the store any more: run `onrecord verify`")
        return row[0]

    def _numbers(self, sessions: list[View]) -> tuple[tuple[int, int | None], ...]:
        found: list[tuple[int, int, int | None]] = []
        for session in sessions:
            rows = self._connection.execute(
                "SELECT at, seq, outcome FROM commands WHERE session = ?", (id_bytes(session["id"]),)
            )
            found += rows.fetchall()
        return tuple((seq, outcome) for _, seq, outcome in sorted(found))
