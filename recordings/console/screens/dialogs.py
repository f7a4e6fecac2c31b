"""Small windows over the timeline: a text to read, a choice, a question. Every text in them is harmless already.

Textual focuses the first widget that can be: none is looked up here, for a key may close a window before it stands.
"""

from __future__ import annotations

from typing import ClassVar

from rich.console import RenderableType
from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from onrecord.recordings.console.drawing import lines_of
from onrecord.recordings.console.themes import Palette
from onrecord.recordings.console.widgets.detail import Detail
from onrecord.recordings.console.widgets.lines import Lines, fit


class TextDialog(ModalScreen[None]):
    """Something to read; any of Escape, Enter and q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,w", "dismiss", "close")]

    def __init__(self, title: str, content: RenderableType) -> None:
        super().__init__()
        self._title, self._content = title, content
        self._text = Detail(id="text")

    def compose(self) -> ComposeResult:
        with Vertical(classes="window"):
            yield Static(self._title, classes="title", markup=False)
            yield self._text
            yield Static("Escape closes", classes="hint", markup=False)

    def on_mount(self) -> None:
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        self._text.show(lines_of(self._content, self._text.size.width))


class Option:
    """One choice: what it gives, its name, and a word on it."""

    def __init__(self, value: str, name: str, hint: str = "") -> None:
        self.value, self.name, self.hint = value, name, hint


class _Options(Lines):
    def __init__(self, options: list[Option]) -> None:
        super().__init__(id="options")
        self.options = options

    @property
    def count(self) -> int:
        return len(self.options)

    def segments(self, index: int, width: int, colours: Palette) -> list[Segment]:
        option = self.options[index]
        name = min(30, max(len(one.name) for one in self.options) + 2)
        return [
            Segment(fit(f" {option.name}", name), colours.plain),
            Segment(fit(option.hint, max(1, width - name)), colours.dim),
        ]


class ChoiceDialog(ModalScreen[str | None]):
    """One of several; None where it is closed without a choice."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss(None)", "close")]

    def __init__(self, title: str, options: list[Option]) -> None:
        super().__init__()
        self._title, self._options = title, options

    def compose(self) -> ComposeResult:
        with Vertical(classes="window small"):
            yield Static(self._title, classes="title", markup=False)
            yield _Options(self._options)
            yield Static("Enter takes it, Escape closes", classes="hint", markup=False)

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        event.stop()
        self.dismiss(self._options[event.lines.cursor].value)


class AskDialog(ModalScreen[str | None]):
    """A line of text; None where it is closed without one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "close")]

    def __init__(self, title: str, value: str = "", *, password: bool = False) -> None:
        super().__init__()
        self._title, self._value, self._password = title, value, password

    def compose(self) -> ComposeResult:
        with Vertical(classes="window line"):
            yield Static(self._title, classes="title", markup=False)
            yield Input(self._value, password=self._password)
            yield Static("Enter takes it, Escape closes", classes="hint", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value)
