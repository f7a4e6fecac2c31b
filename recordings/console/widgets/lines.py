"""A list of lines with a cursor: only what is on the screen is ever drawn, however long the list."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from onrecord.recordings.console.themes import Palette, palette


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells, with an ellipsis where it is longer."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)


class Lines(Widget, can_focus=True):
    """The base of every list. A subclass says how many lines there are and what each looks like."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "move_page(-1)", "page up", show=False),
        Binding("pagedown", "move_page(1)", "page down", show=False),
        Binding("home,g", "first", "first", show=False),
        Binding("end,G", "last", "last", show=False),
        Binding("enter", "choose", "open", show=False),
    ]

    class Moved(Message):
        """The cursor stands on another line."""

        def __init__(self, lines: Lines) -> None:
            super().__init__()
            self.lines = lines

        @property
        def control(self) -> Lines:
            return self.lines

    class Chosen(Message):
        """Enter, or a click on the line under the cursor."""

        def __init__(self, lines: Lines) -> None:
            super().__init__()
            self.lines = lines

        @property
        def control(self) -> Lines:
            return self.lines

    empty = "nothing here"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.cursor = 0
        self.top = 0

    @property
    def count(self) -> int:
        """Number of lines. Like `segments` of subclasses: Textual's metaclass is no ABCMeta."""
        raise NotImplementedError

    def segments(self, index: int, width: int, colours: Palette) -> list[Segment]:
        """Line `index` in at most `width` cells; every text harmless already."""
        raise NotImplementedError

    @property
    def colours(self) -> Palette:
        return palette(self.app.current_theme)

    def clamp(self) -> None:
        """Bring cursor and window back into the list."""
        height = max(1, self.size.height)
        self.cursor = max(0, min(self.cursor, self.count - 1))
        self.top = max(0, min(self.top, self.count - height))
        if self.cursor < self.top:
            self.top = self.cursor
        elif self.cursor >= self.top + height:
            self.top = self.cursor - height + 1

    def redraw(self) -> None:
        self.clamp()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, colours = self.size.width, self.colours
        index = self.top + y
        if index >= self.count:
            text = self.empty if self.count == 0 and y == 0 else ""
            return Strip([Segment(text, colours.dim)]).adjust_cell_length(width, self.rich_style)
        strip = Strip(self.segments(index, width, colours))
        if index == self.cursor:
            chosen = colours.chosen if self.has_focus else Style(bgcolor=colours.chosen.bgcolor)
            return strip.adjust_cell_length(width, chosen).apply_style(chosen)
        return strip.adjust_cell_length(width, self.rich_style)

    def move_to(self, index: int) -> None:
        """Put the cursor on a line, as far as there is one."""
        before, top = self.cursor, self.top
        self.cursor = index
        self.clamp()
        if self.top != top:
            self.refresh()
        elif self.cursor != before:  # two lines have changed, and no other
            width = self.size.width
            self.refresh(*(Region(0, line - top, width, 1) for line in (before, self.cursor) if line >= top))
        if self.cursor != before:
            self.post_message(self.Moved(self))

    def action_move(self, by: int) -> None:
        self.move_to(self.cursor + by)

    def action_move_page(self, by: int) -> None:
        self.move_to(self.cursor + by * max(1, self.size.height - 1))

    def action_first(self) -> None:
        self.move_to(0)

    def action_last(self) -> None:
        self.move_to(self.count - 1)

    def action_choose(self) -> None:
        if self.count:
            self.post_message(self.Chosen(self))

    def on_resize(self) -> None:
        self.redraw()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        index = self.top + event.y
        if index >= self.count:
            return
        if index == self.cursor:
            self.action_choose()
        else:
            self.move_to(index)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)
