"""mitmproxy's WebSocket relay, without the ways round it.

Ping, Pong and Close carry up to 125 bytes that no hook sees, and a fragmented message may grow without end. Here each
hop answers its own pings, what a client says when it closes is cut, messages are bounded, and the end is on record
before it is delivered.

Written against mitmproxy 12.2.3 (proxy/layers/websocket.py).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import wsproto.events
from mitmproxy import websocket as message_types
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers import websocket
from wsproto.connection import ConnectionState
from wsproto.frame_protocol import CloseReason, Opcode

MAX_MESSAGE = 16 * 1024 * 1024
REFUSAL = "onrecord.websocket_refusal"
_MAX_REASON = 120

Commands = Generator[commands.Command, Any, None]


class AuditedWebsocketLayer(websocket.WebsocketLayer):
    """Relays whole messages that a hook let through, and nothing else."""

    def relay_messages(self, event: events.Event) -> Commands:
        """Bytes or the end of a connection, from either side."""
        if not isinstance(event, events.ConnectionEvent):
            raise TypeError(f"unexpected event {type(event).__name__}")
        from_client = event.connection == self.context.client
        source, target = (self.client_ws, self.server_ws) if from_client else (self.server_ws, self.client_ws)
        source.receive_data(event.data if isinstance(event, events.DataReceived) else None)
        for frame in source.events():
            if isinstance(frame, wsproto.events.Message):
                yield from self._message(frame, source, target, from_client=from_client)
            elif isinstance(frame, wsproto.events.Ping):
                yield source.send2(frame.response())
            elif isinstance(frame, wsproto.events.Pong):
                pass
            elif isinstance(frame, wsproto.events.CloseConnection):
                yield from self._close(frame.code, frame.reason or "", by_client=from_client)
            else:
                raise TypeError(f"unexpected frame {type(frame).__name__}")
            if self._handle_event == self.done:
                return

    _handle_event = websocket.WebsocketLayer.start

    def _message(
        self,
        frame: wsproto.events.Message[Any],
        source: websocket.WebsocketConnection,
        target: websocket.WebsocketConnection,
        *,
        from_client: bool,
    ) -> Commands:
        is_text = isinstance(frame.data, str)
        source.frame_buf[-1] += frame.data.encode() if is_text else bytes(frame.data)
        if sum(map(len, source.frame_buf)) > MAX_MESSAGE:
            raise ValueError("a WebSocket message over the limit")
        if not frame.message_finished:
            if frame.frame_finished and len(source.frame_buf) > 1024:
                source.frame_buf = [b"".join(source.frame_buf)]
            if frame.frame_finished:
                source.frame_buf.append(b"")
            return
        content = b"".join(source.frame_buf)
        fragments = websocket.Fragmentizer(source.frame_buf, is_text)
        source.frame_buf = [b""]
        message = message_types.WebSocketMessage(Opcode.TEXT if is_text else Opcode.BINARY, from_client, content)
        if self.flow.websocket is None:
            raise RuntimeError("no WebSocket")
        self.flow.websocket.messages.append(message)
        yield websocket.WebsocketMessageHook(self.flow)
        refusal = self.flow.metadata.pop(REFUSAL, None)
        if refusal is not None:
            yield from self._close(CloseReason.POLICY_VIOLATION, str(refusal), by_client=False)
        elif not message.dropped:
            for part in fragments(message.content):
                yield target.send2(part)

    def _close(self, code: int, reason: str, *, by_client: bool) -> Commands:
        data = self.flow.websocket
        if data is None:
            raise RuntimeError("no WebSocket")
        data.timestamp_end = time.time()
        data.closed_by_client, data.close_code = by_client, code
        data.close_reason = reason
        yield websocket.WebsocketEndHook(self.flow)
        reason = data.close_reason or ""  # without the gateway's credential
        self.flow.live = False
        for side in (self.server_ws, self.client_ws):
            if side.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
                # Towards the server only the code goes: a reason would be words that nobody decided on.
                text = "" if side is self.server_ws else reason.encode()[:_MAX_REASON].decode("utf-8", "ignore")
                frame = wsproto.events.CloseConnection(code=code, reason=text or None)
                yield side.send2(frame)
            yield commands.CloseConnection(side.conn)
        self._handle_event = self.done


def install() -> None:
    """Use this layer for every WebSocket from now on."""
    module: Any = websocket
    module.WebsocketLayer = AuditedWebsocketLayer  # mitmproxy looks it up in its module at each upgrade
