"""What waits for a human: listed with the time that is left, decided through the admin API, read to its end first."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.segment import Segment
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Footer, Static

from onrecord.policies.errors import OnrecordError
from onrecord.recordings.console.desk import Desk
from onrecord.recordings.console.door import Door
from onrecord.recordings.console.drawing import MOST, lines_of
from onrecord.recordings.console.fenced import approval, span
from onrecord.recordings.console.rows import one_line
from onrecord.recordings.console.screens.dialogs import AskDialog
from onrecord.recordings.console.themes import Palette
from onrecord.recordings.console.widgets.detail import Detail
from onrecord.recordings.console.widgets.lines import Lines, fit
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.queries import Filters

if TYPE_CHECKING:
    from onrecord.recordings.console.app import ConsoleApp

View = dict[str, Any]
REFRESH = 1.0
SHOWN = 300
_OPEN = ("pending", "granted")


class Approvals(Lines):
    """Approvals, what waits first, then the newest."""

    empty = "nothing waits and nothing was asked"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.views: list[View] = []
        self._read = 0.0

    @property
    def count(self) -> int:
        return len(self.views)

    @property
    def current(self) -> View | None:
        """The approval under the cursor."""
        return self.views[self.cursor] if 0 <= self.cursor < len(self.views) else None

    def show(self, views: list[View]) -> None:
        """Another list; the cursor stays on its approval."""
        chosen = self.current["id"] if self.current else None
        self.views = sorted(views, key=lambda view: (view.get("state") != "pending", view.get("state") != "granted"))
        self._read = time.monotonic()
        if chosen is not None:
            self.cursor = next((i for i, view in enumerate(self.views) if view["id"] == chosen), self.cursor)
        self.redraw()

    def left(self, view: View) -> float | None:
        """Seconds until it expires; None where that is not known or over."""
        if view.get("state") not in _OPEN or view.get("expires_in") is None:
            return None
        return max(0.0, float(view["expires_in"]) - (time.monotonic() - self._read))

    def segments(self, index: int, width: int, colours: Palette) -> list[Segment]:
        view = self.views[index]
        state = str(view.get("state") or "unknown")
        left = self.left(view)
        style = {
            "pending": colours.held, "granted": colours.ok, "used": colours.ok, "refused": colours.denied,
            "revoked": colours.denied,
        }.get(state, colours.dim)  # fmt: skip
        identity = view.get("identity") or {}
        parts = [
            Segment(f"{str(view.get('requested_at') or '')[11:19]:8} ", colours.dim),
            Segment(f"{fit(clean(state), 9)} ", style),
            Segment(
                f"{'' if left is None else span(left):>6} ",
                colours.held if left is not None and left < 60 else colours.dim,
            ),
            Segment(f"{fit(clean(identity.get('subject') or '–'), 12)} ", colours.plain),
            Segment(f"{fit(clean(view.get('resource') or '–'), 10)} ", colours.plain),
        ]
        used = sum(segment.cell_length for segment in parts)
        parts.append(Segment(fit(one_line(str(view.get("text") or "")), max(1, width - used)), colours.plain))
        return parts


class ApprovalsScreen(Screen[None]):
    """The list above, everything about one below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("A", "decide('approve')", "Approve", key_display="A"),
        Binding("D", "decide('deny')", "Deny", key_display="D"),
        Binding("R", "decide('revoke')", "Revoke", key_display="R"),
        Binding("tab", "app.focus_next", "Read", show=True),
        Binding("escape,q", "dismiss", "Back", key_display="esc"),
    ]

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._door: Door | None = None
        self._why_not = ""
        self._drawn: tuple[str, str, int] | None = None
        self._whole = False  # whether all of the text was drawn
        self.list = Approvals(id="approvals")
        self.detail = Detail(id="approval")
        self.bar = Static("", id="bar", markup=False)

    def compose(self) -> ComposeResult:
        yield self.bar
        yield self.list
        with Vertical(id="lower"):
            yield self.detail
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.list.focus()
        self._refresh()
        self.set_interval(REFRESH, self._tick)

    def on_unmount(self) -> None:
        if self._door is not None:
            self._door.__exit__()

    @property
    def console_app(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def _tick(self) -> None:
        self.list.refresh()
        self._refresh()

    @work(exclusive=True, group="refresh")
    async def _refresh(self) -> None:
        try:
            if self._door is None and not self._why_not:
                self._door = await self._open()
            if self._door is not None:
                views = await asyncio.to_thread(self._door.approvals)
                views.reverse()
                self.bar.update(" approvals, live from the admin API")
            else:
                views = await self._desk.far.call(lambda source: source.approvals(Filters(limit=SHOWN)))
                views.reverse()
                self.bar.update(f" approvals on record, to read only: {clean(self._why_not)}")
        except OnrecordError as error:
            self.bar.update(f" {clean(error)}")
            return
        self.list.show(views[:SHOWN])
        self._draw()

    async def _open(self) -> Door | None:
        opener = self.console_app.door
        if opener is None:
            self._why_not = "there is no configuration to reach the admin API by"
            return None
        try:
            return await asyncio.to_thread(opener)
        except OnrecordError as error:
            self._why_not = str(error)
            return None

    def on_lines_moved(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._drawn = None
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        view = self.list.current
        width = self.detail.scrollable_content_region.width
        if view is None:
            self.detail.say("")
            return
        key = (str(view["id"]), str(view.get("state")) + str(view.get("preview")), width)
        if key != self._drawn:
            top = self._drawn is None or self._drawn[0] != key[0]
            self._drawn = key
            lines = lines_of(approval(view), width)
            self._whole = len(lines) < MOST
            self.detail.show(lines, top=top)

    def is_read(self, view: View) -> bool:
        """Whether the text of `view`, which is on the screen, was seen to its end."""
        if self._drawn is None or self._drawn[0] != view["id"] or not self._whole:
            return False
        return self.detail.max_scroll_y == 0 or self.detail.scroll_offset.y >= self.detail.max_scroll_y

    @work(exclusive=True, group="decide")
    async def action_decide(self, decision: str) -> None:
        view = self.list.current
        if view is None:
            return
        if self._door is None:
            self._say(f"it cannot be decided here: {self._why_not}", bad=True)
            return
        if decision == "approve" and not self.is_read(view):
            how = "tab goes into the text, the end key to its end"
            if not self._whole:
                how = f"it has more than {MOST} lines, which this screen does not show: the page has all"
            self._say(f"read it to its end first: {how}", bad=True)
            self.detail.focus()
            return
        line = one_line(str(view.get("text") or ""))[:60]
        reason = await self.app.push_screen_wait(AskDialog(f"{decision} {line} — why? (Enter decides)"))
        if reason is None:
            return
        try:
            done = await asyncio.to_thread(self._door.decide, str(view["id"]), decision, reason)
        except OnrecordError as error:
            self._say(str(error), bad=True)
        else:
            self._say(f"{clean(done.get('state'))}: {line}")
        self._refresh()

    def _say(self, text: str, *, bad: bool = False) -> None:
        self.app.notify(clean(text), markup=False, severity="error" if bad else "information", timeout=8)
