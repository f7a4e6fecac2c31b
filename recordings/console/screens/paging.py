"""The stretch of the timeline that is in memory: fetched around a place, further at its ends, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import work
from textual.screen import Screen
from textual.widgets import Static

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.recordings.console.conditions import Condition
from onrecord.recordings.console.desk import AwayError, Desk
from onrecord.recordings.console.rows import Key, Row
from onrecord.recordings.console.source import FIRST_SLICE, MAX_SLICE, NEWEST, OLDEST, place_of
from onrecord.recordings.console.widgets.detail import Detail
from onrecord.recordings.console.widgets.groups import Groups
from onrecord.recordings.console.widgets.timeline import Timeline
from onrecord.recordings.console.widgets.top import Top
from onrecord.recordings.console.widgets.trouble import Trouble
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.views import iso_time

if TYPE_CHECKING:
    from onrecord.recordings.console.app import ConsoleApp

PAGE = 200
FIRST_PAGE = 60  # lines that are shown before the rest is looked for


class Paging(Screen[None]):
    """What the timeline's screen knows of the store, and how it gets more of it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self._text = ""
        self._condition = Condition()
        self._generation = 0  # of searches: what an older one finds is thrown away
        self._fetching: bool | None = None  # the end at which more is being fetched
        self._after = -1  # the last record that was looked at
        self._away = False  # whether the store could not be reached
        self._changed = True  # whether the strip must be counted again
        # kept, not queried: a thread's answer may come when the screen is gone
        self.top_line = Top(clean(desk.path.name), id="top")
        self.problem = Static("", id="problem", markup=False)
        self.strip = Trouble(id="trouble")
        self.groups = Groups(id="groups")
        self.timeline = Timeline(id="timeline")
        self.head = Static("", id="head", markup=False)
        self.detail = Detail(id="detail")

    @property
    def current(self) -> Row | None:
        return self.timeline.current

    @property
    def console_app(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def say(self, text: str, *, bad: bool = False) -> None:
        """A notice; never parsed as markup."""
        self.app.notify(clean(text), markup=False, severity="error" if bad else "information", timeout=6)

    def _broken(self, error: OnrecordError) -> None:
        self._away = self._away or isinstance(error, AwayError)
        self.top_line.say(doing="the store cannot be read")
        self._complain(str(error))

    def _complain(self, text: str) -> None:
        self.problem.update(clean(text))
        self.problem.display = bool(text)

    @work(exclusive=True, group="load")
    async def load(self, cursor: Key | None) -> None:
        """The stretch around `cursor`; the newest where there is none."""
        self._generation += 1
        self._fetching = None
        generation, condition = self._generation, self._condition
        near = self.desk.near
        self._changed = True
        try:
            self._after = await near.call(lambda source: source.newest()) - 1
            newer: list[Row] = []
            ends = True
            if cursor is not None:
                part = await near.call(
                    lambda source: source.step(condition, Key(cursor.at, cursor.seq - 1), older=False, limit=PAGE)
                )
                newer, ends = part.rows, part.reached is None
                start = Key(cursor.at, cursor.seq)
            else:
                start = NEWEST
            older: list[Row] = []
            reached: Key | None = start
            size = FIRST_SLICE
            shown = False
            while reached is not None and len(older) < PAGE:
                at, wanted, step = reached, PAGE - len(older), size
                if not shown:
                    wanted = min(wanted, FIRST_PAGE)
                part = await near.call(
                    lambda source: source.step(condition, at, older=True, limit=wanted, size=step)  # noqa: B023
                )
                if generation != self._generation:
                    return
                older += part.rows
                reached, size = part.reached, min(2 * size, MAX_SLICE)
                if part.rows and not shown:
                    shown = True
                    self._show(older, newer, cursor, begins=reached is None, ends=ends)
                elif part.rows:
                    self.timeline.add_older(part.rows[::-1], begins=reached is None)
                if reached is not None and not part.rows:
                    self.top_line.say(doing=f"searching … {iso_time(reached.at)[:16].replace('T', ' ')}")
            if not shown:
                self._show(older, newer, cursor, begins=reached is None, ends=ends)
            self.timeline.begins = reached is None
            if not ends and not newer and not older:  # all that fits is far behind the cursor
                self._fetch(older=False)
            self.top_line.say(doing="" if self.timeline.rows else "nothing fits")
        except StoreError as error:
            self._broken(error)

    def _show(self, older: list[Row], newer: list[Row], cursor: Key | None, *, begins: bool, ends: bool) -> None:
        self.timeline.show(older[::-1] + newer, begins=begins, ends=ends, cursor=cursor)

    def on_timeline_near_end(self, event: Timeline.NearEnd) -> None:
        if self._fetching is not event.older:
            self._fetch(older=event.older)

    def on_timeline_far_end(self, event: Timeline.FarEnd) -> None:
        self.load(OLDEST if event.oldest else None)

    @work(exclusive=True, group="fetch")
    async def _fetch(self, *, older: bool) -> None:
        timeline, condition, generation = self.timeline, self._condition, self._generation
        self._fetching = older
        edge = timeline.edge(older=older)
        reached: Key | None = edge if edge is not None else NEWEST if older else OLDEST
        size, found = FIRST_SLICE, 0
        try:
            while reached is not None and found < PAGE:
                at, step, wanted = reached, size, PAGE - found
                part = await self.desk.near.call(
                    lambda source: source.step(condition, at, older=older, limit=wanted, size=step)  # noqa: B023
                )
                if generation != self._generation or timeline.edge(older=older) != edge:
                    return  # another search, or this end was let go of meanwhile
                found += len(part.rows)
                reached, size = part.reached, min(2 * size, MAX_SLICE)
                if older:
                    timeline.add_older(part.rows[::-1], begins=reached is None)
                else:
                    timeline.add_newer(part.rows, ends=reached is None)
                edge = timeline.edge(older=older)
        except StoreError as error:
            self._broken(error)
        finally:
            if self._fetching is older:
                self._fetching = None

    def goto(self, key: Key) -> None:
        """The cursor to the line with this key, or the next one."""
        rows = self.timeline.rows
        if rows and rows[0].key <= key <= rows[-1].key:
            self.timeline.move_to(place_of(rows, key))
        else:
            self.load(key)

    def action_jump(self, forward: bool) -> None:
        self._jump(forward=forward)

    @work(exclusive=True, group="jump")
    async def _jump(self, *, forward: bool) -> None:
        row = self.current
        start = row.key if row else (OLDEST if forward else NEWEST)
        condition = self._condition
        try:
            part = await self.desk.near.call(
                lambda source: source.step(condition, start, older=not forward, limit=1, trouble=True)
            )
        except StoreError as error:
            self._broken(error)
            return
        if part.rows:
            self.goto(part.rows[0].key)
        else:
            self.say("no denial or error after this one" if forward else "no denial or error before this one")

    def on_trouble_picked(self, event: Trouble.Picked) -> None:
        self.goto(Key(event.at, -1))
        self.set_focus(self.timeline)
