"""What a replay plays: a terminal as a film, anything else as lines that appear one event after another."""

from __future__ import annotations

import bisect

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.text import Text

from onrecord.recordings.console.drawing import lines_of
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.display.records import render_command, render_outcome, render_sample, render_verdict, who
from onrecord.recordings.replay import Event
from onrecord.recordings.terminal.emulator import Emulator
from onrecord.recordings.terminal.film import Film
from onrecord.recordings.terminal.harmless import plain_text

MOST_LINES = 20_000


class FilmScore:
    """A terminal: moments are its pieces."""

    def __init__(self, film: Film) -> None:
        self.film = film
        self.times = [film.time(index) for index in range(len(film.pieces))]
        self._played = 0
        self._emulator = Emulator(*film.size)
        self._text = ""
        self._ends: list[int] = []  # of each piece, in the text of all

    def picture(self, index: int) -> Emulator:
        """The terminal when `index` moments lie behind."""
        if index < self._played:
            self._emulator, self._played = (
                self.film.seek(self.times[index - 1]) if index else (Emulator(*self.film.size), 0)
            )
        while self._played < index:
            self._emulator.play(self.film.pieces[self._played])
            self._played += 1
        return self._emulator

    def find(self, text: str, after: int, *, forward: bool = True) -> int | None:
        """The next moment, from `after` on (or before it), at which `text` had been printed; None where none is."""
        if not self._ends:
            printed = [plain_text(piece.text) if piece.kind == "output" else "" for piece in self.film.pieces]
            self._text = "".join(printed).lower()
            end = 0
            for part in printed:
                end += len(part.lower())
                self._ends.append(end)
        wanted = text.lower()
        if not wanted or not self._ends:
            return None
        start = self._ends[after - 1] if after else 0
        # a hit may have begun before this moment and end behind it
        at = (
            self._text.find(wanted, max(0, start - len(wanted) + 1))
            if forward
            else self._text.rfind(wanted, 0, max(0, start - 1))
        )
        return None if at < 0 else bisect.bisect_left(self._ends, at + len(wanted))


class EventScore:
    """Everything else: moments are events, each drawn when it is reached."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        start = events[0].at if events else 0.0
        latest = 0.0
        self.times = []
        for event in events:
            latest = max(latest, event.at - start)
            self.times.append(latest)
        self._chunked = {event.view["of"] for event in events if event.what == "chunk"}
        self._drawn: dict[int, list[list[Segment]]] = {}
        self._width = 0

    def lines(self, index: int, width: int) -> list[list[Segment]]:
        """All lines when `index` moments lie behind; the newest MOST_LINES of them."""
        if width != self._width:
            self._drawn, self._width = {}, width
        found: list[list[Segment]] = []
        for number in range(index):
            if number not in self._drawn:
                self._drawn[number] = lines_of(self._draw(number), width)
            found += self._drawn[number]
        return found[-MOST_LINES:]

    def find(self, text: str, after: int, *, forward: bool = True) -> int | None:
        """The next moment, from `after` on (or before it), in which `text` stands; None where none is."""
        wanted = text.lower()
        if not wanted:
            return None
        numbers = range(after, len(self._events)) if forward else range(after - 2, -1, -1)
        return next((number for number in numbers if wanted in _plain(self._draw(number))), None)

    def _draw(self, number: int) -> RenderableType:
        event = self._events[number]
        view = event.view
        clock = Text(f"{int(self.times[number] // 60):02d}:{self.times[number] % 60:06.3f} ", style="dim")
        if event.what == "session":
            return clock + Text(f"{who(view)} on {clean(view['resource'])} ({clean(view['protocol'])})", style="bold")
        if event.what == "end":
            return clock + Text(f"ended: {clean(view['reason'] or '')}", style="dim")
        if event.what == "command":
            head = clock + Text(f"{clean(view['kind'])} {clean(view['action'])}", style="bold cyan")
            return Group(
                head,
                Padding(render_command(view), (0, 0, 0, 2)),
                Padding(render_verdict(view["verdict"] or {}), (0, 0, 0, 2)),
            )
        if event.what == "chunk":
            arrow = "→" if view["direction"] == "to_upstream" else "←"
            head = clock + Text(
                f"{arrow} {view['size']} bytes {clean(view['channel'])} {clean(view['note'])}", style="dim"
            )
            return head if view["data"] is None else Group(head, Padding(render_sample(view["data"]), (0, 0, 0, 2)))
        outcome = dict(view["outcome"])
        if view["id"] in self._chunked:
            outcome["sample"] = None  # its parts were shown when they came
        return Group(clock, Padding(render_outcome(outcome), (0, 0, 1, 2)))


def _plain(renderable: RenderableType) -> str:
    return "\n".join("".join(segment.text for segment in line) for line in lines_of(renderable, 200)).lower()
