"""What the recorder tells → open pages and notifications. Each step of an approval is announced once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable

from onrecord.policies.approvals import State
from onrecord.policies.kills import Kill
from onrecord.recordings.admin.live import Change, Live
from onrecord.recordings.admin.notify.dispatch import Dispatcher
from onrecord.recordings.admin.notify.notice import Notice
from onrecord.recordings.control.admin import AdminChannel, DecisionError, Event, Shown
from onrecord.recordings.control.messages import Kills

LOOK_AGAIN = 2.0
"""Seconds after which the whole is compared: what happened while the recorder was away was told to nobody."""

LATE = 60.0
"""An approval older than that when this process first hears of it was announced by an earlier life of it."""

MAX_KNOWN = 10_000
_DECIDED = frozenset({State.GRANTED, State.REFUSED, State.EXPIRED, State.CANCELLED, State.REVOKED})


class Feed:
    """Follows one channel. `origin` is where the pages are."""

    def __init__(
        self,
        channel: AdminChannel,
        live: Live,
        dispatcher: Dispatcher,
        origin: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._channel, self._live, self._dispatcher, self._origin, self._clock = (
            channel,
            live,
            dispatcher,
            origin,
            clock,
        )
        self._states: OrderedDict[str, str] = OrderedDict()
        self._kills: set[str] | None = None
        self._began = clock()
        self._alive = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            async with contextlib.aclosing(self._events()) as events:
                async for event in events:
                    self._heard(event)

    async def _events(self) -> AsyncGenerator[Event | None]:
        """Changes as they come, and None every LOOK_AGAIN seconds."""
        source = self._channel.subscribe()
        pending: asyncio.Task[Event] | None = None
        try:
            while True:
                pending = pending or asyncio.ensure_future(anext(source))
                done, _ = await asyncio.wait({pending}, timeout=LOOK_AGAIN)
                if not done:
                    yield None
                    continue
                try:
                    event = pending.result()
                except StopAsyncIteration:  # too slow: begin anew
                    return
                pending = None
                yield event
        finally:
            if pending is not None:
                pending.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                    await pending
            await source.aclose()  # type: ignore[attr-defined]  # an async generator

    def _heard(self, event: Event | None) -> None:
        if isinstance(event, Shown):
            self._shown(event)
        elif isinstance(event, Kills):
            self._killed(event.kills)
        else:
            self._compare()

    def _compare(self) -> None:
        """Look at the whole."""
        if self._alive != self._channel.alive:
            self._alive = self._channel.alive
            self._live.tell(Change())
        with contextlib.suppress(DecisionError):
            snapshot = self._channel.snapshot()
            for shown in snapshot.approvals:
                if self._states.get(shown.approval.id) != shown.approval.state.value:
                    self._shown(shown)
            self._killed(snapshot.kills)

    def _shown(self, shown: Shown) -> None:
        approval = shown.approval
        state = approval.state
        known = self._states.get(approval.id)
        self._states[approval.id] = state.value
        self._states.move_to_end(approval.id)
        while len(self._states) > MAX_KNOWN:
            self._states.popitem(last=False)
        self._live.tell(Change(approval.id, state.value))
        if state.value == known:
            return
        if state == State.PENDING and approval.requested_at > self._began - LATE:
            self._dispatcher.announce(self._notice(shown, "pending"))
        elif state in _DECIDED and known is not None:
            self._dispatcher.announce(self._notice(shown, "decided"))

    def _notice(self, shown: Shown, event: str) -> Notice:
        approval = shown.approval
        request = approval.request
        return Notice(
            event=event,  # type: ignore[arg-type]  # one of its literals
            approval=approval.id,
            state=approval.state.value,
            at=self._clock(),
            expires=approval.expires_at,
            subject=request.identity.subject,
            on_behalf_of=request.identity.on_behalf_of or "",
            resource=request.resource,
            protocol=request.protocol,
            policy=request.policy,
            approvers=" and ".join(shown.missing),
            url=f"{self._origin}/approvals/{approval.id}",
        )

    def _killed(self, kills: tuple[Kill, ...]) -> None:
        ids = {kill.id for kill in kills}
        new = [kill for kill in kills if self._kills is not None and kill.id not in self._kills]
        self._kills = ids
        for kill in new:
            self._live.tell(Change())
            notice = Notice(
                event="killed",
                approval="",
                state="killed",
                at=kill.at,
                subject=f"{kill.target} {kill.value}",
                url=f"{self._origin}/kill",
            )
            self._dispatcher.announce(notice)
