"""One request and its response, as far as the gateway has got with them; kept in `flow.metadata`."""

from __future__ import annotations

from asyncio import TimerHandle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mitmproxy import http

from onrecord.addons.dialect import PLAIN, Dialect
from onrecord.addons.egress import Route
from onrecord.addons.http_head import Head
from onrecord.addons.peers import Peer
from onrecord.recordings.auditor import Decision, OpenSession

if TYPE_CHECKING:
    from onrecord.addons.streams import Stream

KEY = "onrecord.exchange"


@dataclass(slots=True)
class Exchange:
    """`decision` is None until the command was decided, `finished` true once its outcome is on record."""

    peer: Peer
    route: Route
    opened: OpenSession
    head: Head
    method: str
    target: str
    decision: Decision | None = None
    finished: bool = False
    up: Stream | None = None
    down: Stream | None = None
    to_upstream: int = 0
    to_client: int = 0
    body_timer: TimerHandle | None = None
    masked: dict[str, int] = field(default_factory=dict)  # by detector or rule
    dialect: Dialect = PLAIN
    request: object = None  # what the dialect has read of the request
    opening: object = None  # the stream that it opens, if any
    subprotocol: str = ""  # what the server chose of it

    def body_done(self) -> None:
        """The body has come, or never will."""
        if self.body_timer is not None:
            self.body_timer.cancel()
            self.body_timer = None


def exchange_of(flow: http.HTTPFlow) -> Exchange | None:
    """The exchange of a flow that came through `requestheaders`."""
    found: Any = flow.metadata.get(KEY)
    return found if isinstance(found, Exchange) else None
