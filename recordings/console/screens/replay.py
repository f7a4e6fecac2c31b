"""A session or command played back: its terminal as it looked, or its events one after another."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Footer, Static

from onrecord.recordings.console.player import Player
from onrecord.recordings.console.score import EventScore, FilmScore
from onrecord.recordings.console.screens.dialogs import AskDialog
from onrecord.recordings.console.widgets.detail import Detail
from onrecord.recordings.console.widgets.terminal import Terminal
from onrecord.recordings.display.neutral import clean

FRAME = 0.05  # seconds between two pictures
LEAP = 5.0  # seconds of a small seek


class ReplayScreen(Screen[None]):
    """Plays a score; space pauses."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Play"),
        Binding("left", "leap(-1)", "-5s", priority=True),
        Binding("right", "leap(1)", "+5s", priority=True),
        Binding("comma", "step(-1)", "Step back", key_display=","),
        Binding("full_stop", "step(1)", "Step", key_display="."),
        Binding("minus", "speed(-1)", "Slower", key_display="-", show=False),
        Binding("plus,equals_sign", "speed(1)", "Faster", key_display="+"),
        Binding("i", "idle", "Idle"),
        Binding("slash", "search", "Search", key_display="/"),
        Binding("n", "again(True)", "Next"),
        Binding("N", "again(False)", "Previous", key_display="N", show=False),
        Binding("home", "begin", "Begin", show=False, priority=True),
        Binding("end", "finish", "End", show=False, priority=True),
        Binding("escape,q", "dismiss", "Back", key_display="esc"),
    ]

    def __init__(self, title: str, score: FilmScore | EventScore) -> None:
        super().__init__()
        self._about, self.score = title, score
        self.player = Player(score.times)
        self._clock = 0.0
        self._searched = ""
        self._shown = -1
        # kept, not queried: a key may close the screen before what is in it stands
        self.bar = Static("", id="bar", markup=False)
        self.terminal = Terminal(id="terminal")
        self.events = Detail(id="events")
        self.track = Static("", id="track", markup=False)

    def compose(self) -> ComposeResult:
        yield self.bar
        with Container(id="screen"):
            yield self.terminal if isinstance(self.score, FilmScore) else self.events
        yield self.track
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self._clock = time.monotonic()
        self.player.toggle()
        self.set_interval(FRAME, self._frame)
        self.call_after_refresh(self._show)

    def on_resize(self) -> None:
        self._shown = -1
        self.call_after_refresh(self._show)

    def _frame(self) -> None:
        now = time.monotonic()
        passed, self._clock = min(now - self._clock, 1.0), now
        if self.player.playing:
            self.player.tick(passed)
            self._show()

    def _show(self) -> None:
        player = self.player
        if player.index != self._shown:
            self._shown = player.index
            if isinstance(self.score, FilmScore):
                self.terminal.show(self.score.picture(player.index))
            else:
                detail = self.events
                detail.show(self.score.lines(player.index, detail.scrollable_content_region.width), top=False)
                detail.scroll_end(animate=False, immediate=True)
        state = "▶" if player.playing else "■ end" if player.ended else "‖"
        skips = "idle skipped" if player.skips else "real pauses"
        self.bar.update(
            f" {state} {_time(player.at)}/{_time(player.duration)}  ×{player.speed:g}  {skips}  "
            f"{player.index}/{len(self.score.times)}  {self._about}"
        )
        width = max(1, self.size.width - 2)
        done = round(width * (player.at / player.duration)) if player.duration else width
        track = Text("━" * done + "─" * (width - done))
        self.track.update(track)

    def action_pause(self) -> None:
        self.player.toggle()
        self._clock = time.monotonic()
        self._show()

    def action_leap(self, by: int) -> None:
        self.player.seek(self.player.at + by * LEAP)
        self._show()

    def action_step(self, by: int) -> None:
        self.player.step(by)
        self._show()

    def action_speed(self, by: int) -> None:
        self.player.faster(by)
        self._show()

    def action_idle(self) -> None:
        self.player.skips = not self.player.skips
        self._show()

    def action_begin(self) -> None:
        self.player.seek(-1.0)
        self._show()

    def action_finish(self) -> None:
        self.player.seek(self.player.duration)
        self._show()

    def on_click(self, event: events.Click) -> None:
        if event.widget is self.track and self.player.duration:
            self.player.seek(self.player.duration * event.x / max(1, self.size.width - 2))
            self._show()

    @work(exclusive=True)
    async def action_search(self) -> None:
        text = await self.app.push_screen_wait(AskDialog("Search in this replay", self._searched))
        if text:
            self._searched = text
            self._find(forward=True)

    def action_again(self, forward: bool) -> None:
        if self._searched:
            self._find(forward=forward)

    def _find(self, *, forward: bool) -> None:
        found = self.score.find(self._searched, self.player.index, forward=forward)
        if found is None:
            self.app.notify(clean(f"{self._searched}: not found from here"), markup=False, timeout=4)
            return
        self.player.playing = False
        self.player.step(found + 1 - self.player.index)
        self._show()


def _time(seconds: float) -> str:
    return f"{int(seconds // 3600)}:{int(seconds // 60) % 60:02d}:{int(seconds % 60):02d}"
