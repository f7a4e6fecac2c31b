"""mitmproxy's connection handler and HTTP/1 layer, with bounds and without the ways in which they fail open.

- Hooks go to StrictDispatch alone, without a task where no handler must wait.
- A crash in protocol code closes the connection.
- Heads, pipelined bytes and interim responses are bounded or dropped; HTTP/1 trailers are dropped (mitmproxy crashes).

Written against mitmproxy 12.2.3 (proxy/server.py, proxy/layers/http/_http1.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import h11
from h2.exceptions import DenialOfServiceError
from h2.frame_buffer import FrameBuffer
from h11._readers import ChunkedReader
from hyperframe.frame import Frame, PingFrame, PriorityFrame, RstStreamFrame, SettingsFrame
from mitmproxy import hooks, http
from mitmproxy.connection import Client
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import _http1, _http2
from mitmproxy.proxy.layers.http._events import HttpEvent, RequestData, RequestHeaders, ResponseData
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.server import ConnectionIO

from onrecord.addons.http_head import MAX_HEAD
from onrecord.addons.peers import Peers
from onrecord.addons.problem import problem
from onrecord.addons.strict_dispatch import StrictDispatch

log = logging.getLogger(__name__)

MAX_PIPELINED = 256 * 1024
CONTROL_BURST, CONTROL_RATE = 2000, 200  # HTTP/2 control frames of one connection: at once, and a second
_CONTROL_FRAMES = (PingFrame, SettingsFrame, RstStreamFrame, PriorityFrame)

Commands = Generator[commands.Command, Any, None]
_background: set[asyncio.Future[None]] = set()


class GatewayConnection:
    """The methods that replace those of mitmproxy's ProxyConnectionHandler. `self` is one of those there."""

    is_blocked = False  # set by Peers.kill: what the layers still want to send in this turn stays here
    dispatch: StrictDispatch
    kill: Callable[[str, str], None]

    async def handle_hook(self: Any, hook: commands.StartHook) -> None:
        """Hooks outside of the protocol layers: connections that come and go."""
        with self.timeout_watchdog.disarm():
            await self.dispatch.dispatch(hook)

    async def server_event(self: Any, event: events.Event) -> None:
        """Feed one event to the layers and carry out their commands.

        A hook whose handlers are done at once is answered in the same turn; only one that waits becomes a task.
        """
        async with self._server_event_lock:
            # No await beyond this point.
            self.timeout_watchdog.register_activity()
            queue = [event]
            try:
                for current in queue:
                    for command in self.layer.handle_event(current):
                        self.perform(command, queue)
            except Exception as error:
                log.error("protocol code failed with %s; connection closed", type(error).__name__)  # noqa: TRY400
                log.debug("failed", exc_info=True)
                self.kill(self.client.id, "the gateway could not make sense of the bytes")

    def perform(self: Any, command: commands.Command, queue: list[events.Event]) -> None:
        """One command of the layers."""
        if isinstance(command, commands.StartHook):
            pending = self.dispatch.start(command)
            if pending is not None:
                _keep(asyncio.ensure_future(self.wait_for(command, pending)))
            elif command.blocking:
                queue.append(events.HookCompleted(command))
        elif isinstance(command, commands.Log):
            if command.level >= logging.WARNING:
                self.log(command.message, command.level)
        elif isinstance(command, commands.OpenConnection):
            task = asyncio.ensure_future(self.open_connection(command))
            self.transports[command.connection] = ConnectionIO(handler=task)
        elif isinstance(command, commands.RequestWakeup):
            self.wakeup_timer.add(asyncio.ensure_future(self.wakeup(command)))
        elif isinstance(command, commands.ConnectionCommand):
            self.perform_on_transport(command)
        else:
            raise TypeError(f"unexpected command {type(command).__name__}")

    def perform_on_transport(self: Any, command: commands.ConnectionCommand) -> None:
        """Send or close, where the connection is still there."""
        transport = self.transports.get(command.connection)
        if transport is None:
            return
        if isinstance(command, commands.SendData):
            if not self.is_blocked and transport.writer is not None and not transport.writer.is_closing():
                transport.writer.write(command.data)
        elif isinstance(command, commands.CloseTcpConnection):
            self.close_connection(command.connection, command.half_close)
        elif isinstance(command, commands.CloseConnection):
            self.close_connection(command.connection, False)
        else:
            raise TypeError(f"unexpected command {type(command).__name__}")

    async def drain_writers(self: Any) -> None:
        """Backpressure: wait where a peer is slow to read, and only there."""
        if not any(
            io.writer is not None and io.writer.transport.get_write_buffer_size() for io in self.transports.values()
        ):
            return
        async with self._drain_lock:
            for io in list(self.transports.values()):
                if io.writer is not None:
                    try:
                        await io.writer.drain()
                    except OSError as error:
                        if io.handler is not None:
                            io.handler.cancel(f"cannot send: {type(error).__name__}")

    async def wait_for(self: Any, hook: commands.StartHook, pending: Awaitable[None]) -> None:
        """A hook whose handlers wait."""
        with self.timeout_watchdog.disarm():
            await pending
        if hook.blocking:
            await self.server_event(events.HookCompleted(hook))

    def log(self, message: str, level: int = logging.INFO, exc_info: object = None) -> None:  # noqa: ARG002
        """mitmproxy logs peers' bytes at every turn; only warnings are of use, and shortened."""
        if level >= logging.WARNING:
            log.log(level, "%s", message[:300])


def install(dispatch: StrictDispatch, on_partial_head: Callable[[str], None], peers: Peers) -> None:
    """Replace what mitmproxy's handler and HTTP/1 layer do, for every connection from now on."""
    for name, member in vars(GatewayConnection).items():
        if not name.startswith("__"):
            setattr(ProxyConnectionHandler, name, member)
    handler: Any = ProxyConnectionHandler
    handler.dispatch, handler.kill = dispatch, peers.refuse
    for data_class in (http.MessageData, http.RequestData, http.ResponseData):
        unchecked: Any = data_class
        unchecked.__post_init__ = lambda _self: None  # it checks the types of its own fields, at 4% of all time
    _install_http1(on_partial_head, peers)
    _install_http2(peers)


def _keep(task: asyncio.Future[None]) -> None:
    """The loop holds tasks only weakly."""
    if not task.done():
        _background.add(task)
        task.add_done_callback(_background.discard)


def _install_http1(on_partial_head: Callable[[str], None], peers: Peers) -> None:
    """Bounds and framing for HTTP/1, on both sides."""
    read_request = _http1.Http1Server.read_headers

    def read_request_headers(self: _http1.Http1Server, event: events.ConnectionEvent) -> Commands:
        yield from read_request(self, event)
        if self.state == self.done and self.request is None and isinstance(event, events.DataReceived):
            peers.note(self.conn.id, "not an HTTP request")
        if self.buf and self.state == self.read_headers:
            if len(self.buf) > MAX_HEAD:
                peers.note(self.conn.id, f"a request head over the limit of {MAX_HEAD} bytes")
                yield commands.SendData(self.conn, make_error_response(431))
                yield commands.CloseConnection(self.conn)
                self.state = self.done
            elif isinstance(self.conn, Client):
                on_partial_head(self.conn.id)

    targets: tuple[tuple[Any, str, Any], ...] = (
        (_http1.Http1Server, "read_headers", read_request_headers),
        (_http1.Http1Client, "read_headers", _read_response_headers),
        (_http1.Http1Client, "send", _send_framed),
        (_http1.Http1Server, "send", _send_answer),
        (_http1.Http1Connection, "wait", _bounded_wait),
        (_http1, "make_body_reader", _make_body_reader),
        (_http1, "make_error_response", make_error_response),
        (_http2, "format_error", lambda status, _message: _problem(status)),
    )
    for target, name, function in targets:
        setattr(target, name, function)


def _install_http2(peers: Peers) -> None:
    """A client that breaks HTTP/2 is on record; a frame over the limit is refused by its head, not once it is there.

    Frames that cost the peer nothing and us much (CVE-2019-9512, -9515, CVE-2023-44487) are limited.
    """
    next_frame = FrameBuffer.__next__

    def next_frame_within_limit(self: FrameBuffer) -> Frame:
        if len(self._data) >= 9:
            self._validate_frame_length(int.from_bytes(self._data[:3]))
        frame = next_frame(self)
        if isinstance(frame, _CONTROL_FRAMES):
            _count_control(self)
        return frame

    close = _http2.Http2Connection.protocol_error

    def protocol_error(self: _http2.Http2Connection, message: str, *more: Any, **named: Any) -> Commands:
        if isinstance(self.conn, Client):
            peers.note(self.conn.id, "a connection that breaks HTTP/2", message)
        yield from close(self, message, *more, **named)

    target: Any = _http2.Http2Connection
    target.protocol_error = protocol_error
    buffer: Any = FrameBuffer
    buffer.__next__ = next_frame_within_limit


def _count_control(buffer: Any) -> None:
    """A bucket of control frames for each connection and direction."""
    now = time.monotonic()
    at, level = getattr(buffer, "onrecord_control", (now, 0.0))
    level = max(level - (now - at) * CONTROL_RATE, 0.0) + 1
    buffer.onrecord_control = (now, level)
    if level > CONTROL_BURST:
        raise DenialOfServiceError("too many control frames")


_read_response = _http1.Http1Client.read_headers
_send = _http1.Http1Client.send
_send_response = _http1.Http1Server.send
_wait = _http1.Http1Connection.wait
_make_reader = _http1.make_body_reader


def _read_response_headers(self: _http1.Http1Client, event: events.ConnectionEvent) -> Commands:
    """Interim responses (103 and the like) are dropped: mitmproxy would take them for the answer."""
    if isinstance(event, events.DataReceived) and self.request:
        while _starts_interim(bytes(self.buf)[:13]):
            if self.buf.maybe_extract_lines() is None:
                break
    yield from _read_response(self, event)
    if self.buf and self.state == self.read_headers and len(self.buf) > MAX_HEAD:
        raise ValueError("an upstream's response head is over the limit")


def _send_framed(self: _http1.Http1Client, event: HttpEvent) -> Commands:
    """From HTTP/2 without a length: unframed, its body would be read as a second request."""
    if isinstance(event, RequestHeaders) and not event.end_stream:
        headers = event.request.headers
        if "content-length" not in headers and "transfer-encoding" not in headers:
            headers["transfer-encoding"] = "chunked"
    if isinstance(event, RequestData) and not event.data:
        return
    yield from _send(self, event)


def _send_answer(self: _http1.Http1Server, event: HttpEvent) -> Commands:
    """A mask that holds everything back gives nothing to send: as a chunk, that nothing would be the body's end."""
    if isinstance(event, ResponseData) and not event.data:
        return
    yield from _send_response(self, event)


def _bounded_wait(self: _http1.Http1Connection, event: events.Event) -> Commands:
    yield from _wait(self, event)
    if len(self.buf) > MAX_PIPELINED:
        raise ValueError("too much was sent ahead of a response")


def _make_body_reader(expected_size: int | None) -> Any:
    return _NoTrailers() if expected_size is None else _make_reader(expected_size)


def _problem(status: int) -> bytes:
    reason = "the request is malformed" if status < 500 else "the upstream gave no answer that can be delivered"
    return problem(status, policy="onrecord:protocol", reason=reason).raw_content or b""


def make_error_response(status_code: int, message: str = "") -> bytes:  # noqa: ARG001
    """In place of mitmproxy's page, whose message may quote bytes that nobody has recorded."""
    content = _problem(status_code)
    head = b"HTTP/1.1 %d Refused\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\n"
    return head % (status_code, len(content)) + b"connection: close\r\n\r\n" + content


def _starts_interim(start: bytes) -> bool:
    """Whether a response head is interim (1xx) and not the end of HTTP on this connection (101)."""
    return start.startswith(b"HTTP/1.") and start[9:10] == b"1" and start[9:12] != b"101" and start[8:9] == b" "


class _NoTrailers(ChunkedReader):
    """A chunked body without its trailers."""

    def __call__(self, buf: Any) -> Any:
        event = super().__call__(buf)
        if isinstance(event, h11.EndOfMessage) and event.headers:
            return h11.EndOfMessage()
        return event


def replace_manager(manager: Any, dispatch: StrictDispatch, on_unload: Callable[[str], None]) -> None:
    """Make mitmproxy's addon manager hand every event of the traffic to `dispatch`.

    `load` and `configure` of the addons that are already there stay as they are; an addon that is removed, or one that
    is added later, ends the process (`on_unload`).
    """

    async def trigger_event(event: hooks.Hook) -> None:
        await dispatch.dispatch(event)

    async def handle_lifecycle(event: hooks.Hook) -> None:
        await dispatch.dispatch(event)

    async def invoke_addon(addon: object, event: hooks.Hook) -> None:
        raise RuntimeError(f"{event.name} for {type(addon).__name__} goes through strict dispatch only")

    def remove(addon: object) -> None:
        on_unload(f"an addon was removed: {getattr(addon, 'name', type(addon).__name__)}")

    def clear() -> None:
        on_unload("all addons were removed")

    manager.trigger_event = trigger_event
    manager.handle_lifecycle = handle_lifecycle
    manager.invoke_addon = invoke_addon
    manager.remove = remove
    manager.clear = clear
