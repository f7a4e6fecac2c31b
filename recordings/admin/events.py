"""The live part: server-sent events that say that something changed, never what it is (HTML Living Standard §9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from onrecord.recordings.admin.live import Change
from onrecord.recordings.admin.roles import may_see
from onrecord.recordings.admin.site import LoginNeededError, Site, Visitor, visitor
from onrecord.recordings.control.admin import DecisionError

BEAT = 10.0
LONGEST = 900.0


class Events:
    """/events"""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route]:
        """The route."""
        return [Route("/events", self.events, methods=["GET"])]

    async def events(self, request: Request) -> Response:
        """One stream; it ends with the session, and after a while: the browser opens another."""
        try:
            visits = visitor(self._site, request)
        except LoginNeededError:
            return Response(status_code=HTTPStatus.NO_CONTENT)  # tells the browser to stop asking
        return StreamingResponse(self._stream(visits), media_type="text/event-stream")

    async def _stream(self, visits: Visitor) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + LONGEST
        with self._site.live.stream(visits.person.person) as queue:
            if queue is None:
                yield b"retry: 30000\n\n"
                return
            yield b"retry: 1000\nevent: hello\ndata: {}\n\n"
            while loop.time() < ends:
                try:
                    change = await asyncio.wait_for(queue.get(), BEAT)
                except TimeoutError:
                    change = None
                if not self._site.sessions.alive(visits.cookie):
                    yield b"event: bye\ndata: {}\n\n"
                    return
                if change is None:
                    yield b": still here\n\n"
                elif self._concerns(change, visits):
                    yield b"event: change\ndata: " + msgspec.json.encode(change) + b"\n\n"

    def _concerns(self, change: Change, visits: Visitor) -> bool:
        if not change.id:
            return True
        try:
            return may_see(visits.person, self._site.channel.approval(change.id), self._site.config)
        except DecisionError:
            return False
