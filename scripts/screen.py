"""How lists of records look on a terminal, and one record in full."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from onrecord.recordings.display.neutral import clean
from onrecord.recordings.display.records import (
    command_line,
    render_command,
    render_outcome,
    render_record,
    render_sample,
    render_verdict,
    state,
    who,
)
from onrecord.recordings.views import View

__all__ = [
    "command_line",
    "console",
    "print_log",
    "print_record",
    "render_command",
    "render_outcome",
    "render_record",
    "render_sample",
    "render_verdict",
    "who",
    "widest",
]


def console() -> Console:
    """Standard output; as wide as it is, and 80 columns where nobody says."""
    return Console(markup=False, highlight=False, emoji=False, soft_wrap=False)


def widest(texts: Iterable[str], least: int, most: int) -> int:
    """Cells that the widest of `texts` needs, within bounds."""
    return min(most, max(least, *map(cell_len, texts), 0))


def print_log(views: list[View], *, header: bool = True) -> None:
    """The table of `log`. The id column shows the end of each id, which `show` takes too."""
    screen = console()
    if not views:
        screen.print(Text("no records fit", style="dim"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=header, expand=True, padding=(0, 1, 0, 0))
    table.add_column("…id", no_wrap=True, width=12)
    table.add_column("time UTC", no_wrap=True, width=8)
    table.add_column("who", no_wrap=True, width=widest(map(who, views), 3, 12))
    table.add_column("on", no_wrap=True, width=widest(map(_place, views), 2, 10))
    table.add_column("", no_wrap=True, width=7)
    table.add_column("command", no_wrap=True, overflow="ellipsis", ratio=1)
    day = ""
    for view in views:
        if header and view["at"][:10] != day:
            day = view["at"][:10]
            table.add_row(Text(day, style="dim italic"))
        table.add_row(
            Text(view["id"][-12:], style="cyan"),
            Text(view["at"][11:19], style="dim"),
            Text(who(view), overflow="ellipsis"),
            Text(_place(view), overflow="ellipsis"),
            state(view),
            command_line(view),
        )
    screen.print(table)


def _place(view: View) -> str:
    return clean(view.get("resource") or "–")


def print_record(view: View) -> None:
    """One record in full."""
    console().print(render_record(view))
