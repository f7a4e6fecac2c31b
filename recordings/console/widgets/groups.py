"""The side pane: runs, and the sessions of the one that is open."""

from __future__ import annotations

from rich.segment import Segment

from onrecord.recordings.console.source import Group
from onrecord.recordings.console.themes import Palette
from onrecord.recordings.console.widgets.lines import Lines, fit
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.views import iso_time


class Groups(Lines):
    """Runs, newest first; Enter opens one into its sessions and narrows the timeline to it."""

    empty = "no runs yet"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.runs: list[Group] = []
        self.sessions: list[Group] = []
        self.opened: str | None = None

    @property
    def _lines(self) -> list[tuple[str, Group]]:
        lines: list[tuple[str, Group]] = []
        for run in self.runs:
            lines.append(("run", run))
            if run.id == self.opened:
                lines += [("session", session) for session in self.sessions]
        return lines

    @property
    def count(self) -> int:
        return len(self.runs) + (len(self.sessions) if self.opened is not None else 0)

    @property
    def current(self) -> tuple[str, Group] | None:
        """What is under the cursor: "run" or "session", and which."""
        lines = self._lines
        return lines[self.cursor] if 0 <= self.cursor < len(lines) else None

    def show(self, runs: list[Group]) -> None:
        """Another list of runs; the cursor stays at what it was on."""
        at = self.current
        self.runs = runs
        if self.opened not in {run.id for run in runs}:
            self.opened, self.sessions = None, []
        if at is not None:
            lines = self._lines
            self.cursor = next((i for i, line in enumerate(lines) if line[1].id == at[1].id), self.cursor)
        self.redraw()

    def open(self, run: str | None, sessions: list[Group]) -> None:
        """Show the sessions of one run."""
        self.opened, self.sessions = run, sessions if run is not None else []
        self.redraw()

    def segments(self, index: int, width: int, colours: Palette) -> list[Segment]:
        what, group = self._lines[index]
        at = iso_time(group.at)
        if what == "run":
            sign = "▾" if group.id == self.opened else "▸"
            name = clean(group.id) or "(no run)"
            tail = f" {group.sessions}"
            return [
                Segment(f"{sign} {fit(name, max(4, width - 15 - len(tail)))} ", colours.head),
                Segment(fit(group.who, 10), colours.plain),
                Segment(tail, colours.dim),
            ]
        return [
            Segment(f"  {at[11:19]} ", colours.dim),
            Segment(fit(group.place, max(4, width - 20)), colours.plain),
            Segment(f" {group.commands}", colours.dim),
            Segment("" if group.ended else " ●", colours.ok),
        ]
