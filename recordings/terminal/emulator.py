"""A terminal in memory, fed with recorded output: pyte behind the harmless filter, with the alternate screen."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pyte
import pyte.modes

from onrecord.recordings.terminal.harmless import HarmlessTerminal
from onrecord.recordings.terminal.pieces import DEFAULT_SIZE, Piece

_ALTERNATE = frozenset({47, 1047, 1049})


class _Screen(pyte.Screen):
    """pyte has no alternate screen: programs that use it would leave their last picture behind."""

    def __init__(self, columns: int, lines: int) -> None:
        self._main: tuple[Any, Any] | None = None
        super().__init__(columns, lines)

    def set_mode(self, *modes: int, **keywords: Any) -> None:
        if keywords.get("private") and _ALTERNATE.intersection(modes) and self._main is None:
            self._main = (copy.deepcopy(self.buffer), copy.copy(self.cursor))
            self.erase_in_display(2)
        super().set_mode(*modes, **keywords)

    def reset_mode(self, *modes: int, **keywords: Any) -> None:
        if keywords.get("private") and _ALTERNATE.intersection(modes) and self._main is not None:
            buffer, cursor = self._main
            self._main = None
            self.buffer.clear()
            self.buffer.update(buffer)
            self.cursor = cursor
            self.ensure_hbounds()
            self.ensure_vbounds()
            self.dirty.update(range(self.lines))
        super().reset_mode(*modes, **keywords)


class Emulator:
    """`screen` is what a viewer sees; `changed` the rows that did since it was asked last."""

    def __init__(self, columns: int = DEFAULT_SIZE[0], rows: int = DEFAULT_SIZE[1]) -> None:
        self._use(_Screen(columns, rows), HarmlessTerminal())

    def _use(self, screen: _Screen, harmless: HarmlessTerminal) -> None:
        self.screen, self._harmless = screen, harmless
        self._stream = pyte.Stream(screen)  # between two tokens a parser has no state

    def copy(self) -> Emulator:
        """One of its own that shows the same."""
        made = Emulator()
        made._use(copy.deepcopy(self.screen), copy.deepcopy(self._harmless))
        return made

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.screen.columns, self.screen.lines

    def play(self, piece: Piece) -> None:
        """Show one piece. Never raises."""
        if piece.kind == "resize":
            self.screen.resize(piece.rows, piece.columns)
            self.screen.dirty.update(range(piece.rows))
        elif piece.kind == "output":
            for token in self._harmless.feed(piece.text):
                try:
                    self._stream.feed(token)
                except (TypeError, ValueError, IndexError, KeyError):
                    continue  # a sequence with more parameters than pyte knows

    def changed(self) -> list[int]:
        """Rows (from 0) that are not as they were."""
        rows = sorted(row for row in self.screen.dirty if row < self.screen.lines)
        self.screen.dirty.clear()
        return rows

    def lines(self) -> Iterator[str]:
        """The text of each row, without trailing blanks."""
        return (line.rstrip() for line in self.screen.display)
