"""What every request to the admin process passes, before any page sees it: host, origin, method, size, time; and the
headers that every answer carries.

Pure ASGI. Sources: OWASP CSRF prevention, Fetch Metadata (W3C), CSP Level 3.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 64 * 1024
BODY_DEADLINE = 10.0
MAX_TARGET = 4096
_SAFE = frozenset({"GET", "HEAD"})
_METHODS = _SAFE | {"POST"}
_FRAMES = frozenset({"iframe", "frame", "embed", "object", "fencedframe"})

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer browsers write "Origin: null" into our own forms
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "x-robots-tag": "noindex, nofollow",
}

OnRefusal = Callable[[Scope, str], None]


class Guard:
    """Wraps the application. `origin` is what browsers write into Origin; `hosts` what Host may say.

    `api` is the path prefix of requests that carry their own token: those with no cookie need no Origin. `signed` are
    paths that others' servers call, which sign what they send. `on_refusal` is told of what looks like an attack.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        origin: str,
        hosts: Iterable[str],
        api: str = "/api/",
        signed: Iterable[str] = (),
        on_refusal: OnRefusal | None = None,
    ) -> None:
        self._app, self._origin = app, origin
        self._hosts = frozenset(host.lower() for host in hosts)
        self._api, self._signed = api, frozenset(signed)
        self._on_refusal = on_refusal
        extra = {"strict-transport-security": "max-age=31536000"} if origin.startswith("https:") else {}
        self._headers = [(name.encode(), value.encode()) for name, value in (HEADERS | extra).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        send = self._dressed(send)
        status, reason = self._objection(scope)
        if status is not None:
            if self._on_refusal is not None and status in (HTTPStatus.FORBIDDEN, HTTPStatus.MISDIRECTED_REQUEST):
                self._on_refusal(scope, reason)
            await _answer(send, status, reason)
            return
        body = b""
        if scope["method"] not in _SAFE:  # read whole before a page sees the request: it is small
            try:
                async with asyncio.timeout(BODY_DEADLINE):
                    body = await _read(receive)
            except TimeoutError:
                await _answer(send, HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time")
                return
            except _TooMuchError:
                await _answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {MAX_BODY} bytes")
                return
            except _GoneError:
                return
        await self._app(scope, _replayed(body, receive), send)

    def _objection(self, scope: Scope) -> tuple[HTTPStatus | None, str]:
        headers = scope["headers"]
        hosts = _values(headers, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return HTTPStatus.MISDIRECTED_REQUEST, "this host name is not the admin page's (gateway.admin_url)"
        if scope["method"] not in _METHODS and not (scope["method"] == "DELETE" and self._is_api(scope)):
            return HTTPStatus.METHOD_NOT_ALLOWED, "only GET, HEAD and POST are used here"
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET:
            return HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long"
        lengths = _values(headers, b"content-length")
        if any(not length.isascii() or not length.isdigit() or int(length[:12]) > MAX_BODY for length in lengths):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {MAX_BODY} bytes"
        if _values(headers, b"content-encoding"):
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "encoded bodies are not read here"
        return self._foreign(scope, headers)

    def _foreign(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> tuple[HTTPStatus | None, str]:
        """Whether another site's page sends this."""
        sites, modes = _values(headers, b"sec-fetch-site"), _values(headers, b"sec-fetch-mode")
        if set(_values(headers, b"sec-fetch-dest")) & _FRAMES:
            return HTTPStatus.FORBIDDEN, "these pages are not shown inside others"
        if any("prefetch" in value for value in _values(headers, b"sec-purpose") + _values(headers, b"purpose")):
            return HTTPStatus.FORBIDDEN, "nothing here is fetched before somebody wants to see it"
        if scope["method"] in _SAFE:
            if any(site in ("cross-site", "same-site") for site in sites) and modes != ["navigate"]:
                return HTTPStatus.FORBIDDEN, "another site's page may not read this"
            return None, ""
        if scope["path"] in self._signed:
            return None, ""
        cookies = _values(headers, b"cookie")
        if self._is_api(scope) and not cookies and not sites and not _values(headers, b"origin"):
            return None, ""
        origins = _values(headers, b"origin")
        if origins != [self._origin] or any(site != "same-origin" for site in sites):
            return HTTPStatus.FORBIDDEN, "this does not come from a page of this site (Origin, Sec-Fetch-Site)"
        return None, ""

    def _is_api(self, scope: Scope) -> bool:
        return bool(scope["path"].startswith(self._api))

    def _dressed(self, send: Send) -> Send:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name.lower(), value) for name, value in message.get("headers", [])]
                cached = any(name == b"cache-control" for name, _ in given)  # the one that an answer chooses
                ours = [(name, value) for name, value in self._headers if not (cached and name == b"cache-control")]
                dropped = {name for name, _ in ours} | {b"server"}
                given = [(name, value) for name, value in given if name not in dropped]
                message = {**message, "headers": given + ours}
            await send(message)

        return dressed


class _TooMuchError(Exception):
    pass


class _GoneError(Exception):
    pass


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _GoneError
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _TooMuchError
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever comes (the client's leaving)."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    return replayed


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for found, value in headers if found.lower() == name]


async def _answer(send: Callable[[Message], Awaitable[None]], status: HTTPStatus, reason: str) -> None:
    body = f"{reason}\n".encode()
    await send(
        {
            "type": "http.response.start",
            "status": int(status),
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
