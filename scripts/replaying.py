"""`onrecord replay` and `onrecord tail SESSION`: a session as it happened, or happens, on the viewer's terminal."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Iterable

import typer

from onrecord.recordings.live import LiveSession
from onrecord.recordings.queries import Reader
from onrecord.recordings.replay import Event, pauses
from onrecord.recordings.terminal.emulator import Emulator
from onrecord.recordings.terminal.film import Film
from onrecord.recordings.terminal.harmless import plain_text
from onrecord.recordings.terminal.pieces import PieceReader, has_terminal, pieces
from onrecord.scripts.screen_lists import ReplayScreen
from onrecord.scripts.terminal import clean, json_line
from onrecord.scripts.terminal_screen import TerminalScreen, clock, last_picture, play_film, printed_lines

POLL = 0.1
_MOMENT = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,6}(?:\.\d{1,6})?)")


def parse_moment(text: str | None) -> float:
    """Seconds of "90", "1:30" or "1:02:03". Raises BadParameter."""
    if text is None:
        return 0.0
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no moment of a recording (90, 1:30, 1:02:03)")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def play(sequence: list[Event], *, speed: float, idle: float, no_wait: bool, start: float) -> None:
    """Play events one after another; what ran on a terminal is played on one where there is one."""
    films = {
        event.view["id"]: Film(pieces(event.view))
        for event in sequence
        if event.what == "command" and has_terminal(event.view)
    }
    screen = ReplayScreen(sequence)
    first = sequence[0].at if sequence else 0.0
    on_terminal = sys.stdout.isatty() and not no_wait
    for wait, event in pauses(sequence, speed=speed, idle=0.0 if no_wait else idle):
        film = films.get(str(event.view.get("of" if event.what == "chunk" else "id")))
        if film is not None and event.what == "chunk":
            continue  # a part of the film
        offset = event.at - first
        if offset < start and event.what not in ("session", "command"):
            continue
        if wait and not no_wait and offset >= start and not (film is not None and event.what == "outcome"):
            sys.stdout.flush()
            time.sleep(wait)
        if film is None or event.what != "command":
            if offset >= start or event.what == "session":
                is_shown = film is not None and event.what == "outcome"  # what it printed was played
                screen.play(_without_sample(event) if is_shown else event)
            continue
        _play_command(event, film, screen, on_terminal=on_terminal, speed=speed, idle=idle, start=start - offset)


def _without_sample(event: Event) -> Event:
    outcome = {**event.view["outcome"], "sample": None}
    return Event(event.at, event.what, {**event.view, "outcome": outcome})


def _play_command(
    event: Event, film: Film, screen: ReplayScreen, *, on_terminal: bool, speed: float, idle: float, start: float
) -> None:
    begins = film.start - event.at
    if start - begins > film.duration:
        return
    screen.play(event)
    if on_terminal:
        sys.stdout.flush()
        left = play_film(
            sys.stdout, film, str(event.view["text"]), speed=speed, idle=idle, start=max(0.0, start - begins)
        )
        lines: Iterable[str] = last_picture(left)
    else:
        lines = printed_lines(film)
    for line in lines:
        sys.stdout.write(f"  {line}\n")
    for piece in film.pieces:
        if piece.kind == "gap":
            sys.stdout.write(f"  … {clean(piece.text)}\n")


def follow(reader: Reader, session: str, *, as_json: bool) -> None:
    """`tail SESSION`: each command, piece and outcome as it comes, until the session ends. Raises NotFoundError."""
    live = LiveSession(reader, session)
    view = _JsonView() if as_json else _LiveView()
    with view:
        while True:
            for event in live.poll():
                view.show(event)
            view.rest()
            if live.is_over:
                return
            time.sleep(POLL)


class _JsonView(contextlib.AbstractContextManager["_JsonView"]):
    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def show(self, event: Event) -> None:
        sys.stdout.write(json_line({"what": event.what, "at": event.at, **event.view}))

    def rest(self) -> None:
        sys.stdout.flush()


class _LiveView(contextlib.AbstractContextManager["_LiveView"]):
    """One command's terminal at a time has the screen; everything else is printed as lines."""

    def __init__(self) -> None:
        self._lines = ReplayScreen([])
        self._readers: dict[str, PieceReader] = {}
        self._on_terminal = sys.stdout.isatty()
        self._screen: TerminalScreen | None = None
        self._owner = ""
        self._titles: dict[str, str] = {}
        self._began = 0.0

    def __exit__(self, *_: object) -> None:
        self._leave()
        sys.stdout.flush()

    def show(self, event: Event) -> None:
        view = event.view
        if event.what == "chunk" and view.get("channel") in ("terminal", "resize"):
            self._terminal(event)
            return
        if event.what == "command":
            self._titles[view["id"]] = str(view["text"])
        if event.what == "outcome":
            self._readers.pop(view["id"], None)
            self._titles.pop(view["id"], None)
        if event.what == "end" or (event.what == "outcome" and view["id"] == self._owner):
            self._leave()
        if self._screen is None:
            self._lines.play(event)

    def rest(self) -> None:
        if self._screen is not None:
            self._screen.show(f"live {clock(max(0.0, time.time() - self._began))}")
        sys.stdout.flush()

    def _terminal(self, event: Event) -> None:
        owner = str(event.view["of"])
        for piece in self._readers.setdefault(owner, PieceReader()).read([event.view]):
            if not self._on_terminal:
                if piece.kind == "output":
                    text = plain_text(piece.text).replace("\r\n", "\n")
                    sys.stdout.write(clean(text, lines=True))
                continue
            if self._screen is None:
                self._owner, self._began = owner, event.at
                self._screen = TerminalScreen(sys.stdout, self._titles.get(owner, ""), Emulator())
                self._screen.__enter__()
            if owner == self._owner:
                self._screen.play(piece)

    def _leave(self) -> None:
        if self._screen is None:
            return
        self._screen.__exit__()
        sys.stdout.write("".join(f"  {line}\n" for line in last_picture(self._screen.emulator)))
        self._screen = None
