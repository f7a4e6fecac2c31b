"""The wait for a decision that a human may have to make: as long as the client is there, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from mitmproxy import http

from onrecord.addons.early_answer import has_left
from onrecord.recordings.auditor import Decision

LOOK = 0.5  # seconds between two looks whether a client that waits is still there


async def decided(flow: http.HTTPFlow, pending: Awaitable[Decision]) -> Decision | None:
    """The decision; None where the client left before there was one, which takes back what was asked.

    mitmproxy does not end a hook whose client has left.
    """
    waiting = asyncio.ensure_future(pending)
    while not waiting.done():
        try:
            await asyncio.wait({waiting}, timeout=LOOK)
        except asyncio.CancelledError:
            waiting.cancel("the connection was closed")
            raise
        if not waiting.done() and has_left(flow):
            waiting.cancel("the client left")
    return None if waiting.cancelled() else waiting.result()
