"""The head of a request, checked and cleaned in one pass. Pure: header fields in, a Head or a HeadError out.

mitmproxy checks names, content-length and transfer-encoding; it lets through folded lines, control bytes, any size,
hop-by-hop tricks and headers by which a server is told of another method, path or caller than the one decided on.
Names are compared with `_` read as `-`, as CGI, WSGI and Rack do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from onrecord.policies.errors import DecodeError

MAX_HEAD = 64 * 1024
MAX_TARGET = 16 * 1024

Fields = tuple[tuple[bytes, bytes], ...]

_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_TARGET = re.compile(rb"[^\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7b-\x7e]")
_METHOD = re.compile(rb"[A-Z][A-Z0-9-]{0,31}")

_OVERRIDES = frozenset(
    {
        b"x-http-method-override",
        b"x-http-method",
        b"x-method-override",
        b"x-original-method",
        b"x-original-url",
        b"x-original-uri",
        b"x-rewrite-url",
        b"x-override-url",
        b"x-http-path-override",
        b"x-envoy-original-path",
        b"x-accel-redirect",
        b"x-host",
        b"x-http-host-override",
        b"x-original-host",
    }
)
# What a server behind a proxy may believe about the caller: the agent has no say in it.
_SPOOFS = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"client-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
        b"fastly-client-ip",
        b"x-originating-ip",
        b"x-remote-ip",
        b"x-remote-addr",
        b"remote-user",
        b"x-remote-user",
        b"x-remote-group",
        b"x-remote-groups",
        b"x-webauth-user",
        b"x-ssl-client-cert",
        b"x-client-cert",
    }
)
_SPOOF_PREFIXES = (b"x-forwarded-", b"x-auth-request-", b"x-remote-extra-", b"x-ssl-client-", b"x-ms-client-principal")
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"http2-settings",
        b"upgrade",
        b"alt-used",
    }
)
_ONCE = frozenset(
    {b"host", b"content-type", b"content-encoding", b"content-length", b"transfer-encoding", b"expect", b"upgrade"}
)
# A header that the connection header may not take away from the server.
_PROTECTED = frozenset(
    {
        b"host",
        b"authorization",
        b"cookie",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
    }
)
_SPECIAL = (
    _OVERRIDES
    | _SPOOFS
    | _HOP_BY_HOP
    | _ONCE
    | frozenset({b"te", b"transfer-encoding", b"accept-encoding", b"trailer", b"connection"})
)
_PREFIX_STARTS = tuple({prefix[:2] for prefix in _SPOOF_PREFIXES})


class HeadError(DecodeError):
    """A head that is refused: with which status, why, and what to do."""

    def __init__(self, status: int, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.hint = status, reason, hint


@dataclass(slots=True)
class Head:
    """What was found. `fields` is what goes upstream: no hop-by-hop fields, no spoofs, no credentials for the proxy."""

    fields: list[tuple[bytes, bytes]]
    host: bytes | None = None
    content_type: str = ""
    content_encoding: str = ""
    content_length: int | None = None
    chunked: bool = False
    websocket: bool = False
    spdy: bool = False
    proxy_authorization: bytes | None = None
    trailers: bool = False
    close: bool = False  # the client wants the connection closed behind the answer

    @property
    def grpc(self) -> bool:
        """Whether it says it is a gRPC call, streamed in both directions (application/grpc, application/grpc+proto)."""
        media = self.content_type.partition(";")[0].strip().lower()
        return self.trailers and (media == "application/grpc" or media.startswith("application/grpc+"))


def check_request_line(method: bytes, target: bytes, http_version: bytes) -> None:
    """Raises HeadError for a method, target or version that is refused."""
    if not _METHOD.fullmatch(method):
        raise HeadError(400, f"not a method in its usual form: {method[:40]!r}", "methods are upper case")
    if method in (b"TRACE", b"TRACK", b"CONNECT", b"PRI"):
        raise HeadError(405, f"{method.decode()} is not supported")
    if len(target) > MAX_TARGET:
        raise HeadError(431, f"a request target of {len(target)} bytes is over the limit of {MAX_TARGET}")
    if not (target.startswith(b"/") or (target == b"*" and method == b"OPTIONS")):
        raise HeadError(400, "a request target must start with a slash")
    if _BAD_TARGET.search(target):
        raise HeadError(400, "the request target holds a character that must be percent-encoded")
    if http_version not in (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"):
        raise HeadError(400, f"HTTP version {http_version[:20]!r} is not supported")


def check_opening(head: Head, method: bytes, http_version: bytes) -> None:
    """A WebSocket opens with a bare GET (RFC 6455 §4.1): anything else would be judged as what it is not."""
    if head.spdy and (
        method not in (b"GET", b"POST") or http_version != b"HTTP/1.1" or head.chunked or head.content_length
    ):
        raise HeadError(400, "SPDY/3.1 opens with an HTTP/1.1 GET or POST without a body")
    if head.websocket and (method != b"GET" or http_version != b"HTTP/1.1" or head.chunked or head.content_length):
        raise HeadError(400, "a WebSocket opens with an HTTP/1.1 GET without a body")


def read_head(fields: Fields) -> Head:  # noqa: C901  one pass over the fields is the point
    """Check and clean header fields. Raises HeadError."""
    head = Head(fields=[])
    keep = head.fields
    size = 0
    seen: set[bytes] = set()
    connection: list[bytes] = []
    upgrade = b""
    for name, value in fields:
        size += len(name) + len(value)
        lower = name.lower()
        key = lower.replace(b"_", b"-") if b"_" in lower else lower
        if _BAD_VALUE.search(value):
            raise HeadError(400, f"the header {name[:60]!r} holds a control character or a folded line")
        if key not in _SPECIAL and not key.startswith(_PREFIX_STARTS):
            keep.append((name, value))
            continue
        if key in _OVERRIDES:
            raise HeadError(400, f"the header {lower.decode()} asks for another request than the one decided on")
        if key in _ONCE:
            if key in seen:
                raise HeadError(400, f"the header {lower.decode()} stands there twice")
            seen.add(key)
            if key != lower:
                raise HeadError(400, f"the header {lower.decode()} is read as {key.decode()} by some servers")
        if key in _SPOOFS or key.startswith(_SPOOF_PREFIXES):
            continue
        if key == b"connection":
            connection.extend(token.strip().lower() for token in value.split(b","))
        elif key == b"upgrade":
            upgrade = value.strip().lower()
        elif key == b"proxy-authorization":
            if head.proxy_authorization is not None:
                raise HeadError(400, "two proxy-authorization headers")
            head.proxy_authorization = value
        elif key in _HOP_BY_HOP or key in (b"accept-encoding", b"trailer"):
            continue
        elif key == b"te":
            head.trailers = b"trailers" in value.lower()
        else:
            _note(head, key, value)
            keep.append((name, value))
    if size > MAX_HEAD:
        raise HeadError(431, f"header fields of {size} bytes are over the limit of {MAX_HEAD}")
    if connection:
        head.close = b"close" in connection
        _drop_nominated(head, connection)
    if upgrade:
        _read_upgrade(head, upgrade)
    if head.trailers:
        keep.append((b"te", b"trailers"))
    return head


def _note(head: Head, key: bytes, value: bytes) -> None:
    if key == b"host":
        head.host = value
    elif key == b"content-type":
        head.content_type = value.decode("latin-1")
    elif key == b"content-encoding":
        head.content_encoding = value.decode("latin-1").strip().lower()
    elif key == b"content-length":
        head.content_length = int(value)
    elif key == b"transfer-encoding":
        if value.strip().lower() != b"chunked":
            raise HeadError(400, "a transfer-encoding other than chunked is not supported")
        head.chunked = True
    elif key == b"expect" and value.strip().lower() != b"100-continue":
        raise HeadError(417, "an expectation other than 100-continue is not supported")


def _drop_nominated(head: Head, tokens: list[bytes]) -> None:
    """RFC 9110 §7.6.1: what the connection header names goes no further; what matters may not be named."""
    nominated = {token for token in tokens if token} - {b"close", b"keep-alive", b"upgrade", b"te"}
    if nominated & _PROTECTED:
        raise HeadError(400, f"the connection header names {min(nominated & _PROTECTED).decode()}")
    if nominated:
        head.fields[:] = [(name, value) for name, value in head.fields if name.lower() not in nominated]


def _read_upgrade(head: Head, upgrade: bytes) -> None:
    if upgrade == b"websocket":
        head.websocket = True
        # Without extensions every frame's bytes are what is decided and recorded; no peer can ask for inflation.
        head.fields[:] = [(n, v) for n, v in head.fields if n.lower() != b"sec-websocket-extensions"]
        head.fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    elif upgrade == b"spdy/3.1":
        head.spdy = True
        head.fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1")]
    elif upgrade not in (b"h2c", b"h2c,websocket"):
        raise HeadError(400, f"an upgrade to {upgrade[:40]!r} is not supported", "only websocket is")
