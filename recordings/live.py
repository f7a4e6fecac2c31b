"""A session as it happens: its new records, in order, as events. Pure but for reading the store."""

from __future__ import annotations

from collections.abc import Iterator

from onrecord.recordings.frames import Kind
from onrecord.recordings.queries import Reader
from onrecord.recordings.replay import Event, seconds_of
from onrecord.recordings.views import iso_time

MAX_RECORDS = 2000  # of the store, in one step


class LiveSession:
    """`poll` gives what came since it was asked last; the first time, everything from the session's beginning.

    Raises NotFoundError where no session has this id.
    """

    def __init__(self, reader: Reader, text: str) -> None:
        self._reader = reader
        what, seq = reader.find(text)
        if what != "session":
            seq = reader.session_number(reader.show(text)["session"])
        self._position = seq
        view = reader.session_of(seq)
        self.id: str = view["id"]
        self._raw = bytes.fromhex(self.id.replace("-", ""))
        self.is_over = False

    def poll(self) -> Iterator[Event]:
        """New events, up to MAX_RECORDS records of the store further on."""
        newest = min(self._reader.newest(), self._position + MAX_RECORDS)
        for seq, leaf in self._reader.leaves(self._position, newest):
            if leaf.session != self._raw:
                continue
            at = leaf.at / 1e9
            if leaf.kind == Kind.SESSION:
                yield Event(at, "session", self._reader.session_of(seq))
            elif leaf.kind == Kind.SESSION_END:
                self.is_over = True
                view = self._reader.session_of(self._reader.session_number(self.id))
                yield Event(at, "end", view | {"ended": iso_time(leaf.at), "reason": leaf.get("reason")})
            else:
                view_of = self._reader.command_of(seq, leaf)
                if view_of is None:
                    continue
                if leaf.kind == Kind.COMMAND:
                    yield Event(seconds_of(view_of["at"]), "command", view_of)
                elif leaf.kind == Kind.CHUNK:
                    yield Event(at, "chunk", self._reader.chunk(leaf) | {"of": view_of["id"]})
                elif leaf.kind == Kind.OUTCOME:
                    yield Event(at, "outcome", view_of)
        self._position = newest
