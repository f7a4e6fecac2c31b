"""The mitmproxy layer behind a 101 to exec, attach or port-forward: carrier → wire → record → wire → carrier.

In place of mitmproxy's WebSocket layer, and of the opaque TCP layer that it would have for SPDY/3.1. What cannot be
read ends both connections: with a Status on the error stream where there is one, and a close frame where there is one.

Written against mitmproxy 12.2.3 (proxy/layers/http/__init__.py, flow_done).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers import websocket

from onrecord.addons.kubernetes_api.streams.audit import StreamAudit
from onrecord.addons.kubernetes_api.streams.carriers import BareCarrier, Carrier, Closed, Reply, WebSocketCarrier
from onrecord.addons.kubernetes_api.streams.channels import ChannelWire
from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.events import Accepted, Data, Ended, Event, Opened, Pinged
from onrecord.addons.kubernetes_api.streams.protocols import TUNNEL, Opening
from onrecord.addons.kubernetes_api.streams.spdy import SpdyWire
from onrecord.policies.errors import OnrecordError, StoreError

KEY = "onrecord.kubernetes_stream"
ALIVE = 60.0  # seconds between two pings: a silent shell is no idle connection, and a peer that is gone is found out
PING_TO_CLIENT, PING_TO_SERVER = 0x7FFFFFFE, 0x7FFFFFFD  # SPDY: even from a server, odd from a client
HOLD = 0.02  # seconds that a terminal's output waits for more of its line where masks hold

Commands = Generator[commands.Command, Any, None]


class Conversation:
    """What the layer needs of one upgraded connection; made by the addon when the server has switched."""

    def __init__(
        self, opening: Opening, protocol: str, audit: StreamAudit, blocked: Callable[[], str] = lambda: ""
    ) -> None:
        self.audit = audit
        self.blocked = blocked  # why the whole connection was ended: a kill, a token that expired
        self.port_refusal = ""  # the addon's answer to ForwardPortHook
        self.asked_port = 0
        self.wire: ChannelWire | SpdyWire
        if opening.carrier == "spdy" or protocol == TUNNEL:
            self.wire = SpdyWire("forward" if audit.is_forward else "command")
        else:
            self.wire = ChannelWire(protocol, opening.ports if audit.is_forward else None)
        self.carrier: Carrier
        if opening.carrier == "spdy":
            self.carrier = BareCarrier()
        else:
            self.carrier = WebSocketCarrier(text=isinstance(self.wire, ChannelWire) and self.wire.is_text)


@dataclass
class ForwardPortHook(commands.StartHook):  # type: ignore[no-untyped-call]
    """A forward opens a connection to a port for the first time: `asked_port` is to be decided."""

    name = "forward_port"
    flow: http.HTTPFlow


class StreamLayer(Layer):
    """Relays what the audit let through, and nothing else."""

    def __init__(self, context: Context, flow: http.HTTPFlow, conversation: Conversation) -> None:
        super().__init__(context)
        self.flow, self._talk = flow, conversation
        self._audit, self._wire, self._carrier = conversation.audit, conversation.wire, conversation.carrier
        self._wakes = self._is_over = False
        self._alive = commands.RequestWakeup(ALIVE)

    def _handle_event(self, event: events.Event) -> Commands:
        if self._is_over:
            return
        try:
            if isinstance(event, events.Start):
                yield from self._begin()
            elif isinstance(event, events.Wakeup) and event.command is self._alive:
                yield from self._ping()
            elif isinstance(event, events.Wakeup):
                self._wakes = False
                yield from self._relay(self._audit.release(), to_client=True)
            elif isinstance(event, events.DataReceived):
                yield from self._received(event.data, from_client=event.connection == self.context.client)
            elif isinstance(event, events.ConnectionClosed):
                yield from self._closed(from_client=event.connection == self.context.client)
            else:
                raise TypeError(f"unexpected event {type(event).__name__}")
            if not self._is_over and self._audit.holds_back and not self._wakes:
                self._wakes = True
                yield commands.RequestWakeup(HOLD)
        except OnrecordError as error:
            yield from self._fail(error)
        except Exception:
            self._is_over = True
            self._audit.abort("the gateway failed while it relayed this stream")
            raise  # gateway_core.py closes the connection: not a byte more, either way

    # --- what comes

    def _begin(self) -> Commands:
        yield self._alive
        if isinstance(self._wire, ChannelWire):
            for event in self._wire.opening():
                if isinstance(event, Opened) and not (yield from self._is_allowed(event)):
                    raise StreamError(self._talk.port_refusal)
                for _ in self._audit.take(event, from_client=True):
                    pass

    def _ping(self) -> Commands:
        for to_client in (True, False):
            data = self._carrier.ping(to_client=to_client)
            if not data and isinstance(self._wire, SpdyWire):
                ping = Pinged(PING_TO_CLIENT if to_client else PING_TO_SERVER)
                data = self._packed(ping, to_client=to_client)
            yield self._send(data, to_client=to_client)
        self._alive = commands.RequestWakeup(ALIVE)
        yield self._alive

    def _received(self, data: bytes, *, from_client: bool) -> Commands:
        for piece in self._carrier.receive(data, from_client=from_client):
            if isinstance(piece, Reply):
                yield self._send(piece.data, to_client=from_client)
            elif isinstance(piece, Closed):
                yield from self._end(from_client=from_client, code=piece.code)
                return
            else:
                for event in self._wire.feed(piece.data, from_client=from_client, whole=piece.whole):
                    yield from self._event(event, from_client=from_client)

    def _event(self, event: Event, *, from_client: bool) -> Commands:
        if isinstance(event, Pinged):
            yield self._send(self._packed(event, to_client=from_client), to_client=from_client)
            return
        if isinstance(event, Opened) and self._audit.is_forward and not (yield from self._is_allowed(event)):
            yield from self._refuse_port(event)
            return
        yield from self._relay(self._audit.take(event, from_client=from_client), to_client=not from_client)

    def _relay(self, allowed: Iterator[Event], *, to_client: bool) -> Commands:
        for event in allowed:
            packed = self._packed(event, to_client=to_client)
            if packed:
                yield self._send(packed, to_client=to_client)

    # --- ports of a forward

    def _is_allowed(self, event: Opened) -> Generator[commands.Command, Any, bool]:
        if self._audit.is_decided(event.port):
            return True
        self._talk.asked_port, self._talk.port_refusal = event.port, ""
        yield ForwardPortHook(self.flow)
        if not self._audit.is_decided(event.port) and not self._talk.port_refusal:
            raise StreamError("nobody decided on a port")
        return self._audit.is_decided(event.port)

    def _refuse_port(self, event: Opened) -> Commands:
        """The client is answered in the server's place; nothing of this stream goes on."""
        answers: list[Event] = [Accepted(event.stream)]
        if event.kind == "error":
            answers.append(Data(event.stream, "error", self._talk.port_refusal.encode()))
        answers.append(Ended(event.stream, event.kind))
        for answer in answers:
            yield self._send(self._packed(answer, to_client=True), to_client=True)
        if isinstance(self._wire, SpdyWire):
            self._wire.drop(event.stream)

    # --- the end

    def _closed(self, *, from_client: bool) -> Commands:
        self._wire.close(from_client=from_client)
        yield from self._end(from_client=from_client, code=1000)

    def _end(self, *, from_client: bool, code: int) -> Commands:
        if not from_client:
            yield from self._relay(self._audit.release(), to_client=True)
        blocked = self._talk.blocked()
        if blocked:
            self._audit.abort(blocked)
        else:
            self._audit.finish(f"closed by the {'client' if from_client else 'server'}")
        yield from self._close(code, "")

    def _fail(self, error: OnrecordError) -> Commands:
        """A clear end for the client: what was wrong is on record."""
        reason = str(error) if not isinstance(error, StoreError) else "the stream could not be recorded"
        self._audit.abort(reason)
        stream = self._audit.error_stream if isinstance(self._wire, SpdyWire) else 3
        if stream is not None and not self._audit.is_forward:
            text = f"onrecord: {reason} [record {self._audit.account.decision.id}]"
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": text}
            payload = json.dumps(status | {"reason": "InternalError", "code": 500}) if self._audit.as_json else text
            told = Data(stream, "error", payload.encode())
            yield self._send(self._packed(told, to_client=True), to_client=True)
            if isinstance(self._wire, SpdyWire):
                yield self._send(self._packed(Ended(stream, "error"), to_client=True), to_client=True)
        yield from self._close(1008, f"onrecord: {reason}")

    def _close(self, code: int, reason: str) -> Commands:
        self._is_over = True
        self.flow.live = False
        for to_client in (False, True):
            yield self._send(self._carrier.close(code, reason, to_client=to_client), to_client=to_client)
            yield commands.CloseConnection(self.context.client if to_client else self.context.server)

    # --- bytes

    def _packed(self, event: Event, *, to_client: bool) -> bytes:
        payload = self._wire.encode(event, to_client=to_client)
        return self._carrier.send(payload, to_client=to_client) if payload else b""

    def _send(self, data: bytes, *, to_client: bool) -> commands.SendData:
        return commands.SendData(self.context.client if to_client else self.context.server, data)


def install() -> None:
    """Use this layer where a conversation was made for a flow; any other WebSocket stays what it is."""
    module: Any = websocket
    other = module.WebsocketLayer

    def choose(context: Context, flow: http.HTTPFlow) -> Layer:
        conversation = flow.metadata.get(KEY)
        if isinstance(conversation, Conversation):
            return StreamLayer(context, flow, conversation)
        layer: Layer = other(context, flow)
        return layer

    module.WebsocketLayer = choose
