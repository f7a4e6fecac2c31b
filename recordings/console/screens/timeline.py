"""The main screen: filter, strip, side pane, timeline and detail over one store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.widgets import Footer, Input
from textual.worker import WorkerCancelled

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.recordings.console.conditions import compile_query
from onrecord.recordings.console.desk import Desk
from onrecord.recordings.console.drawing import draw
from onrecord.recordings.console.language import FilterError, parse, quoted
from onrecord.recordings.console.rows import Row
from onrecord.recordings.console.screens import actions
from onrecord.recordings.console.screens.watching import RUNS, Watching
from onrecord.recordings.console.widgets.detail import MODES, Mode
from onrecord.recordings.console.widgets.groups import Groups
from onrecord.recordings.console.widgets.lines import Lines

WIDE, ROOMY = 150, 110  # columns from which the detail stands beside the timeline, and the runs are shown
_DEBOUNCE = 0.04


class TimelineScreen(Watching):
    """Everything that happened, and one record of it in full."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("n", "jump(True)", "Next"),
        Binding("N", "jump(False)", "Prev", key_display="N", show=False),  # all that is shown fits into 80 columns
        Binding("l", "live", "Live"),
        Binding("v", "view", "View"),
        Binding("w", "why", "Why"),
        Binding("p", "play", "Play"),
        Binding("y", "copy", "Copy"),
        Binding("e", "export", "Export"),
        Binding("r", "runs", "Runs"),
        Binding("a", "approvals", "Held"),
        Binding("K", "kill", "Kill", key_display="K"),
        Binding("s", "same", "Only this session", show=False),
        Binding("f", "saved", "Saved filters", show=False),
        Binding("F", "save", "Save the filter", show=False),
        Binding("z", "zoom", "Larger detail", show=False),
        Binding("escape", "back", "Back", show=False),
    ]

    def __init__(self, desk: Desk, text: str = "") -> None:
        super().__init__(desk)
        self._start = text
        self._mode: Mode = "pretty"
        self._drawn: tuple[int, Mode, int] | None = None

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
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.set_focus(self.timeline)
        self._arrange()
        if self._start:
            self.query_one("#filter", Input).value = self._start
            self.apply(self._start)
        else:
            self.load(None)
        self.watch_store()

    @property
    def text(self) -> str:
        """The filter that holds."""
        return self._text

    def on_resize(self) -> None:
        self._arrange()
        self._changed = True
        self.call_after_refresh(self._redraw_detail)

    def _arrange(self) -> None:
        for footer in self.query(Footer):  # none yet, where a resize comes first
            footer.show_command_palette = self.size.width >= ROOMY
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

    # -- the detail

    def on_lines_moved(self, event: Lines.Moved) -> None:
        if event.lines is self.timeline:
            row = self.current
            self.strip.point(row.key.at if row else None)
            self.set_timer(_DEBOUNCE, self._redraw_detail)

    def redraw(self, *, again: bool = False) -> None:
        if again:
            self._drawn = None
        self._redraw_detail()
        self._name_record()

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
        except Exception as error:  # noqa: BLE001  # one record that cannot be played or copied must not end the console
            self.say(f"that cannot be done with this record ({type(error).__name__}): v shows it raw", bad=True)

    def action_filter(self) -> None:
        self.set_focus(self.query_one("#filter", Input))  # at once: the next key is for it

    def action_back(self) -> None:
        self.remove_class("zoom")
        self.query_one("#filter", Input).value = self._text  # the one that holds
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

    async def settled(self) -> None:
        """Until nothing is being fetched or drawn any more: for tests and measurements."""
        await asyncio.sleep(0)
        while waiting := [worker for worker in self.workers if worker.group != "prove" and not worker.is_finished]:
            with contextlib.suppress(WorkerCancelled):  # another one took its place
                await self.workers.wait_for_complete(waiting)
        while self._changed or self._ticking:  # noqa: ASYNC110  # a timer ends it
            await asyncio.sleep(0.02)
