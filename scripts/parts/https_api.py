"""A small HTTPS API with its own CA, in a thread of this process; it remembers what really reached it.

GET  /v1/invoices, /v1/invoices/ID    JSON
POST /v1/refunds                      201 with the body echoed under "refund"
*    /echo                            method, path, headers and body as JSON
GET  /sse?events=N&gap=S              text/event-stream, N events S seconds apart
GET  /big?bytes=N                     N bytes of application/octet-stream, chunked above 1 MiB
GET  /slow?seconds=S                  the answer begins after S seconds
GET  /ws                              WebSocket that echoes text and binary messages
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import h11
import wsproto
import wsproto.events as ws

from onrecord.scripts.parts.certs import Authority

CHUNK = 64 * 1024
CHUNKED_ABOVE = 1024 * 1024
INVOICES = [
    {"id": f"inv_{n:04d}", "customer": 1 + n * 17 % 60, "amount": f"{19 + n * 37 % 480}.99", "status": status}
    for n, status in enumerate(["paid", "open", "paid", "overdue", "open"], start=1)
]

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived; header names in lower case. WebSocket messages have the method "WEBSOCKET"."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def header(self, name: str) -> str | None:
        """The first value of `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)


class HttpsApi:
    """`with HttpsApi("billing.internal") as api:` listening on 127.0.0.1:`port`, certificate for the given names.

    `requests` is what arrived, in order; `connections` counts accepted TLS connections. With `client_ca` a client
    certificate is demanded; with `authorization` exactly this header, else 401. `tls=False` serves plain HTTP.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *names: str,
        tls: bool = True,
        client_ca: Path | None = None,
        authority: Authority | None = None,
        authorization: str | None = None,
    ) -> None:
        self.names = names or ("localhost",)
        self.requests: list[Received] = []
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._client_ca = client_ca
        self._authorization = authorization
        self._temp = tempfile.TemporaryDirectory(prefix="onrecord-api-")
        self.authority = authority or Authority(Path(self._temp.name), "onrecord HTTPS part")
        self.pair = self.authority.issue(*self.names, "localhost", self.host, file="api")
        self.ca = self.authority.cert
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = threading.Event()

    # ------------------------------------------------------------------ life

    def start(self) -> Self:
        """Listen on a free port."""
        self._thread = threading.Thread(target=self._run, name="onrecord-https-api", daemon=True)
        self._thread.start()
        self._started.wait()
        return self

    def stop(self) -> None:
        """End all connections and the thread."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None
        if not self._loop.is_closed():
            self._loop.close()
        self._temp.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def received(self, path: str) -> list[Received]:
        """The requests for one path."""
        return [request for request in self.requests if request.path == path]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, self.host, 0, ssl=self._context() if self._tls else None)
        )
        self.port = int(server.sockets[0].getsockname()[1])
        self._loop.call_soon(self._started.set)
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pair.cert, self.pair.key)
        context.set_alpn_protocols(["http/1.1"])
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._client_ca)
        return context

    # ------------------------------------------------------------------ one connection

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        self.connections += 1
        try:
            await self._serve(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, ssl.SSLError, h11.RemoteProtocolError, TimeoutError):
            pass
        except asyncio.CancelledError:
            pass  # stop(): the stream callback would report it as an error
        finally:
            writer.transport.abort()
            if task is not None:
                self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)
        while True:
            request = await _next_event(http, reader)
            if not isinstance(request, h11.Request):
                return
            body = b""
            while isinstance(data := await _next_event(http, reader), h11.Data):
                body += bytes(data.data)
            headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
            received = Received(request.method.decode(), request.target.decode("latin-1"), headers, body)
            self.requests.append(received)
            if received.path == "/ws" and received.header("upgrade") == "websocket":
                await self._websocket(received, reader, writer)
                return
            await self._answer(received, http, writer)
            if http.our_state is h11.MUST_CLOSE:
                return
            http.start_next_cycle()

    async def _answer(self, request: Received, http: h11.Connection, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(request.target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if self._authorization is not None and request.header("authorization") != self._authorization:
            await _send_json(http, writer, 401, {"error": "no valid credential"})
            return
        match url.path:
            case "/sse":
                await _send_events(http, writer, int(query.get("events", "3")), float(query.get("gap", "0.01")))
            case "/big":
                await _send_big(http, writer, int(query.get("bytes", "1000000")))
            case "/slow":
                await asyncio.sleep(float(query.get("seconds", "0.5")))
                await _send_json(http, writer, 200, {"slow": True})
            case _:
                status, content = _content(request, url.path)
                await _send_json(http, writer, status, content, head=request.method == "HEAD")

    async def _websocket(self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socket = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        raw = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
        socket.receive_data(f"GET {request.target} HTTP/1.1\r\n{raw}\r\n".encode("latin-1"))
        while True:
            for event in socket.events():
                reply: wsproto.events.Event | None = None
                if isinstance(event, ws.Request):
                    reply = ws.AcceptConnection()
                elif isinstance(event, ws.Message):
                    data = event.data if isinstance(event.data, bytes) else str(event.data).encode()
                    self.requests.append(Received("WEBSOCKET", request.target, (), data))
                    reply = ws.Message(data=event.data, message_finished=event.message_finished)
                elif isinstance(event, ws.Ping | ws.CloseConnection):
                    reply = event.response()
                if reply is not None:
                    writer.write(socket.send(reply))
                    await writer.drain()
                if isinstance(event, ws.CloseConnection):
                    return
            data = await reader.read(CHUNK)
            if not data:
                return
            socket.receive_data(data)


def _content(request: Received, path: str) -> tuple[int, object]:
    """Status and JSON of the plain endpoints."""
    if path == "/echo":
        return 200, {
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "body": request.body.decode("utf-8", "replace"),
        }
    if path == "/v1/invoices" and request.method in {"GET", "HEAD"}:
        return 200, {"invoices": INVOICES}
    if path.startswith("/v1/invoices/") and request.method == "GET":
        found = [invoice for invoice in INVOICES if invoice["id"] == path.rsplit("/", 1)[1]]
        return (200, found[0]) if found else (404, {"error": "no such invoice"})
    if path == "/v1/refunds" and request.method == "POST":
        try:
            return 201, {"id": "ref_0001", "refund": json.loads(request.body or b"{}")}
        except ValueError:
            return 400, {"error": "the body is not JSON"}
    return 404, {"error": "no such path"}


async def _next_event(http: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await reader.read(CHUNK))
    return event


async def send(http: h11.Connection, writer: asyncio.StreamWriter, *events: h11.Event) -> None:
    writer.write(b"".join(http.send(event) or b"" for event in events))
    await writer.drain()


async def _send_json(
    http: h11.Connection, writer: asyncio.StreamWriter, status: int, content: object, *, head: bool = False
) -> None:
    body = json.dumps(content).encode()
    headers: Headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    data = () if head else (h11.Data(data=body),)
    await send(http, writer, h11.Response(status_code=status, headers=headers), *data, h11.EndOfMessage())


async def _send_events(http: h11.Connection, writer: asyncio.StreamWriter, count: int, gap: float) -> None:
    headers: Headers = [("content-type", "text/event-stream"), ("cache-control", "no-store")]
    await send(http, writer, h11.Response(status_code=200, headers=headers))
    for number in range(count):
        if number:
            await asyncio.sleep(gap)
        await send(http, writer, h11.Data(data=f'id: {number}\ndata: {{"event": {number}}}\n\n'.encode()))
    await send(http, writer, h11.EndOfMessage())


async def _send_big(http: h11.Connection, writer: asyncio.StreamWriter, size: int) -> None:
    headers: Headers = [("content-type", "application/octet-stream")]
    if size <= CHUNKED_ABOVE:
        headers.append(("content-length", str(size)))
    await send(http, writer, h11.Response(status_code=200, headers=headers))
    block = bytes(range(256)) * (CHUNK // 256)
    for start in range(0, size, CHUNK):
        await send(http, writer, h11.Data(data=block[: min(CHUNK, size - start)]))
    await send(http, writer, h11.EndOfMessage())
