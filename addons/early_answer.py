"""mitmproxy's HTTP stream, with three things it lacks.

- A request can be answered from any hook before its response has begun, without first taking in the rest of its body
  (a refused upload must not fill memory, and a refused response must not be delivered under our status).
- A body that grows over the bound while it is buffered asks a hook (`body_over_bound`) and is then streamed or refused.
- A body with an answer that has none (to HEAD, 204, 304) asks a hook (`unexpected_body`) at its first byte: over
  HTTP/2 such a body could be of any length, and nobody would ever read it.
- A crash inside mitmproxy's protocol code closes the connection (gateway_core.py) instead of leaving it open.

Written against mitmproxy 12.2.3 (proxy/layers/http/__init__.py); `install` checks that what it replaces is there.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http import DropStream, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)

ANSWER = "onrecord.answer"
LIMIT = "onrecord.body_limit"
STREAM = "onrecord.stream"

Commands = Generator[commands.Command, Any, Any]


@dataclass
class BodyOverBoundHook(commands.StartHook):  # type: ignore[no-untyped-call]
    """A request body that is being buffered has outgrown the bound: answer the flow, or set `request.stream`."""

    name = "body_over_bound"
    flow: http.HTTPFlow


@dataclass
class UnexpectedBodyHook(commands.StartHook):  # type: ignore[no-untyped-call]
    """An upstream sends a body with a response that has none: answer the flow with another one."""

    name = "unexpected_body"
    flow: http.HTTPFlow


def is_bodiless(method: str, status: int) -> bool:
    """Whether a response has no body whatever its fields say (RFC 9110, 6.4.1)."""
    return method == "HEAD" or status in (204, 304) or status < 200


def answer(flow: http.HTTPFlow, response: http.Response) -> None:
    """Answer `flow` with `response` as soon as the current hook is done; nothing else of it goes either way."""
    flow.metadata[ANSWER] = response


def is_answered(flow: http.HTTPFlow) -> bool:
    """Whether `answer` was called."""
    return ANSWER in flow.metadata


def has_left(flow: http.HTTPFlow) -> bool:
    """Whether the client has closed its connection, or (HTTP/2) reset this stream, while a hook of the flow waits."""
    if not flow.client_conn.connected:
        return True
    stream = flow.metadata.get(STREAM)
    waiting = getattr(stream, "_paused_event_queue", ())
    return any(isinstance(event, RequestProtocolError) for event in waiting)


_check_killed = HttpStream.check_killed


def check_killed(self: HttpStream, emit_error_hook: bool) -> Commands:
    """Called by HttpStream behind every hook."""
    self.flow.metadata[STREAM] = self
    response = self.flow.metadata.pop(ANSWER, None)
    if response is not None:
        started = self.flow.response is not None and bool(self.flow.response.stream)
        streaming = started and self.server_state in (self.state_stream_response_body, self.state_done)
        if not streaming and not _is_killed(self.flow):
            yield from _respond(self, response)
            return True
        self.flow.error = _killed()
    if _is_killed(self.flow) and self.flow.server_conn.connected and self.context.server is self.flow.server_conn:
        yield SendHttp(RequestProtocolError(self.stream_id, "killed", ErrorCode.CANCEL), self.context.server)
    return (yield from _check_killed(self, emit_error_hook))


def _is_killed(flow: http.HTTPFlow) -> bool:
    return flow.error is not None and flow.error.msg == flow.error.KILLED_MESSAGE


def _killed() -> Any:
    from mitmproxy.flow import Error

    return Error(Error.KILLED_MESSAGE)


def _respond(self: HttpStream, response: http.Response) -> Commands:
    talks_upstream = self.flow.response is not None and self.client_state not in (
        self.state_wait_for_request_headers,
        self.state_uninitialized,
    )
    upstream = self.context.server if talks_upstream and self.context.server is self.flow.server_conn else None
    self.flow.response = response
    self.flow.request.stream = False
    self.request_body_buf.clear()  # type: ignore[no-untyped-call]
    self.response_body_buf.clear()  # type: ignore[no-untyped-call]
    content = response.raw_content
    yield SendHttp(ResponseHeaders(self.stream_id, response, not content), self.context.client)
    if content:
        yield SendHttp(ResponseData(self.stream_id, content), self.context.client)
    self.client_state = self.server_state = self.state_errored
    self.flow.live = False
    yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
    if upstream is not None and upstream.connected:
        yield SendHttp(RequestProtocolError(self.stream_id, "refused", ErrorCode.CANCEL), upstream)
    yield DropStream(self.stream_id)


def check_body_size(self: HttpStream, request: bool) -> Commands:
    """Called by HttpStream for every piece of a body that it buffers."""
    if not request:
        return (yield from _check_answer_body(self))
    if not self.request_body_buf:
        return False
    limit = self.flow.metadata.get(LIMIT)
    if limit is None or len(self.request_body_buf) <= limit:
        return False
    self.flow.metadata[LIMIT] = None
    yield BodyOverBoundHook(self.flow)
    if (yield from self.check_killed(True)):
        return True
    body = bytes(self.request_body_buf)
    self.request_body_buf.clear()  # type: ignore[no-untyped-call]
    if not self.flow.request.stream:
        raise RuntimeError("body_over_bound neither answered nor streamed")
    yield from self.start_request_stream()
    yield from self.handle_event(RequestData(self.stream_id, body))
    return False


def _check_answer_body(self: HttpStream) -> Commands:
    response, method = self.flow.response, self.flow.request.method
    if response is None or not self.response_body_buf or not is_bodiless(method, response.status_code):
        return False
    self.response_body_buf.clear()  # type: ignore[no-untyped-call]
    yield UnexpectedBodyHook(self.flow)
    if (yield from self.check_killed(True)):
        return True
    raise RuntimeError("unexpected_body did not answer")


def install() -> None:
    """Replace the two methods of HttpStream."""
    HttpStream.check_killed = check_killed  # type: ignore[method-assign]
    HttpStream.check_body_size = check_body_size  # type: ignore[method-assign]
