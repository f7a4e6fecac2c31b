"""What changes while one looks: new records, outcomes, counts of the strip, badges."""

from __future__ import annotations

import asyncio

from textual import work

from onrecord.policies.errors import StoreError
from onrecord.recordings.console.badges import Badge
from onrecord.recordings.console.desk import Desk
from onrecord.recordings.console.proofs import Proofs
from onrecord.recordings.console.screens.paging import Paging
from onrecord.recordings.console.source import Bucket, Group, Source

PROVING = 0.2  # seconds of hashing between two looks at the screen
TICK = 0.25  # seconds between two looks for what is new
SLOW_TICK = 8  # ticks between two counts
ARRIVALS = 500
RUNS = 200


class Watching(Paging):
    """The timeline's screen, kept up to date."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._ticks = 0
        self._ticking = False
        self._counted = -1  # the last record that the strip counts

    def redraw(self, *, again: bool = False) -> None:
        """Show the record under the cursor; `again`: its content has changed. Of subclasses: Textual's metaclass is no
        ABCMeta."""
        raise NotImplementedError

    def watch_store(self) -> None:
        """Begin."""
        self.set_interval(TICK, self._tick)
        proofs = self.console_app.proofs
        if proofs is None:
            self.timeline.unchecked = Badge.NO_KEY
        else:
            self._prove(proofs)

    def action_live(self) -> None:
        self.top_line.say(live=not self.top_line.live)

    async def _tick(self) -> None:
        if self._ticking:
            return
        self._ticking = True
        try:
            self._ticks += 1
            if self._away:
                if self._ticks % SLOW_TICK == 0:
                    await self._back()
                return
            if self.top_line.live:
                await self._arrivals()
            if self._changed or (self._ticks % SLOW_TICK == 0 and self._counted != self._after):
                self._changed, self._counted = False, self._after
                await self._count()
        except StoreError as error:
            self._broken(error)
        finally:
            self._ticking = False

    async def _back(self) -> None:
        """Begin anew, if the store can be read again. Raises StoreError."""
        for lane in (self.desk.near, self.desk.draw, self.desk.far):
            await lane.call(lambda source: source.newest())
        self._away = False
        self._complain("")
        self.load(self.current.key if self.current else None)
        self.redraw(again=True)

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
                self.redraw(again=True)
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
                self.redraw()
            await asyncio.sleep(pause)
