"""A recorded terminal in a pane: what an emulator shows, cell by cell, never what was recorded."""

from __future__ import annotations

import re
from typing import Any

from rich.color import Color, ColorParseError
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from onrecord.recordings.console.themes import palette
from onrecord.recordings.terminal.emulator import Emulator
from onrecord.recordings.terminal.harmless import printable

_NAMES = {"brown": "yellow", "brightbrown": "bright_yellow"}
_HEX = re.compile(r"[0-9a-fA-F]{6}")


class Terminal(Widget):
    """Shows `emulator`; smaller than it, only its top left part, and says so in the last line."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.emulator = Emulator()

    def show(self, emulator: Emulator) -> None:
        """Another picture."""
        self.emulator = emulator
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        columns, rows = self.emulator.size
        colours = palette(self.app.current_theme)
        if y >= rows:
            edge = f"{'─' * min(columns, width)}" if y == rows else ""
            return Strip([Segment(edge, colours.dim)]).adjust_cell_length(width, self.rich_style)
        if y == self.size.height - 1 and (rows > self.size.height or columns > width):
            text = f"… {columns}×{rows}, the window is smaller"
            return Strip([Segment(text, colours.held)]).adjust_cell_length(width, self.rich_style)
        line = self.emulator.screen.buffer[y]
        cursor = self.emulator.screen.cursor
        parts: list[Segment] = []
        for x in range(min(columns, width)):
            cell = line[x]
            if not cell.data:  # the second half of a wide character
                continue
            text = "".join(char for char in cell.data if printable(char)) or " "
            style = _style(cell)
            if x == cursor.x and y == cursor.y and not cursor.hidden:
                style += Style(reverse=True)
            parts.append(Segment(text, style))
        strip = Strip(parts).simplify().crop(0, min(columns, width))
        if columns < width:
            strip = Strip([*strip, Segment("│", colours.dim)])
        return strip.adjust_cell_length(width, self.rich_style)

    @property
    def text(self) -> str:
        """What it shows, without colours."""
        return "\n".join(self.emulator.lines())


def _style(cell: Any) -> Style:
    return Style(
        color=_colour(cell.fg), bgcolor=_colour(cell.bg), bold=cell.bold, italic=cell.italics,
        underline=cell.underscore, strike=cell.strikethrough, reverse=cell.reverse,
    )  # fmt: skip


def _colour(name: str) -> Color | None:
    if name == "default":
        return None
    if _HEX.fullmatch(name):
        return Color.parse(f"#{name}")
    name = _NAMES.get(name, name.replace("bright", "bright_", 1))
    try:
        return Color.parse(name)
    except ColorParseError:
        return None
