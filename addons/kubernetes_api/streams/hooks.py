"""The hooks of upgraded connections to a cluster: the handover to the stream layer, and the ports of a forward."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import msgspec
from mitmproxy import http
from mitmproxy.websocket import WebSocketData

from onrecord.addons.exchange import Exchange, exchange_of
from onrecord.addons.kubernetes_api.streams.audit import StreamAudit
from onrecord.addons.kubernetes_api.streams.layer import KEY, Conversation
from onrecord.addons.kubernetes_api.streams.protocols import Opening
from onrecord.addons.response_masks import ResponseMasks
from onrecord.policies.model import KubeCommand
from onrecord.recordings.auditor import Auditor, Decision


class KubeStreams:
    """Stands before the hooks of plain responses: a 101 to a cluster's stream is not theirs."""

    def __init__(self, auditor: Auditor, masks: ResponseMasks, *, body_limit: int) -> None:
        self._auditor, self._masks, self._limit = auditor, masks, body_limit

    def response(self, flow: http.HTTPFlow) -> None:
        """The server has switched: from here on the outcome is that of the stream."""
        exchange, response = exchange_of(flow), flow.response
        if exchange is None or response is None or response.status_code != 101 or exchange.opening is None:
            return
        if exchange.decision is None or not exchange.decision.allowed:
            raise RuntimeError("a stream nobody asked for")
        try:
            flow.metadata[KEY] = self._conversation(exchange, exchange.decision)
        except Exception as error:
            exchange.finished = True
            self._auditor.abort(exchange.decision, f"the stream was not begun: {type(error).__name__}")
            raise
        exchange.finished = True
        if flow.websocket is None:
            flow.websocket = WebSocketData()  # mitmproxy then asks for a WebSocket layer: ours is what it gets

    def _conversation(self, exchange: Exchange, decision: Decision) -> Conversation:
        opening, chosen, peer = exchange.opening, exchange.subprotocol, exchange.peer
        if not isinstance(opening, Opening):
            raise TypeError("a stream without its opening")
        audit = StreamAudit(self._auditor, decision, opening, chosen, masks=self._masks.of(exchange), limit=self._limit)
        return Conversation(opening, chosen, audit, lambda: peer.blocked)

    def forward_port(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """The first connection to a port: a command of its own, so that policies see the port."""
        exchange, conversation = exchange_of(flow), flow.metadata.get(KEY)
        if exchange is None or exchange.decision is None or not isinstance(conversation, Conversation):
            raise RuntimeError("a forward nobody asked for")
        port, opened = conversation.asked_port, exchange.decision.command
        if not isinstance(opened, KubeCommand):
            raise TypeError("a forward of another protocol")
        command = msgspec.structs.replace(opened, text=f"{opened.text} {port}", body={"port": port})
        answer = self._auditor.submit(exchange.opened, command)
        if isinstance(answer, Decision):
            _settle(conversation, port, answer)
            return None
        return self._settle_later(exchange, conversation, port, answer)

    async def _settle_later(
        self, exchange: Exchange, conversation: Conversation, port: int, answer: Awaitable[Decision]
    ) -> None:
        task = asyncio.ensure_future(answer)

        def leave(_reason: str) -> None:
            task.cancel()

        exchange.peer.on_close.append(leave)
        try:
            await asyncio.wait({task})
        finally:
            exchange.peer.on_close.remove(leave)
        if task.cancelled():
            conversation.port_refusal = "the client left before the port was decided on"
        else:
            _settle(conversation, port, task.result())


def _settle(conversation: Conversation, port: int, decision: Decision) -> None:
    if decision.allowed:
        conversation.audit.allow_port(port, decision)
    else:
        conversation.port_refusal = decision.message
