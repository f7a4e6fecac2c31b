"""A recorded terminal on a real one: painted from an emulator, on the alternate screen, never sent as it is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from onrecord.recordings.terminal.emulator import Emulator
from onrecord.recordings.terminal.film import Film
from onrecord.recordings.terminal.harmless import plain_text
from onrecord.recordings.terminal.paint import RESET, paint
from onrecord.recordings.terminal.pieces import Piece
from onrecord.scripts.terminal import clean

FRAME = 0.05  # seconds between two pictures at least


class TerminalScreen:
    """The viewer's screen while a recorded terminal is shown: its picture from the top, one status line below."""

    def __init__(self, out: TextIO, title: str, emulator: Emulator) -> None:
        self._out, self._title = out, clean(title)
        self.emulator = emulator
        self._painted = 0.0
        self._width, self._height = shutil.get_terminal_size((80, 24))

    def __enter__(self) -> TerminalScreen:
        self._out.write("\x1b[?1049h\x1b[2J")
        self._paint_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._out.write(f"{RESET}\x1b[?25h\x1b[?1049l")
        self._out.flush()

    def play(self, piece: Piece) -> None:
        """Take in one piece; it shows at the next `show`."""
        self.emulator.play(piece)

    def show(self, status: str, *, at_once: bool = True) -> None:
        """Paint what has changed, if the last picture is old enough or it must be `at_once`."""
        now = time.monotonic()
        if not at_once and now - self._painted < FRAME:
            return
        self._painted = now
        size = shutil.get_terminal_size((80, 24))
        if size != (self._width, self._height):
            self._width, self._height = size
            self._out.write("\x1b[2J")
            self._paint_all()
        columns, rows = self.emulator.size
        cut = f", {columns}x{rows} cut" if columns > self._width or rows > self._height - 1 else ""
        line = f" {status}{cut}  {self._title}"[: self._width]
        self._out.write(f"\x1b[{self._height};1H\x1b[7m{line.ljust(self._width)}{RESET}")
        self._out.write(paint(self.emulator, self.emulator.changed(), self._width, self._height - 1))
        self._out.flush()

    def _paint_all(self) -> None:
        self._out.write(paint(self.emulator, list(range(self.emulator.size[1])), self._width, self._height - 1))


def play_film(
    out: TextIO,
    film: Film,
    title: str,
    *,
    speed: float,
    idle: float,
    start: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Emulator:
    """Play from `start` seconds on, with pauses of real length divided by `speed`, `idle` seconds at most.

    Returns the terminal as it was left.
    """
    emulator, index = film.seek(start)
    length = clock(film.duration)
    with TerminalScreen(out, title, emulator) as screen:
        last = start
        screen.show(f"{clock(start)}/{length}")
        for number in range(index, len(film.pieces)):
            now = film.time(number)
            wait = min(max(0.0, now - last) / speed, idle)
            last = now
            if wait >= FRAME:
                screen.show(f"{clock(now)}/{length} x{speed:g}")
            if wait:
                sleep(wait)
            screen.play(film.pieces[number])
            screen.show(f"{clock(now)}/{length} x{speed:g}", at_once=wait >= FRAME)
        screen.show(f"{clock(film.duration)}/{length} end")
        if index < len(film.pieces):
            sleep(min(1.0, idle))
    return emulator


def last_picture(emulator: Emulator) -> Iterator[str]:
    """The lines of a terminal as it was left, neutral, without blank ones at the end."""
    lines = [clean(line) for line in emulator.lines()]
    while lines and not lines[-1]:
        lines.pop()
    return iter(lines)


def printed_lines(film: Film) -> Iterator[str]:
    """All that was printed on a terminal, as lines of neutral text: for where no terminal plays it."""
    text = plain_text("".join(piece.text for piece in film.pieces if piece.kind == "output"))
    for line in text.replace("\r\n", "\n").split("\n"):
        yield clean(line.rpartition("\r")[2] if not line.endswith("\r") else line.rstrip("\r"))


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds // 60):02d}:{int(seconds % 60):02d}"
