"""One end of a connection as an asyncio Protocol: pieces to await during login, a callback afterwards."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

PIECES_LIMIT = 256 * 1024


class Link(asyncio.Protocol):
    """Give `receiver`, `lost`, `full` and `drained` to switch from `read` to callbacks.

    Reading stops as long as at least one reason of `pause` holds.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.receiver: Callable[[bytes], None] | None = None
        self.lost: Callable[[], None] | None = None
        self.full: Callable[[], None] | None = None
        self.drained: Callable[[], None] | None = None
        self.closed = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._reasons: set[str] = set()

    # ------------------------------------------------------------------ asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.receiver is not None:
            self.receiver(data)
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > PIECES_LIMIT:
            self.pause("login")
        self._wake()

    def eof_received(self) -> bool | None:
        return None  # close

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed = True
        self._wake()
        if self.lost is not None:
            self.lost()

    def pause_writing(self) -> None:
        if self.full is not None:
            self.full()

    def resume_writing(self) -> None:
        if self.drained is not None:
            self.drained()

    # ------------------------------------------------------------------ ours

    async def read(self) -> bytes:
        """The next piece; b"" when the peer has closed."""
        while not self._pieces and not self.closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.take()

    def take(self) -> bytes:
        """All pieces that are here."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self.resume("login")
        return data

    def write(self, data: bytes) -> None:
        """Send, unless the connection is gone."""
        if self.transport is not None and not self.closed and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Send what is buffered, then close."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close now."""
        if self.transport is not None and not self.closed:
            self.transport.abort()

    def pause(self, reason: str) -> None:
        if not self._reasons and self.transport is not None and not self.closed:
            self.transport.pause_reading()
        self._reasons.add(reason)

    def resume(self, reason: str) -> None:
        if reason in self._reasons:
            self._reasons.remove(reason)
            if not self._reasons and self.transport is not None and not self.closed and not self.transport.is_closing():
                self.transport.resume_reading()

    def has_left(self) -> bool:
        """Whether the peer has closed its side, though what it sent before is not read yet (poll(2), POLLRDHUP)."""
        sock = self.transport.get_extra_info("socket") if self.transport is not None and not self.closed else None
        if sock is None or sock.fileno() < 0:
            return True
        poller = select.poll()
        gone = select.POLLERR | select.POLLHUP | getattr(select, "POLLRDHUP", 0)
        poller.register(sock.fileno(), gone)
        return any(events & gone for _, events in poller.poll(0))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None
