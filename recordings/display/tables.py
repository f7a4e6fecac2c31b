"""Recorded rows, fitted to the width there is: columns with an ellipsis, or one value a line where they are too many.

What a mask replaced is marked: whole columns where the record says so, else by the forms that masks leave behind.
"""

from __future__ import annotations

import json
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from onrecord.recordings.display.neutral import clean

SHOWN_ROWS = 50
SHOWN_VERTICAL = 20
SHOWN_COLUMNS = 100
SHOWN_CELL = 1000
MASKED = "black on yellow"
MASK_SIGN = "▒"
_LEAST = 8  # cells of a column that still says something
_GAP = 2
# what strategies leave: "[redacted]", stars, blocks, and pseudonyms, which belong to nobody (policies/masking)
MASK_FORMS = (
    r"\[redacted[^\]]{0,80}\]|\u2588+|\*{3,}"
    r"|\b[0-9a-f]{20}@pseudonym\.invalid\b|\bpseudonym-[0-9a-f]{20}\b|\+999\d{11}\b|\b0000\d{12}\b|\bXX00\d{16}\b"
    r"|\bfd00:0:0:(?:[0-9a-f]{4}:){4}[0-9a-f]{4}\b"
)


def redacted(text: str) -> Text:
    """Text, harmless already, with what a mask or the redactor replaced made visible."""
    shown = Text(text)
    shown.highlight_regex(MASK_FORMS, style=MASKED)
    return shown


class Rows:
    """A result: `columns` their names, `masked` the numbers of those of which every value was masked."""

    def __init__(self, columns: object, rows: list[Any], masked: object = None) -> None:
        self._names = [clean(name) for name in columns] if isinstance(columns, list) else []
        self._rows = [row if isinstance(row, list) else [row] for row in rows]
        found = masked if isinstance(masked, list) else []
        self._masked = {number for number in found if isinstance(number, int)}
        widest = max((len(row) for row in self._rows[:SHOWN_ROWS]), default=0)
        self._width = min(max(len(self._names), widest), SHOWN_COLUMNS)
        self._hidden = max(len(self._names), widest) - self._width

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width
        if self._width * (_LEAST + _GAP) - _GAP > room and self._width > 1:
            yield from self._vertical()
        else:
            yield self._table(room)
        yield from self._more(SHOWN_VERTICAL if self._width * (_LEAST + _GAP) - _GAP > room else SHOWN_ROWS)

    def _name(self, index: int) -> str:
        name = self._names[index] if index < len(self._names) else ""
        return name + MASK_SIGN if index in self._masked else name

    def _cell(self, row: list[Any], index: int, *, lines: bool) -> Text:
        masked = index in self._masked
        if index >= len(row):
            return Text()
        value = row[index]
        if value is None:
            return Text("NULL", style=MASKED if masked else "dim")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        more = f"… {len(text) - SHOWN_CELL} characters more" if len(text) > SHOWN_CELL else ""
        shown = clean(text[:SHOWN_CELL], lines=lines) + more
        return Text(shown, style=MASKED) if masked else redacted(shown)

    def _table(self, room: int) -> Table:
        rows = [
            [self._cell(row, index, lines=False) for index in range(self._width)] for row in self._rows[:SHOWN_ROWS]
        ]
        wanted = [
            max([cell_len(self._name(index)), *(row[index].cell_len for row in rows)], default=1)
            for index in range(self._width)
        ]
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for index, width in enumerate(fitted(wanted, room - _GAP * (self._width - 1))):
            table.add_column(Text(self._name(index)), width=max(1, width), no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*row)
        return table

    def _vertical(self) -> RenderResult:
        names = max((cell_len(self._name(index)) for index in range(self._width)), default=0)
        for number, row in enumerate(self._rows[:SHOWN_VERTICAL], 1):
            yield Text(f"── row {number} ──", style="dim")
            table = Table.grid(padding=(0, _GAP))
            table.add_column(style="bold", no_wrap=True, overflow="ellipsis", max_width=min(30, max(1, names)))
            table.add_column(overflow="fold")
            for index in range(self._width):
                table.add_row(Text(self._name(index)), self._cell(row, index, lines=True))
            yield table

    def _more(self, shown: int) -> RenderResult:
        more = [(len(self._rows) - shown, "rows"), (self._hidden, "columns")]
        left = [f"{count} {name}" for count, name in more if count > 0]
        if left:
            yield Text(f"… {' and '.join(left)} more (--json has all)", style="dim")
        if self._masked:
            yield Text(f"{MASK_SIGN} this column was masked", style="dim")


def fitted(wanted: list[int], room: int) -> list[int]:
    """Widths of columns in `room` cells: narrow ones have all they want, the others share what is left evenly."""
    given = [0] * len(wanted)
    left, open_columns = room, list(range(len(wanted)))
    while open_columns:
        share = left // len(open_columns)
        narrow = [index for index in open_columns if wanted[index] <= share]
        if not narrow:
            for place, index in enumerate(open_columns):
                given[index] = share + (place < left - share * len(open_columns))
            break
        for index in narrow:
            given[index] = wanted[index]
            left -= wanted[index]
        open_columns = [index for index in open_columns if index not in narrow]
    return given
