"""The strip: denials and errors over time, the cursor's place among them; a click goes there."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from onrecord.recordings.console.source import Bucket
from onrecord.recordings.console.themes import palette
from onrecord.recordings.console.widgets.lines import fit
from onrecord.recordings.views import iso_time

_BARS = " ▁▂▃▄▅▆▇█"
_LABEL = 6


class Trouble(Widget):
    """Three rows: denied or held, failed, and the time they span."""

    class Picked(Message):
        """A moment was clicked: Unix nanoseconds."""

        def __init__(self, at: int) -> None:
            super().__init__()
            self.at = at

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.buckets: list[Bucket] = []
        self.low = self.high = 0
        self.place: int | None = None

    @property
    def wanted(self) -> int:
        """How many buckets fit."""
        return max(1, self.size.width - _LABEL)

    def show(self, buckets: list[Bucket], low: int, high: int) -> None:
        """What was counted between two moments (ns)."""
        self.buckets, self.low, self.high = buckets, low, high
        self.refresh()

    def point(self, at: int | None) -> None:
        """Where the timeline's cursor is."""
        if at != self.place:
            self.place = at
            self.refresh()

    def render_line(self, y: int) -> Strip:
        colours = palette(self.app.current_theme)
        width = self.size.width
        if y == 2 or not self.buckets:
            return self._times(width) if y == 2 else Strip.blank(width, self.rich_style)
        counts = [bucket.denied if y == 0 else bucket.failed for bucket in self.buckets]
        most = max(counts)
        here = self._bucket()
        parts = [Segment(fit("denied" if y == 0 else "failed", _LABEL), colours.dim)]
        style = colours.denied if y == 0 else colours.failed
        for index, count in enumerate(counts):
            bar = _BARS[0 if not count else 1 + (len(_BARS) - 2) * count // most]
            parts.append(Segment(bar, colours.chosen + style if index == here else style))
        return Strip(parts).simplify().adjust_cell_length(width, self.rich_style)

    def _times(self, width: int) -> Strip:
        colours = palette(self.app.current_theme)
        if not self.high:
            return Strip.blank(width, self.rich_style)
        room = max(1, width - _LABEL)
        line = [" "] * room
        for index, char in enumerate(iso_time(self.low)[5:16].replace("T", " ")):
            if index < room:
                line[index] = char
        end = iso_time(self.high)[5:16].replace("T", " ")
        if room >= 40:
            line[room - len(end) :] = end
        here = self._bucket()
        if here is not None and here < room:
            line[here] = "▲"
        total = sum(bucket.denied + bucket.failed for bucket in self.buckets)
        return Strip([Segment(fit(str(total), _LABEL), colours.dim), Segment("".join(line), colours.dim)])

    def _bucket(self) -> int | None:
        if self.place is None or not self.buckets or not self.low <= self.place <= self.high:
            return None
        return min(len(self.buckets) - 1, (self.place - self.low) // self._span())

    def _span(self) -> int:
        return max(1, (self.high - self.low) // max(1, len(self.buckets)) + 1)

    def on_click(self, event: events.Click) -> None:
        if self.buckets and event.x >= _LABEL:
            self.post_message(self.Picked(self.low + (event.x - _LABEL) * self._span()))
