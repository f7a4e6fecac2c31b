"""uvicorn with bounds on what a client may hold: connections in all and of one address, time for a request head and
for reading an answer.

uvicorn itself bounds the size of a head and the pause between requests, not the time that a head may take, nor how
long a client may leave an answer unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Generator
from typing import Any, ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from onrecord.policies.config import Address, TlsConfig
from onrecord.policies.errors import ConfigError, Problem
from onrecord.recordings.admin.networks import Door, network_of

HEAD_DEADLINE = 10.0
READ_DEADLINE = 30.0
"""Seconds in which a client must take what waits for it, once that is more than the transport's buffer should hold."""

MAX_HEAD = 32 * 1024
KEEP_ALIVE = 5
DRAIN = 3


class Bounded(H11Protocol):
    """One connection."""

    door: ClassVar[Door]
    deadline: ClassVar[float]
    unread: ClassVar[float]

    _counted = ""
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # a TCP transport
        address = network_of(self.client[0]) if self.client else "-"
        if not self.door.enter(address):
            transport.abort()  # type: ignore[attr-defined]
            return
        self._counted = address
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._counted:
            self.door.leave(self._counted)
            self._counted = ""
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read: the answer waits, and so does whatever makes it, but not for ever."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.unread, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(self.deadline, self._late)

    def _late(self) -> None:
        """No request is under way since so long: whatever was sent is no whole head; or it is closed and unread."""
        if self.cycle is None or self.cycle.response_complete or self.transport.is_closing():
            self.transport.abort()
        else:
            self._arm()


def bounded_protocol(*, most: int, deadline: float = HEAD_DEADLINE, unread: float = READ_DEADLINE) -> type[H11Protocol]:
    """A protocol class for one server that keeps `most` connections: networks.py says of whom."""
    return type("Bounded", (Bounded,), {"door": Door(most), "deadline": deadline, "unread": unread})


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers (the process has its own); `ready` is called when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(
    app: ASGIApp, listener: Address, tls: TlsConfig | None, *, most: int, ready: Callable[[], None]
) -> None:
    """Serve until cancelled. Raises ConfigError where the listener cannot be opened or the certificate not be used."""
    options: dict[str, Any] = {}
    if tls is not None:
        options = {"ssl_certfile": str(tls.cert), "ssl_keyfile": str(tls.key)}
    config = uvicorn.Config(
        app,
        http=bounded_protocol(most=most),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # addresses hold codes of logins
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=DRAIN,
        backlog=128,
        **options,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([Problem("gateway.tls", f"cannot be used: {error}")]) from None
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    sock = _listen(listener)
    server = _Server(config, ready)
    with contextlib.closing(sock):
        task = asyncio.ensure_future(server.serve([sock]))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            server.should_exit = True
            await task
            raise


def _listen(listener: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((listener.host, listener.port))
    except OSError as error:
        sock.close()
        raise ConfigError([Problem("gateway.admin", f"cannot listen on '{listener}': {error.strerror}")]) from None
    return sock
