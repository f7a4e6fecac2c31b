"""A session, run or command as a sequence of timed events, for the terminal. Pure but for reading the store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import msgspec

from onrecord.recordings.queries import Filters, NotFoundError, Reader
from onrecord.recordings.views import View


class Event(msgspec.Struct, frozen=True):
    """Something that happened at `at` (Unix seconds); `view` is the session, command or chunk."""

    at: float
    what: Literal["session", "command", "chunk", "outcome", "end"]
    view: View


def events(reader: Reader, text: str) -> list[Event]:
    """Everything that `text` names, in order of time: a run's id, or the beginning of a session's or command's.

    Raises NotFoundError.
    """
    sessions = reader.sessions(Filters(run=text))
    if sessions:
        commands = reader.records_of(session["id"] for session in sessions)
    else:
        view = reader.show(text)
        if "verdict" in view:
            sessions, commands = [], [view]
        elif "commands" in view:
            sessions, commands = [view], reader.records_of([view["id"]])
        elif view.get("of"):
            sessions, commands = [], [reader.show(view["of"])]
        else:
            raise NotFoundError(f"{text} is a {view.get('kind', 'record')}, neither a run, a session nor a command")
    found = [event for session in sessions for event in _session_events(session)]
    found += [event for command in commands for event in _command_events(command)]
    order = ("session", "command", "chunk", "outcome", "end")
    return sorted(found, key=lambda event: (event.at, order.index(event.what)))


def pauses(sequence: list[Event], *, speed: float = 1.0, idle: float = 2.0) -> Iterator[tuple[float, Event]]:
    """Each event with the seconds to wait before it: real time divided by `speed`, never more than `idle`."""
    last: float | None = None
    for event in sequence:
        wait = 0.0 if last is None else min(max(0.0, event.at - last) / speed, idle)
        last = event.at
        yield wait, event


def _session_events(session: View) -> Iterator[Event]:
    yield Event(seconds_of(session["at"]), "session", session)
    if session["ended"]:
        yield Event(seconds_of(session["ended"]), "end", session)


def _command_events(command: View) -> Iterator[Event]:
    at = seconds_of(command["at"])
    yield Event(at, "command", command)
    for chunk in command.get("chunks", ()):
        yield Event(seconds_of(chunk["at"]), "chunk", chunk | {"of": command["id"]})
    outcome = command["outcome"]
    if outcome is not None:
        ended = seconds_of(command["ended"]) if "ended" in command else at
        yield Event(ended, "outcome", command)


def seconds_of(text: str) -> float:
    """A view's time as Unix seconds."""
    return datetime.fromisoformat(text).timestamp()
