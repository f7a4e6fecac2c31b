"""The first line: which store, live or paused, what the search is doing."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from onrecord.recordings.console.themes import palette
from onrecord.recordings.console.widgets.lines import fit


class Top(Widget):
    """The store and the state of the view; every text is our own or harmless already."""

    def __init__(self, store: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.store = store
        self.live = True
        self.doing = ""
        self.proofs = ""

    def say(self, *, live: bool | None = None, doing: str | None = None, proofs: str | None = None) -> None:
        """Change a part of the line."""
        before = (self.live, self.doing, self.proofs)
        self.live = self.live if live is None else live
        self.doing = self.doing if doing is None else doing
        self.proofs = self.proofs if proofs is None else proofs
        if before != (self.live, self.doing, self.proofs):
            self.refresh()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002  # it is one line high
        colours = palette(self.app.current_theme)
        left = [
            Segment(" onrecord ", colours.head),
            Segment("● live   " if self.live else "‖ paused ", colours.ok if self.live else colours.held),
        ]
        right = f"{self.proofs}  {fit(self.store, min(30, len(self.store)))} "
        used = sum(segment.cell_length for segment in left)
        room = max(1, self.size.width - used - cell_len(right))
        parts = [*left, Segment(fit(self.doing, room), colours.dim), Segment(right, colours.dim)]
        return Strip(parts).adjust_cell_length(self.size.width, self.rich_style)
