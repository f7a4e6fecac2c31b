"""Responses: recorded before they are delivered, whole where they are small, piece by piece where they flow."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mitmproxy import http

from onrecord.addons.credentials import Credential
from onrecord.addons.decoding import CodingError, decode_body
from onrecord.addons.early_answer import answer, is_bodiless
from onrecord.addons.egress import Route
from onrecord.addons.exchange import Exchange, exchange_of
from onrecord.addons.http_command import read_headers
from onrecord.addons.http_head import MAX_HEAD
from onrecord.addons.peers import Peers
from onrecord.addons.problem import problem
from onrecord.addons.response_masks import ResponseMasks, add
from onrecord.addons.streams import Stream
from onrecord.addons.strict_dispatch import kill_flow
from onrecord.policies.errors import StoreError
from onrecord.policies.model import Outcome, body_text
from onrecord.recordings.auditor import Auditor, elapsed_ms

log = logging.getLogger(__name__)

MAX_BUFFERED = 64 * 1024
_DROPPED = frozenset(
    {
        b"alt-svc",
        b"alternates",
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-connection",
        b"trailer",
        b"upgrade",
        b"http2-settings",
    }
)


class HttpResponses:
    """The response half of the audit: `responseheaders`, `unexpected_body` and `response`."""

    def __init__(
        self,
        peers: Peers,
        auditor: Auditor,
        credential: Callable[[Route], Credential | None],
        masks: ResponseMasks,
        *,
        body_limit: int,
        sample_limit: int,
    ) -> None:
        self._peers, self._auditor, self._credential, self._masks = peers, auditor, credential, masks
        self._limit, self._buffered = body_limit, min(sample_limit, MAX_BUFFERED)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """The upstream's head is there: clean it, and choose between buffering and streaming."""
        exchange, response = exchange_of(flow), flow.response
        if exchange is None or exchange.decision is None or not exchange.decision.allowed or response is None:
            raise RuntimeError("a response nobody asked for")
        try:
            self._examine(flow, exchange, response)
        except Exception as error:
            self._abort(exchange, f"the answer was not delivered: {_why(error)}")
            if type(error) is not ValueError:
                raise
            reason, record = f"the answer was not delivered: {error}", exchange.decision.id
            is_head = flow.request.method == "HEAD"
            refusal = exchange.dialect.refusal(
                502, policy="onrecord:gateway", reason=reason, record=record, head=is_head
            )
            answer(flow, refusal)

    def _examine(self, flow: http.HTTPFlow, exchange: Exchange, response: http.Response) -> None:
        """Raises ValueError for an answer that may not be delivered."""
        fields = response.headers.fields
        if sum(len(name) + len(value) for name, value in fields) > MAX_HEAD:
            raise ValueError("an upstream's header fields are over the limit")
        switching = response.status_code == 101
        close = exchange.head.close or any(n.lower() == b"connection" and b"close" in v.lower() for n, v in fields)
        credential = self._credential(exchange.route)
        scrub = credential.scrub if credential is not None and credential.needles else None
        kept = [(n, scrub(v) if scrub else v) for n, v in fields if n.lower() not in _DROPPED]
        if switching:
            kept = exchange.dialect.switched(exchange, response, kept)
        elif close:
            kept.append((b"Connection", b"close"))
        response.data.headers = http.Headers(kept)
        if scrub:
            response.data.reason = scrub(response.data.reason)
        self._masks.head(exchange, response)
        if not switching and not is_bodiless(exchange.method, response.status_code):
            self._choose(flow, exchange, response, credential)

    def unexpected_body(self, flow: http.HTTPFlow) -> None:
        """A body comes with a response that has none: neither is delivered."""
        exchange = exchange_of(flow)
        reason = "the upstream sent a body with an answer that has none"
        record = ""
        if exchange is not None:
            self._abort(exchange, reason)
            record = exchange.decision.id if exchange.decision is not None else ""
        is_head = flow.request.method == "HEAD"
        refusal = exchange.dialect.refusal if exchange is not None else problem
        answer(flow, refusal(502, policy="onrecord:gateway", reason=reason, record=record, head=is_head))

    def response(self, flow: http.HTTPFlow) -> None:
        """All of it is there: the outcome goes on record before the end is delivered."""
        exchange, response = exchange_of(flow), flow.response
        if exchange is None or exchange.decision is None or response is None:
            raise RuntimeError("a response nobody asked for")
        if response.trailers and (credential := self._credential(exchange.route)) is not None:
            response.trailers = http.Headers([(n, credential.scrub(v)) for n, v in response.trailers.fields])
        self._masks.trailers(exchange, response)
        if exchange.down is not None:
            self._end_stream(flow, exchange, response)
            return
        if flow.websocket is not None:
            return  # the outcome of an opening is that of its messages: websocket_audit.py
        try:
            self._finish_buffered(flow, exchange, response)
        except StoreError as error:
            log.error("an answer is held back: %s", error)  # noqa: TRY400  its place is known
            record = exchange.decision.id
            reason = "the answer could not be recorded, so it is not delivered"
            answer(flow, exchange.dialect.refusal(503, policy="onrecord:store", reason=reason, record=record))
            self._abort(exchange, reason)
        except Exception as error:
            self._abort(exchange, f"the answer was not delivered: {_why(error)}")
            raise

    def _choose(
        self, flow: http.HTTPFlow, exchange: Exchange, response: http.Response, credential: Credential | None
    ) -> None:
        length = response.headers.get("content-length")
        expected = int(length) if length is not None and length.isdigit() else None
        mask = exchange.dialect.mask(exchange, response, self._masks) if expected != 0 else None
        if mask is not None:  # its length is known when it has all come
            expected = None
            response.headers.pop("content-length", None)
        keeps = exchange.dialect.keeps_answer(exchange)
        if keeps and expected is not None and expected <= self._buffered:
            return
        encoded = response.headers.get("content-encoding", "identity").lower() not in ("identity", "")
        if encoded and credential is not None and credential.needles:
            # We asked for identity; what is encoded nevertheless could carry our credential past the scrubber.
            raise ValueError("an upstream's stream has a content coding that was not asked for")
        if expected is None and flow.request.http_version == "HTTP/1.1" and not _is_chunked(response):
            # Ended by closing upstream: towards the client the end gets a mark, so that a cut can be told from it.
            response.headers["transfer-encoding"] = "chunked"

        def fail(reason: str) -> None:
            self._abort(exchange, reason)
            kill_flow(flow)
            self._peers.kill(exchange.peer.id, reason)

        def end() -> None:
            # Where the length is unknown, trailers may follow: the outcome waits for the `response` hook.
            if expected is not None:
                self._finish_stream(exchange, response)

        exchange.down = Stream(
            exchange,
            self._auditor,
            "to_client",
            limit=self._limit if keeps else 0,
            expected=expected,
            on_end=end,
            on_failure=fail,
            scrub=credential,
            mask=mask,
        )
        response.stream = exchange.down

    def _end_stream(self, flow: http.HTTPFlow, exchange: Exchange, response: http.Response) -> None:
        down = exchange.down
        if down is None or down.broken:
            kill_flow(flow)
            return
        if not exchange.finished:
            try:
                self._finish_stream(exchange, response)
            except StoreError as error:
                log.error("the end of an answer is held back: %s", error)  # noqa: TRY400
                self._abort(exchange, str(error))
                kill_flow(flow)

    def _finish_stream(self, exchange: Exchange, response: http.Response) -> None:
        down, decision = exchange.down, exchange.decision
        if down is None or decision is None or exchange.finished:
            return
        trailers = response.trailers
        self._auditor.finish(
            decision,
            Outcome(
                status="ok" if response.status_code < 400 else "error",
                code=str(response.status_code),
                bytes=down.size,
                size=down.size,
                duration_ms=elapsed_ms(decision.started),
                digest=down.digest(),
                masked=_counted(exchange, down),
                sample={
                    "headers": read_headers(list(response.headers.fields)),
                    "trailers": read_headers(list(trailers.fields)) if trailers else [],
                },
            ),
        )
        exchange.finished = True

    def _finish_buffered(self, flow: http.HTTPFlow, exchange: Exchange, response: http.Response) -> None:
        decision = exchange.decision
        if decision is None or exchange.finished:
            return
        content = response.data.content or b""
        credential = self._credential(exchange.route)
        readable = content
        coding = response.headers.get("content-encoding")
        if coding and content:
            try:
                readable = decode_body(content, coding, self._limit)
            except CodingError as error:
                if credential is not None and credential.needles:
                    raise ValueError(f"an upstream's answer cannot be read: {error}") from None
        if credential is not None and credential.needles and content:
            clean = credential.scrub(readable)
            if clean is not readable and clean != readable:
                content = readable = clean
                response.headers.pop("content-encoding", None)
                response.headers["content-length"] = str(len(content))
                response.data.content = content
        if flow.response is not None and response.trailers:
            sample_trailers = read_headers(list(response.trailers.fields))
        else:
            sample_trailers = ()
        digest = ""
        if content:
            keyed = decision.opened.digest()
            keyed.update(content)
            digest = keyed.hexdigest()
            if exchange.method != "HEAD" and flow.request.is_http2 is False and not _is_framed(response):
                response.headers["content-length"] = str(len(content))
        sample: dict[str, object] = {"headers": read_headers(list(response.headers.fields))}
        if content:
            sample["body"] = body_text(readable[: self._buffered])
        if sample_trailers:
            sample["trailers"] = sample_trailers
        self._auditor.finish(
            decision,
            Outcome(
                status="ok" if response.status_code < 400 else "error",
                code=str(response.status_code),
                bytes=len(content),
                size=len(content),
                duration_ms=elapsed_ms(decision.started),
                digest=digest or None,
                masked=exchange.masked,
                sample=sample,
            ),
        )
        exchange.finished = True

    def _abort(self, exchange: Exchange, reason: str) -> None:
        if exchange.decision is not None and not exchange.finished:
            exchange.finished = True
            self._auditor.abort(exchange.decision, reason)


def _counted(exchange: Exchange, down: Stream) -> dict[str, int]:
    add(exchange.masked, down.masked)
    return exchange.masked


def _why(error: Exception) -> str:
    """Our own words about an answer; any other exception may quote what an upstream sent."""
    return str(error) if type(error) is ValueError else type(error).__name__


def _is_chunked(response: http.Response) -> bool:
    return "chunked" in response.headers.get("transfer-encoding", "").lower()


def _is_framed(response: http.Response) -> bool:
    return "content-length" in response.headers or "transfer-encoding" in response.headers
