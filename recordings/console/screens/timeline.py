"""The main screen: filter, strip, side pane, timeline and detail over one store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Footer, Input, Static
from textual.worker import WorkerCancelled

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.recordings.console.badges import Badge
from onrecord.recordings.console.conditions import Condition, compile_query
from onrecord.recordings.console.desk import Desk
from onrecord.recordings.console.drawing import draw
from onrecord.recordings.console.language import FilterError, parse, quoted
from onrecord.recordings.console.proofs import Proofs
from onrecord.recordings.console.rows import Key, Row
from onrecord.recordings.console.screens import actions
from onrecord.recordings.console.source import (
    FIRST_SLICE,
    MAX_SLICE,
    NEWEST,
    OLDEST,
    Bucket,
    Group,
    Source,
    place_of,
)
from onrecord.recordings.console.widgets.detail import MODES, Detail, Mode
from onrecord.recordings.console.widgets.groups import Groups
from onrecord.recordings.console.widgets.lines import Lines
from onrecord.recordings.console.widgets.timeline import Timeline
from onrecord.recordings.console.widgets.top import Top
from onrecord.recordings.console.widgets.trouble import Trouble
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.views import iso_time

if TYPE_CHECKING:
    from onrecord.recordings.console.app import ConsoleApp

PAGE = 200
PROVING = 0.2  # seconds of hashing between two looks at the screen
TICK = 0.25  # seconds between two looks for what is new
SLOW_TICK = 8  # ticks between two counts
ARRIVALS = 500
WIDE, ROOMY = 150, 110  # columns from which the detail stands beside the timeline, and the runs are shown
RUNS = 200
_DEBOUNCE = 0.04


class TimelineScreen(Screen[None]):
    """Everything that happened, and one record of it in full."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("n", "jump(True)", "Next"),
        Binding("N", "jump(False)", "Prev", key_display="N"),
        Binding("l", "live", "Live"),
        Binding("v", "view", "View"),
        Binding("w", "why", "Why"),
        Binding("p", "play", "Play"),
        Binding("y", "copy", "Copy"),
        Binding("e", "export", "Export"),
        Binding("r", "runs", "Runs"),
        Binding("a", "approvals", "Approvals"),
        Binding("K", "kill", "Kill", key_display="K"),
        Binding("s", "same", "Only this session", show=False),
        Binding("f", "saved", "Saved filters", show=False),
        Binding("F", "save", "Save the filter", show=False),
        Binding("z", "zoom", "Larger detail", show=False),
        Binding("escape", "back", "Back", show=False),
    ]

    def __init__(self, desk: Desk, text: str = "") -> None:
        super().__init__()
        self.desk = desk
        self._text = ""
        self._start = text
        self._condition = Condition()
        self._generation = 0
        self._after = -1
        self._last_at = 0
        self._ticks = 0
        self._ticking = False
        self._mode: Mode = "pretty"
        self._drawn: tuple[int, Mode, int] | None = None
        self._changed = True
        # kept, not queried: a thread's answer may come when the screen is gone
        self.top_line = Top(clean(desk.path.name), id="top")
        self.problem = Static("", id="problem", markup=False)
        self.strip = Trouble(id="trouble")
        self.groups = Groups(id="groups")
        self.timeline = Timeline(id="timeline")
        self.head = Static("", id="head", markup=False)
        self.detail = Detail(id="detail")

    def compose(self) -> ComposeResult:
        yield self.top_line
        yield Input(
            placeholder="filter: identity:devin verdict:deny since:1h text~drop -kind:http",
            id="filter",
            select_on_focus=False,
        )
        yield self.problem
        yield self.strip
        with Horizontal(id="middle"):
            yield self.groups
            with Container(id="panes"):
                yield self.timeline
                with Vertical(id="lower"):
                    yield self.head
                    yield self.detail
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.set_focus(self.timeline)
        self._arrange()
        if self._start:
            self.query_one("#filter", Input).value = self._start
            self.apply(self._start)
        else:
            self.load(None)
        self.set_interval(TICK, self._tick)
        if self.console_app.proofs is None:
            self.timeline.unchecked = Badge.NO_KEY
        else:
            self._prove(self.console_app.proofs)

    @property
    def text(self) -> str:
        """The filter that holds."""
        return self._text

    @property
    def current(self) -> Row | None:
        return self.timeline.current

    def on_resize(self) -> None:
        self._arrange()
        self._changed = True
        self.call_after_refresh(self._redraw_detail)

    def _arrange(self) -> None:
        self.set_class(self.size.width >= WIDE, "wide")
        self.set_class(self.size.width >= ROOMY and not self.has_class("runs-off"), "runs")

    # -- the filter

    def apply(self, text: str) -> bool:
        """Show what fits `text`; False, and why, where it cannot be read."""
        try:
            condition = compile_query(parse(text))
        except FilterError as error:
            self._complain(str(error))
            return False
        self._complain("")
        self._text, self._condition = text, condition
        self.load(self.current.key if self.current else None)
        return True

    def set_filter(self, text: str) -> None:
        """Put a filter into the line and apply it."""
        self.query_one("#filter", Input).value = text
        self.apply(text)

    def _complain(self, text: str) -> None:
        self.problem.update(clean(text))
        self.problem.display = bool(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "filter":
            try:
                compile_query(parse(event.value))
            except FilterError as error:
                self._complain(str(error))
            else:
                self._complain("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "filter" and self.apply(event.value):
            self.set_focus(self.timeline)

    # -- pages

    @work(exclusive=True, group="load")
    async def load(self, cursor: Key | None) -> None:
        """The stretch around `cursor`; the newest where there is none."""
        self._generation += 1
        generation, condition = self._generation, self._condition
        near = self.desk.near
        self._changed = True
        try:
            newest, (_, self._last_at) = await near.call(lambda source: (source.newest(), source.extent()))
            self._after = newest - 1
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
                    wanted = min(wanted, 60)  # the first screen soon, the rest behind it
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
        self._fetch(older=event.older)

    @work(exclusive=True, group="fetch")
    async def _fetch(self, *, older: bool) -> None:
        timeline, condition, generation = self.timeline, self._condition, self._generation
        if not timeline.rows:
            reached: Key | None = NEWEST if older else OLDEST
        else:
            reached = timeline.rows[0 if older else -1].key
        size = FIRST_SLICE
        found = 0
        try:
            while reached is not None and found < PAGE:
                at, step, wanted = reached, size, PAGE - found
                part = await self.desk.near.call(
                    lambda source: source.step(condition, at, older=older, limit=wanted, size=step)  # noqa: B023
                )
                if generation != self._generation:
                    return
                found += len(part.rows)
                reached, size = part.reached, min(2 * size, MAX_SLICE)
                if older:
                    timeline.add_older(part.rows[::-1], begins=reached is None)
                else:
                    timeline.add_newer(part.rows, ends=reached is None)
        except StoreError as error:
            self._broken(error)

    def goto(self, key: Key) -> None:
        """The cursor to the line with this key, or the next one."""
        rows = self.timeline.rows
        if rows and rows[0].key <= key <= rows[-1].key:
            self.timeline.move_to(place_of(rows, key))
        else:
            self.load(key)

    def action_first(self) -> None:
        self.load(OLDEST)

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

    # -- what is new

    def action_live(self) -> None:
        self.top_line.say(live=not self.top_line.live)

    async def _tick(self) -> None:
        if self._ticking:
            return
        self._ticking = True
        try:
            if self.top_line.live:
                await self._arrivals()
            self._ticks += 1
            if self._changed or self._ticks % SLOW_TICK == 0:
                self._changed = False
                await self._count()
        except StoreError as error:
            self._broken(error)
        finally:
            self._ticking = False

    async def _arrivals(self) -> None:
        timeline, condition, generation = self.timeline, self._condition, self._generation
        after, running = self._after, timeline.open_rows()
        if after < 0:
            return
        (rows, after), ended = await self.desk.near.call(
            lambda source: (source.arrived(condition, after, ARRIVALS), source.again(running) if running else [])
        )
        if generation != self._generation:
            return
        self._after = after
        ended = [row for row in ended if not row.open]
        if rows or ended:
            follow = timeline.at_newest or not timeline.rows
            timeline.merge(rows + ended, follow=follow and bool(rows))
            if any(self.current and row.key == self.current.key for row in ended):
                self._drawn = None
                self._redraw_detail()
            if timeline.rows:
                self.top_line.say(doing="")

    async def _count(self) -> None:
        condition = self._condition
        strip, groups = self.strip, self.groups
        buckets = strip.wanted

        def count(source: Source) -> tuple[list[Bucket], int, int, list[Group]]:
            low, high = source.extent()
            low = max(low, condition.since or 0)
            high = high if condition.until is None else min(high, condition.until)
            return source.trouble(condition, low, high, buckets), low, high, source.run_groups(RUNS)

        counted, low, high, runs = await self.desk.far.call(count)
        strip.show(counted, low, high)
        groups.show(runs)

    @work(group="prove")
    async def _prove(self, proofs: Proofs) -> None:
        """Hash the store in the other process, and ask it for what is on the screen."""
        pause = 0.0
        while True:
            progress = await proofs.advance(PROVING)
            if progress.problem:
                self.timeline.unchecked = Badge.NO_KEY
                self.top_line.say(proofs=progress.text)
                self.say(progress.problem)
                return
            self.top_line.say(proofs=progress.text)
            pause = min(1.0, pause + 0.1) if progress.done else 0.0
            wanted = self.timeline.unproved()
            if wanted:
                self.timeline.learn(await proofs.check(wanted))
                self._name_record()
            await asyncio.sleep(pause)

    # -- the detail

    def on_lines_moved(self, event: Lines.Moved) -> None:
        if event.lines is self.timeline:
            row = self.current
            self.strip.point(row.key.at if row else None)
            self.set_timer(_DEBOUNCE, self._redraw_detail)

    def _redraw_detail(self) -> None:
        row = self.current
        width = self.detail.scrollable_content_region.width
        if row is None:
            self._drawn = None
            self.detail.say("")
            self.head.update("")
            return
        if self._drawn != (row.key.seq, self._mode, width):
            self._draw(row, self._mode, width)

    @work(exclusive=True, group="draw")
    async def _draw(self, row: Row, mode: Mode, width: int) -> None:
        try:
            lines = await self.desk.draw.call(lambda source: draw(source, row, mode, width))
        except StoreError as error:
            self._broken(error)
            return
        except Exception as error:  # noqa: BLE001  # one record that cannot be drawn must not take the console down
            self.detail.say(f"this record cannot be drawn ({type(error).__name__}): v shows it raw")
            return
        self._drawn = (row.key.seq, mode, width)
        self.detail.show(lines)
        self._name_record()

    def _name_record(self) -> None:
        row = self.current
        if row is not None and self._drawn is not None:
            modes = "  ".join(f"[{name}]" if name == self._mode else name for name in MODES)
            self.head.update(f"{self.timeline.badge(row).sign} {row.id}   {modes}")

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        if event.lines is self.timeline:
            self.set_focus(self.detail)
        elif isinstance(event.lines, Groups):
            self._choose_group(event.lines)

    def _choose_group(self, groups: Groups) -> None:
        at = groups.current
        if at is None:
            return
        what, group = at
        if what == "session":
            self.set_filter(f"session:{group.id}")
        elif group.id == groups.opened:
            groups.open(None, [])
            self.set_filter("")
        else:
            self.set_filter(f"run:{quoted(group.id)}" if group.id else "")
            self._open_run(group.id)

    @work(exclusive=True, group="sessions")
    async def _open_run(self, run: str) -> None:
        try:
            sessions = await self.desk.far.call(lambda source: source.sessions_of(run, RUNS))
        except StoreError as error:
            self._broken(error)
            return
        self.groups.open(run, sessions)

    # -- keys

    @property
    def console_app(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def action_why(self) -> None:
        self._open(actions.why)

    def action_copy(self) -> None:
        self._open(actions.copy_as)

    def action_play(self) -> None:
        self._open(actions.play)

    def action_export(self) -> None:
        self._open(actions.export)

    def action_approvals(self) -> None:
        self._open(actions.approvals)

    def action_kill(self) -> None:
        self._open(actions.kill)

    def action_saved(self) -> None:
        self._open(actions.saved_filters)

    def action_save(self) -> None:
        self._open(actions.save_filter)

    @work(exclusive=True, group="dialog")
    async def _open(self, action: Callable[[TimelineScreen], Awaitable[None]]) -> None:
        try:
            await action(self)
        except OnrecordError as error:
            self.say(str(error), bad=True)

    def action_filter(self) -> None:
        self.set_focus(self.query_one("#filter", Input))  # at once: the next key is for it

    def action_back(self) -> None:
        self.remove_class("zoom")
        self.set_focus(self.timeline)

    def action_zoom(self) -> None:
        self.toggle_class("zoom")
        self.call_after_refresh(self._redraw_detail)

    def action_view(self) -> None:
        self._mode = MODES[(MODES.index(self._mode) + 1) % len(MODES)]
        self._redraw_detail()

    def action_runs(self) -> None:
        if self.has_class("runs"):
            self.add_class("runs-off")
            self.remove_class("runs")
            self.set_focus(self.timeline)
        else:
            self.remove_class("runs-off")
            self.add_class("runs")
            self.set_focus(self.groups)
        self.call_after_refresh(self._redraw_detail)

    def action_same(self) -> None:
        row = self.current
        if row is not None and row.session:
            self.set_filter(f"session:{row.session}")
        else:
            self.say("this record has no session")

    def say(self, text: str, *, bad: bool = False) -> None:
        """A notice; never parsed as markup."""
        self.app.notify(clean(text), markup=False, severity="error" if bad else "information", timeout=6)

    def _broken(self, error: OnrecordError) -> None:
        self.top_line.say(doing="the store cannot be read")
        self._complain(str(error))

    async def settled(self) -> None:
        """Until nothing is being fetched or drawn any more: for tests and measurements."""
        await asyncio.sleep(0)
        while waiting := [worker for worker in self.workers if worker.group != "prove" and not worker.is_finished]:
            with contextlib.suppress(WorkerCancelled):  # another one took its place
                await self.workers.wait_for_complete(waiting)
        while self._changed or self._ticking:  # noqa: ASYNC110  # a timer ends it
            await asyncio.sleep(0.02)
