"""WebSocket messages: each of the agent's is a command of its own, each of the server's a recorded chunk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage

from onrecord.addons.credentials import Credential
from onrecord.addons.early_answer import has_left
from onrecord.addons.egress import Route
from onrecord.addons.exchange import Exchange, exchange_of
from onrecord.addons.http_command import build_command
from onrecord.addons.response_masks import ResponseMasks
from onrecord.addons.waiting import decided
from onrecord.addons.websocket_layer import REFUSAL
from onrecord.policies.masking import MaskError
from onrecord.policies.model import Outcome, body_text
from onrecord.recordings.approvals.bound import DATA, PLAIN, Bound
from onrecord.recordings.auditor import Auditor, Decision, elapsed_ms

METHOD = "WEBSOCKET"
_TOO_LONG = "the message, which is longer than what is shown"


class WebSockets:
    """Hooks of open WebSockets."""

    def __init__(
        self,
        auditor: Auditor,
        credential: Callable[[Route], Credential | None],
        masks: ResponseMasks,
        *,
        body_limit: int,
    ) -> None:
        self._auditor, self._credential, self._masks, self._limit = auditor, credential, masks, body_limit

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """An opening was decided as a request and accepted by the server."""
        exchange = exchange_of(flow)
        if exchange is None or exchange.decision is None or not exchange.decision.allowed:
            raise RuntimeError("a WebSocket nobody asked for")

    def websocket_message(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """One message, whole: decided or recorded before it goes on."""
        exchange, socket = exchange_of(flow), flow.websocket
        if exchange is None or exchange.decision is None or socket is None or not socket.messages:
            raise RuntimeError("a WebSocket message nobody asked for")
        message = socket.messages[-1]
        socket.messages.clear()
        if not message.from_client:
            try:
                message.content = self._scrub(exchange, message.content, is_text=message.is_text)
            except MaskError as error:
                self._hold_back(flow, exchange, message, f"a message of the server was held back: {error}")
                return None
            self._record_answer(exchange, message)
            return None
        return self._decide(flow, exchange, message)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The outcome of the opening is that of the whole conversation."""
        exchange, socket = exchange_of(flow), flow.websocket
        if exchange is None or exchange.decision is None or socket is None:
            raise RuntimeError("a WebSocket nobody asked for")
        if socket.close_reason:
            try:
                socket.close_reason = self._scrub(exchange, socket.close_reason.encode()).decode("utf-8", "replace")
            except MaskError:
                socket.close_reason = ""
        if exchange.finished:
            return
        self._auditor.finish(
            exchange.decision,
            Outcome(
                status="ok",
                code="101",
                bytes=exchange.to_client,
                size=exchange.to_client,
                duration_ms=elapsed_ms(exchange.decision.started),
                error=(socket.close_reason or None),
                masked=exchange.masked,
                tag=f"closed {socket.close_code} by the {'client' if socket.closed_by_client else 'server'}",
            ),
        )
        exchange.finished = True

    def _scrub(self, exchange: Exchange, data: bytes, *, is_text: bool = True) -> bytes:
        credential = self._credential(exchange.route)
        data = data if credential is None else credential.scrub(data)
        return self._masks.message(exchange, data, is_text=is_text)

    def _hold_back(self, flow: http.HTTPFlow, exchange: Exchange, message: WebSocketMessage, reason: str) -> None:
        """What cannot be searched is not delivered, and ends the conversation."""
        message.content = b""
        message.drop()  # type: ignore[no-untyped-call]
        flow.metadata[REFUSAL] = reason
        if exchange.decision is not None and not exchange.finished:
            exchange.finished = True
            self._auditor.abort(exchange.decision, reason)

    def _record_answer(self, exchange: Exchange, message: WebSocketMessage) -> None:
        decision = exchange.decision
        if decision is None:
            raise RuntimeError("a WebSocket message without its opening")
        kept = message.content[: self._limit]
        digest = ""
        if len(kept) < len(message.content):
            keyed = decision.opened.digest()
            keyed.update(message.content)
            digest = keyed.hexdigest()
        self._auditor.chunk(
            decision,
            "to_client",
            len(message.content),
            data=body_text(kept),
            digest=digest,
            note="text message" if message.is_text else "binary message",
        )
        exchange.to_client += len(message.content)

    def _decide(self, flow: http.HTTPFlow, exchange: Exchange, message: WebSocketMessage) -> Awaitable[None] | None:
        route, content = exchange.route, message.content
        over = len(content) > self._limit
        command, detail = build_command(
            exchange.opened.session,
            method=METHOD,
            scheme="wss" if route.scheme == "https" else "ws",
            host=route.host,
            port=route.port,
            target=exchange.target,
            fields=[],
            content_type="text/plain" if message.is_text else "application/octet-stream",
            body=None if over else content,
            action="unknown" if over else "write",
        )
        bound = Bound(exact=False, unbound=(DATA, _TOO_LONG)) if over else PLAIN
        answer = self._auditor.submit(exchange.opened, command, detail=detail, bound=bound)
        if isinstance(answer, Decision):
            self._settle(flow, exchange, message, answer)
            return None
        return self._settle_later(flow, exchange, message, answer)

    async def _settle_later(
        self, flow: http.HTTPFlow, exchange: Exchange, message: WebSocketMessage, answer: Awaitable[Decision]
    ) -> None:
        decision = await decided(flow, answer)
        if decision is not None and not (decision.allowed and has_left(flow)):
            self._settle(flow, exchange, message, decision)
            return
        if decision is not None:
            self._auditor.abort(decision, "the client left before the approved message was sent")
        message.content = b""
        message.drop()  # type: ignore[no-untyped-call]
        flow.metadata[REFUSAL] = "the client left while its message waited for approval"

    def _settle(self, flow: http.HTTPFlow, exchange: Exchange, message: WebSocketMessage, decision: Decision) -> None:
        if not decision.allowed or exchange.peer.blocked:
            message.content = b""
            message.drop()  # type: ignore[no-untyped-call]
            flow.metadata[REFUSAL] = decision.message
            return
        exchange.to_upstream += len(message.content)
        self._auditor.finish(
            decision,
            Outcome(status="ok", code="", size=0, duration_ms=elapsed_ms(decision.started), tag="sent"),
        )
