"""An emulator's screen as text for a real terminal: only sequences that are written here, only printable characters."""

from __future__ import annotations

import re
from typing import Any

from onrecord.recordings.terminal.emulator import Emulator
from onrecord.recordings.terminal.harmless import printable

_COLOURS = {
    name: number for number, name in enumerate(("black", "red", "green", "brown", "blue", "magenta", "cyan", "white"))
}
_HEX = re.compile(r"[0-9a-fA-F]{6}")
RESET = "\x1b[0m"


def paint_row(emulator: Emulator, row: int, width: int) -> str:
    """One row of at most `width` cells, colours and all, without moving the cursor beyond it."""
    cells = emulator.screen.buffer[row]
    made: list[str] = []
    style = ""
    columns = min(width, emulator.screen.columns)
    column = 0
    last = max((x for x in cells if x < columns and cells[x] != emulator.screen.default_char), default=-1)
    while column <= last:
        cell = cells[column]
        wanted = _style(cell)
        if wanted != style:
            made.append(RESET + wanted)
            style = wanted
        text = "".join(char for char in cell.data if printable(char)) or " "
        if not cell.data:  # the second half of a wide character
            text = ""
        made.append(text)
        column += 1
    return "".join(made) + (RESET if style else "")


def paint(emulator: Emulator, rows: list[int], width: int, height: int) -> str:
    """The rows that changed, at their places from the top left corner, and the cursor."""
    made = [f"\x1b[{row + 1};1H{paint_row(emulator, row, width)}{RESET}\x1b[K" for row in rows if row < height]
    cursor = emulator.screen.cursor
    made.append(f"\x1b[{min(cursor.y, height - 1) + 1};{min(cursor.x, width - 1) + 1}H")
    made.append("\x1b[?25l" if cursor.hidden else "\x1b[?25h")
    return "".join(made)


def _style(cell: Any) -> str:
    codes = [
        code
        for code, is_set in (
            ("1", cell.bold),
            ("3", cell.italics),
            ("4", cell.underscore),
            ("5", cell.blink),
            ("7", cell.reverse),
            ("9", cell.strikethrough),
        )
        if is_set
    ]
    codes += _colour(cell.fg, 30) + _colour(cell.bg, 40)
    return f"\x1b[{';'.join(codes)}m" if codes else ""


def _colour(name: str, base: int) -> list[str]:
    if name in _COLOURS:
        return [str(base + _COLOURS[name])]
    bright = name.removeprefix("bright")
    if bright in _COLOURS:
        return [str(base + 60 + _COLOURS[bright])]
    if _HEX.fullmatch(name):
        return [f"{base + 8};2;{int(name[:2], 16)};{int(name[2:4], 16)};{int(name[4:], 16)}"]
    return []
