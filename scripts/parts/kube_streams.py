"""The streaming half of a small API server: exec, attach and port-forward over WebSocket and SPDY/3.1, for tests.

A "container" is a process of this machine in a folder of its own, on a real terminal where `tty=true`; a port of a pod
is a port on 127.0.0.1. It speaks as the API server and the kubelet do; it is no sandbox, and listens for tests alone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from onrecord.addons.kubernetes_api.streams.carriers import BareCarrier, Carrier, Closed, Reply, WebSocketCarrier
from onrecord.addons.kubernetes_api.streams.channels import ChannelWire
from onrecord.addons.kubernetes_api.streams.errors import StreamError
from onrecord.addons.kubernetes_api.streams.events import Accepted, Data, Ended, Event, Kind, Opened, Pinged, PortNamed
from onrecord.addons.kubernetes_api.streams.protocols import TUNNEL
from onrecord.addons.kubernetes_api.streams.resize import ResizeReader
from onrecord.addons.kubernetes_api.streams.spdy import SpdyWire
from onrecord.scripts.parts.https_api import Received

CHUNK = 32 * 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_WEBSOCKETS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io")
_SPDY = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", "portforward.k8s.io")


class Streams:
    """What runs in pods. `folder`: where processes run; `ports`: pod port → port on 127.0.0.1.

    `attached` is the argv of the process that attach finds. `open` counts upgraded connections.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[int, int] = {}
        self.attached: list[str] = ["sh", "-c", "echo attached; cat"]
        self.websockets = True  # false: as an API server before 1.29, which speaks SPDY only
        self.open = 0

    async def __call__(
        self, _api: object, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """What KubeApi calls for exec, attach and portforward."""
        headers: dict[str, str] = {}
        for name, value in request.headers:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        if not await self.serve(request.target, headers, reader, writer):
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "Upgrade request required"}
            body = json.dumps(status | {"code": 400}).encode()
            head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()

    async def serve(
        self, target: str, headers: Mapping[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer an upgrade on exec, attach or portforward, to its end; False where it is none that is spoken.

        `headers` in lower case, several values of one name joined by commas.
        """
        url = urlsplit(target)
        fields = parse_qsl(url.query, keep_blank_values=True)
        use = url.path.rpartition("/")[2]
        upgrade = headers.get("upgrade", "").lower()
        spoken: tuple[str, ...]
        if upgrade == "websocket" and self.websockets:
            offers = _offers(headers.get("sec-websocket-protocol", ""))
            spoken = (TUNNEL, *_WEBSOCKETS[1:3]) if use == "portforward" else _WEBSOCKETS
            accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + _GUID).digest())  # noqa: S324
            head = f"Upgrade: websocket\r\nSec-WebSocket-Accept: {accept.decode()}\r\nSec-WebSocket-Protocol: "
        elif upgrade == "spdy/3.1":
            offers = _offers(headers.get("x-stream-protocol-version", ""))
            spoken = _SPDY
            head = "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: "
        else:
            return False
        protocol = next((name for name in spoken if name in offers), None)
        if protocol is None:
            return False
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{head}{protocol}\r\n\r\n".encode())
        forward = use == "portforward"
        ports = tuple(int(value) for name, value in fields if name == "ports" for value in value.split(","))
        link = _Link(reader, writer, upgrade == "websocket", protocol, ports if forward else None, forward=forward)
        self.open += 1
        try:
            if forward:
                await _Forward(link, self.ports).run(ports)
            else:
                argv = self.attached if use == "attach" else [value for name, value in fields if name == "command"]
                wanted = {name for name, value in fields if value in ("true", "1")}
                await _Command(link, argv, self.folder, wanted, as_json=protocol.startswith(("v4", "v5"))).run()
        except (StreamError, OSError, EOFError):
            pass
        finally:
            self.open -= 1
            writer.close()
        return True


class _Link:
    """One upgraded connection, the server's end."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        websocket: bool,
        protocol: str,
        ports: tuple[int, ...] | None,
        *,
        forward: bool,
    ) -> None:
        self._reader, self._writer = reader, writer
        self.is_spdy = not websocket or protocol == TUNNEL
        self.wire: SpdyWire | ChannelWire
        self.wire = SpdyWire("forward" if forward else "command") if self.is_spdy else ChannelWire(protocol, ports)
        text = isinstance(self.wire, ChannelWire) and self.wire.is_text
        self._carrier: Carrier = WebSocketCarrier(text=text) if websocket else BareCarrier()
        self._lock = asyncio.Lock()

    async def events(self) -> AsyncIterator[Event]:
        """What the client sends, to its end."""
        while data := await self._reader.read(64 * 1024):
            for piece in self._carrier.receive(data, from_client=True):
                if isinstance(piece, Reply):
                    await self._write(piece.data)
                elif isinstance(piece, Closed):
                    return
                else:
                    for event in self.wire.feed(piece.data, from_client=True, whole=piece.whole):
                        if isinstance(event, Pinged):
                            await self.send(event)
                        else:
                            yield event

    async def send(self, *events: Event) -> None:
        """Tell the client."""
        for event in events:
            payload = self.wire.encode(event, to_client=True)
            if payload:
                await self._write(self._carrier.send(payload, to_client=True))

    async def close(self) -> None:
        """The end, as polite as the carrier allows."""
        await self._write(self._carrier.close(1000, "", to_client=True))
        with contextlib.suppress(TimeoutError, StreamError, OSError):
            async with asyncio.timeout(5):
                async for _ in self.events():
                    pass

    async def _write(self, data: bytes) -> None:
        async with self._lock:
            self._writer.write(data)
            await self._writer.drain()


class _Command:
    """exec or attach: one process."""

    def __init__(self, link: _Link, argv: list[str], folder: Path, wanted: set[str], *, as_json: bool) -> None:
        self._link, self._argv, self._folder, self._as_json = link, argv, folder, as_json
        self._tty = "tty" in wanted
        self._streams: dict[Kind, int] = {"stdin": 0, "stdout": 1, "stderr": 2, "error": 3, "resize": 4}
        self._expected: set[Kind] = {"error"}
        for kind in ("stdin", "stdout", "stderr"):
            if kind in wanted and not (kind == "stderr" and self._tty):
                self._expected.add(kind)
        if self._tty:
            self._expected.add("resize")
        self._ready = asyncio.Event()
        self._stdin: int | None = None
        self._terminal: int | None = None
        self._size = (0, 0)
        self._resizes = ResizeReader()
        self._backlog: list[Event] = []
        self._process: subprocess.Popen[bytes] | None = None

    async def run(self) -> None:
        if self._link.is_spdy:
            self._streams = {}
        else:
            self._ready.set()
            await self._link.send(Data(1, "stdout", b""))
        receiving = asyncio.create_task(self._receive())
        running = asyncio.create_task(self._run())
        try:
            await asyncio.wait({receiving, running}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
                await self._link.close()
        finally:
            for task in (receiving, running):
                task.cancel()
            await asyncio.gather(receiving, running, return_exceptions=True)
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)

    async def _receive(self) -> None:
        async for event in self._link.events():
            if isinstance(event, Opened):
                self._streams[event.kind] = event.stream
                await self._link.send(Accepted(event.stream))
                if self._expected <= self._streams.keys():
                    self._ready.set()
            elif self._process is None:
                self._backlog.append(event)
            else:
                await self._take(event)

    async def _take(self, event: Event) -> None:
        if isinstance(event, Data) and event.kind == "stdin":
            await self._feed(event.data)
        elif isinstance(event, Data) and event.kind == "resize":
            for size in self._resizes.feed(event.data):
                self._resize(*size)
        elif isinstance(event, Ended) and event.kind == "stdin" and self._stdin is not None and not self._tty:
            os.close(self._stdin)
            self._stdin = None

    async def _feed(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data and self._stdin is not None:
            try:
                data = data[os.write(self._stdin, data) :]
            except BlockingIOError:
                await _until(loop.add_writer, loop.remove_writer, self._stdin)
            except OSError:
                return

    def _resize(self, columns: int, rows: int) -> None:
        self._size = (columns, rows)
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def _run(self) -> None:
        await self._ready.wait()
        try:
            outputs = self._start()
        except OSError as error:
            await self._end(None, f"exec: {self._argv[0] if self._argv else ''!r}: {error.strerror}")
            return
        process = self._process
        if process is None:
            raise RuntimeError("not started")
        backlog, self._backlog = self._backlog, []
        for event in backlog:
            await self._take(event)
        await asyncio.gather(*(self._copy(fd, kind) for fd, kind in outputs))
        code = await asyncio.to_thread(process.wait)
        if self._stdin is not None and not self._tty:
            os.close(self._stdin)
        self._stdin = None
        await self._end(code if code >= 0 else 128 - code, "")

    def _start(self) -> list[tuple[int, Kind]]:
        environment = {**os.environ, "TERM": "xterm", "PS1": "$ "}
        if self._tty:
            master, slave = pty.openpty()
            self._terminal = master
            if self._size != (0, 0):
                self._resize(*self._size)
            with os.fdopen(slave, "rb+", buffering=0) as terminal:
                self._process = subprocess.Popen(
                    self._argv,
                    stdin=terminal,
                    stdout=terminal,
                    stderr=terminal,
                    cwd=self._folder,
                    env=environment,
                    start_new_session=True,
                )
            os.set_blocking(master, False)
            self._stdin = os.dup(master)
            return [(master, "stdout")]
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE if "stdin" in self._expected else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env=environment,
        )
        pipes = self._process
        if pipes.stdin is not None:
            self._stdin = os.dup(pipes.stdin.fileno())
            pipes.stdin.close()
            os.set_blocking(self._stdin, False)
        found: list[tuple[int, Kind]] = []
        for pipe, kind in ((pipes.stdout, "stdout"), (pipes.stderr, "stderr")):
            if pipe is not None:
                found.append((os.dup(pipe.fileno()), kind))  # type: ignore[arg-type]
                pipe.close()
        return found

    async def _copy(self, fd: int, kind: Kind) -> None:
        loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        stream = self._streams.get(kind)
        try:
            while True:
                await _until(loop.add_reader, loop.remove_reader, fd)
                try:
                    data = os.read(fd, CHUNK)
                except BlockingIOError:
                    continue
                except OSError:  # a terminal whose last process is gone
                    break
                if not data:
                    break
                if stream is not None and kind in self._expected:
                    await self._link.send(Data(stream, kind, data))
        finally:
            os.close(fd)

    async def _end(self, code: int | None, error: str) -> None:
        stream = self._streams["error"]
        if self._as_json:
            status: dict[str, object] = {"metadata": {}, "status": "Success"}
            if code:
                status = {
                    "metadata": {},
                    "status": "Failure",
                    "message": f"command terminated with non-zero exit code: exit status {code}",
                    "reason": "NonZeroExitCode",
                    "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
                }
            elif code is None:
                status = {
                    "metadata": {}, "status": "Failure", "message": error, "reason": "InternalError", "code": 500,
                }  # fmt: skip
            payload = json.dumps(status).encode()
        else:
            payload = error.encode() if code is None else f"exit status {code}".encode() if code else b""
        if payload:
            await self._link.send(Data(stream, "error", payload))
        if self._link.is_spdy:
            kinds: tuple[Kind, ...] = ("stdout", "stderr", "error")
            await self._link.send(*(Ended(self._streams[kind], kind) for kind in kinds if kind in self._streams))


class _Forward:
    """port-forward: a connection to 127.0.0.1 for each data stream."""

    def __init__(self, link: _Link, ports: Mapping[int, int]) -> None:
        self._link, self._ports = link, ports
        self._errors: dict[int, int] = {}  # by connection
        self._queues: dict[int, asyncio.Queue[bytes]] = {}

    async def run(self, ports: tuple[int, ...]) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def open(stream: int, port: int, error: int | None) -> None:
            self._queues[stream] = asyncio.Queue(64)
            task = asyncio.create_task(self._connect(stream, port, error))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        try:
            if not self._link.is_spdy:
                for index, port in enumerate(ports):
                    await self._link.send(PortNamed(2 * index, port), PortNamed(2 * index + 1, port))
                    open(2 * index, port, 2 * index + 1)
            async for event in self._link.events():
                if isinstance(event, Opened):
                    await self._link.send(Accepted(event.stream))
                    if event.kind == "error":
                        self._errors[event.connection] = event.stream
                    else:
                        open(event.stream, event.port, self._errors.get(event.connection))
                elif isinstance(event, Data) and event.stream in self._queues and event.data:
                    await self._queues[event.stream].put(event.data)
                elif isinstance(event, Ended) and event.stream in self._queues:
                    await self._queues[event.stream].put(b"")
        finally:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, stream: int, port: int, error: int | None) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[port])
        except (OSError, KeyError):
            if error is not None:
                text = f"error forwarding port {port}: connection refused"
                await self._link.send(Data(error, "error", text.encode()))
            await self._ends(stream, error)
            return
        sending = asyncio.create_task(self._send(stream, writer))
        try:
            while data := await reader.read(CHUNK):
                await self._link.send(Data(stream, "data", data))
            await self._ends(stream, error)
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.close()

    async def _send(self, stream: int, writer: asyncio.StreamWriter) -> None:
        queue = self._queues[stream]
        while data := await queue.get():
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _ends(self, stream: int, error: int | None) -> None:
        if self._link.is_spdy:
            await self._link.send(Ended(stream, "data"))
            if error is not None:
                await self._link.send(Ended(error, "error"))


async def _until(add: Callable[..., object], remove: Callable[[int], object], fd: int) -> None:
    """Until `fd` can be read or written."""
    ready = asyncio.Event()
    add(fd, ready.set)
    try:
        await ready.wait()
    finally:
        remove(fd)


def _offers(value: str) -> list[str]:
    return [name.strip() for name in value.split(",")]
