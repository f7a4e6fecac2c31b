"""The merged timeline: a stretch of lines around the cursor, more of it fetched when the cursor nears an end."""

from __future__ import annotations

from rich.segment import Segment
from textual.message import Message

from onrecord.recordings.console.badges import Badge
from onrecord.recordings.console.rows import Key, Proof, Row
from onrecord.recordings.console.source import place_of
from onrecord.recordings.console.themes import Palette
from onrecord.recordings.console.widgets.lines import Lines, fit
from onrecord.recordings.views import iso_time

KEPT = 3000  # lines in memory; beyond it the end farther from the cursor is let go
KEPT_BADGES = 50_000
KEPT_LINES = 2000
NEAR_END = 60  # lines from an end at which the next page is asked for


class Timeline(Lines):
    """Commands and refusals over all protocols, oldest first."""

    empty = "no records fit"

    class NearEnd(Message):
        """The cursor comes to an end behind which there may be more."""

        def __init__(self, *, older: bool) -> None:
            super().__init__()
            self.older = older

    class FarEnd(Message):
        """The very first or the very last line is wanted, which is not in memory."""

        def __init__(self, *, oldest: bool) -> None:
            super().__init__()
            self.oldest = oldest

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: list[Row] = []
        self.begins = self.ends = True  # whether the first and the last line are the first and the last of all
        self._made: dict[object, list[Segment]] = {}  # lines as they were drawn
        self.drawn = False  # whether a line was ever painted
        self.unchecked = Badge.UNKNOWN
        self.badges: dict[Proof, Badge] = {}  # what was found of the very bytes that a line was made from

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def current(self) -> Row | None:
        """The line under the cursor."""
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    @property
    def at_newest(self) -> bool:
        """Whether the cursor stands on the newest line of all."""
        return self.ends and self.cursor >= len(self.rows) - 1

    def edge(self, *, older: bool) -> Key | None:
        """The key of the first (or the last) line in memory."""
        return self.rows[0 if older else -1].key if self.rows else None

    def action_first(self) -> None:
        if self.begins:
            self.move_to(0)
        else:
            self.post_message(self.FarEnd(oldest=True))

    def action_last(self) -> None:
        if self.ends:
            self.move_to(len(self.rows) - 1)
        else:
            self.post_message(self.FarEnd(oldest=False))

    def shown(self) -> list[Row]:
        """The lines on the screen."""
        return self.rows[self.top : self.top + max(1, self.size.height)]

    def show(self, rows: list[Row], *, begins: bool, ends: bool, cursor: Key | None) -> None:
        """Another stretch, in order; the cursor on the line with this key or the next one, else on the last."""
        self.rows, self.begins, self.ends = rows, begins, ends
        self.cursor = len(rows) - 1 if cursor is None else place_of(rows, cursor)
        self.top = self.cursor - self.size.height // 2 if cursor is not None else len(rows)
        self.redraw()
        self.post_message(self.Moved(self))

    def add_older(self, rows: list[Row], *, begins: bool) -> None:
        """Lines before the first, in order."""
        self.rows[:0] = rows
        self.begins = begins
        self.cursor += len(rows)
        self.top += len(rows)
        if len(self.rows) > KEPT:
            del self.rows[KEPT:]
            self.ends = False
        self.redraw()

    def add_newer(self, rows: list[Row], *, ends: bool) -> None:
        """Lines behind the last, in order."""
        self.rows += rows
        self.ends = ends
        self._let_go_of_oldest()
        self.redraw()

    def merge(self, rows: list[Row], *, follow: bool) -> None:
        """Lines that arrived, wherever their time puts them; with `follow` the cursor goes to the newest."""
        key = self.current.key if self.current else None
        for row in rows:
            at = place_of(self.rows, row.key)
            if at < len(self.rows) and self.rows[at].key == row.key:
                self.rows[at] = row
            elif (at > 0 or self.begins) and (at < len(self.rows) or self.ends):
                self.rows.insert(at, row)
                if at <= self.cursor and len(self.rows) > 1:
                    self.cursor += 1
                if at <= self.top and not follow:
                    self.top += 1
        self._let_go_of_oldest()
        if follow:
            self.cursor = len(self.rows) - 1
        self.redraw()
        if self.current and self.current.key != key:
            self.post_message(self.Moved(self))

    def unproved(self) -> list[Proof]:
        """What the visible lines rest on and nothing certain is known of."""
        settled = (Badge.PROVED, Badge.BAD, Badge.UNPROVED)
        return list(
            dict.fromkeys(
                proof for row in self.shown() for proof in row.proofs if self.badges.get(proof) not in settled
            )
        )

    def learn(self, found: dict[Proof, Badge]) -> None:
        """What is known of records."""
        if len(self.badges) > KEPT_BADGES:
            self.badges.clear()
        if any(self.badges.get(proof) is not badge for proof, badge in found.items()):
            self.badges |= found
            self.refresh()

    def open_rows(self) -> list[int]:
        """Numbers of the visible commands whose outcome is still to come."""
        return [row.key.seq for row in self.shown() if row.open]

    def _let_go_of_oldest(self) -> None:
        surplus = len(self.rows) - KEPT
        if surplus > 0 and self.cursor > surplus:
            del self.rows[:surplus]
            self.begins = False
            self.cursor -= surplus
            self.top -= surplus

    def move_to(self, index: int) -> None:
        super().move_to(index)
        if self.cursor < NEAR_END and not self.begins:
            self.post_message(self.NearEnd(older=True))
        elif self.cursor > len(self.rows) - NEAR_END and not self.ends:
            self.post_message(self.NearEnd(older=False))

    def badge(self, row: Row) -> Badge:
        """The worst of what is known of the records that the line was made from."""
        return max((self.badges.get(proof, self.unchecked) for proof in row.proofs), default=Badge.UNKNOWN)

    def segments(self, index: int, width: int, colours: Palette) -> list[Segment]:
        self.drawn = True
        row = self.rows[index]
        badge = self.badge(row)
        key = (row.key, row.status, badge, width, self.app.theme)
        made = self._made.get(key)
        if made is None:
            if len(self._made) > KEPT_LINES:
                self._made.clear()
            made = self._made[key] = self._segments(row, badge, width, colours)
        return made

    def _segments(self, row: Row, badge: Badge, width: int, colours: Palette) -> list[Segment]:
        at = iso_time(row.key.at)
        time = f"{at[5:10]} {at[11:19]}" if width >= 100 else at[11:19]
        who, place = (16, 14) if width >= 120 else (10, 9)
        badge_style = {Badge.PROVED: colours.ok, Badge.BAD: colours.denied}.get(badge, colours.dim)
        parts = [
            Segment(f"{badge.sign} ", badge_style),
            Segment(f"{time} ", colours.dim),
            Segment(f"{fit(row.who, who)} ", colours.plain),
            Segment(f"{fit(row.place, place)} ", colours.plain),
        ]
        if width >= 100:
            parts.append(Segment(f"{fit(row.kind, 8)} ", colours.dim))
        if width >= 140:
            parts.append(Segment(f"{fit(row.action, 7)} ", colours.dim))
        parts.append(Segment(f"{fit(row.mark, 7)} ", colours.mark(row.mark)))
        used = sum(segment.cell_length for segment in parts)
        parts.append(Segment(fit(row.line, max(1, width - used)), colours.plain))
        return parts
