"""The detail pane: one record pretty, as its recorded JSON, or as the committed bytes in hex."""

from __future__ import annotations

from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from onrecord.recordings.console.themes import palette, recolour

Mode = Literal["pretty", "raw", "hex"]
MODES: tuple[Mode, ...] = ("pretty", "raw", "hex")


class Detail(ScrollView, can_focus=True):
    """Lines that were drawn elsewhere; it only scrolls them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "down", show=False),
        Binding("k", "scroll_up", "up", show=False),
        Binding("g", "scroll_home", "top", show=False),
        Binding("G", "scroll_end", "bottom", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drawn: list[list[Segment]] = []

    def show(self, lines: list[list[Segment]], *, top: bool = True) -> None:
        """These lines; scrolled to the top where it is another record."""
        self._drawn = lines
        width = max((sum(segment.cell_length for segment in line) for line in lines), default=0)
        self.virtual_size = Size(width, len(lines))
        if top:
            self.scroll_to(0, 0, animate=False)
        self.refresh()

    def say(self, text: str) -> None:
        """One line of our own instead."""
        self.show([[Segment(text, Style(dim=True))]])

    @property
    def text(self) -> str:
        """What it shows, without colours."""
        return "\n".join("".join(segment.text for segment in line).rstrip() for line in self._drawn)

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        width = self.size.width
        if top + y >= len(self._drawn):
            return Strip.blank(width, self.rich_style)
        line = recolour(self._drawn[top + y], palette(self.app.current_theme))
        return Strip(line).crop_extend(left, left + width, self.rich_style)
