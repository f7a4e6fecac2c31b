"""An HTTPS load generator for one process: `python -m onrecord.scripts.benchmarks.load ARGUMENTS`, JSON on stdout.

Keep-alive connections, one request at a time each, straight to the server or by CONNECT through a proxy. One
asyncio Protocol a connection on uvloop, which does no more than find the end of each answer.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import sys
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Load:
    """What to ask, from whom, how long. `proxy` is "host:port" or empty; `token` its Basic password."""

    host: str
    address: str
    port: int
    ca: str
    connections: int
    seconds: float
    warmup: float = 0.5
    path: str = "/v1/status"
    proxy: str = ""
    token: str = ""


class _Client(asyncio.Protocol):
    """Sends the next request when an answer is whole. An answer must have the same length as the first one."""

    def __init__(self, request: bytes, run: _Run) -> None:
        self._request = request
        self._run = run
        self._buffer = b""
        self._length = 0
        self._sent = 0.0
        self._transport: Any = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def begin(self) -> None:
        """Send the first request."""
        self._send()

    async def close(self) -> None:
        """Drop the connection and wait until it is gone."""
        self._transport.abort()
        await self.closed

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._length:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._length = _answer_length(self._buffer[:end])
        if len(self._buffer) < self._length:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self._run.fail(f"not a 200: {self._buffer[:200]!r}")
            return
        now = time.perf_counter()
        self._run.answered(now, now - self._sent)
        self._buffer = self._buffer[self._length :]
        self._length = 0
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._run.fail(f"connection lost: {error}")
        self.closed.set_result(None)

    def _send(self) -> None:
        if self._run.over:
            return
        self._sent = time.perf_counter()
        self._transport.write(self._request)


class _Run:
    """The clock and the figures of one measurement."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.latencies: list[float] = []
        self.begin = self.end = 0.0
        self.over = False
        self.done = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        self.begin = time.perf_counter() + self.load.warmup
        self.end = self.begin + self.load.seconds
        asyncio.get_running_loop().call_later(self.load.warmup + self.load.seconds, self.finish)

    def answered(self, now: float, took: float) -> None:
        if self.begin <= now <= self.end:
            self.latencies.append(took)

    def fail(self, reason: str) -> None:
        if not self.over and not self.done.done():
            self.done.set_exception(RuntimeError(reason))

    def finish(self) -> None:
        self.over = True
        if not self.done.done():
            self.done.set_result(None)


async def measure(load: Load) -> dict[str, float]:
    """Requests per second and latencies in milliseconds. Raises RuntimeError at the first answer that is not 200."""
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=load.ca)
    request = (
        f"GET {load.path} HTTP/1.1\r\nHost: {load.host}\r\nAccept: application/json\r\nUser-Agent: bench\r\n\r\n"
    ).encode()
    run = _Run(load)
    clients: list[_Client] = []
    try:
        for _ in range(load.connections):
            connected = await asyncio.to_thread(_connect, load)
            _, client = await loop.create_connection(
                lambda: _Client(request, run), sock=connected, ssl=context, server_hostname=load.host
            )
            clients.append(client)
        run.start()
        for client in clients:
            client.begin()
        await run.done
    finally:
        run.over = True
        for client in clients:
            await client.close()
    taken = sorted(run.latencies)
    if not taken:
        raise RuntimeError("no answer within the measured time")
    return {
        "rps": len(taken) / load.seconds,
        "p50_ms": taken[len(taken) // 2] * 1000,
        "p99_ms": taken[int(len(taken) * 0.99)] * 1000,
    }


def _connect(load: Load) -> socket.socket:
    """A TCP connection to the server, or a tunnel to it through the proxy."""
    if not load.proxy:
        return _nonblocking(socket.create_connection((load.address, load.port), timeout=10))
    host, _, port = load.proxy.rpartition(":")
    tunnel = socket.create_connection((host, int(port)), timeout=10)
    credentials = base64.b64encode(f"bench:{load.token}".encode()).decode()
    proof = f"Proxy-Authorization: Basic {credentials}\r\n" if load.token else ""
    target = f"{load.host}:{load.port}"
    tunnel.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proof}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = tunnel.recv(4096)
        if not piece:
            raise RuntimeError("the proxy closed the connection")
        answer += piece
    if b" 200 " not in answer.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"the proxy refused: {answer[:300]!r}")
    return _nonblocking(tunnel)


def _nonblocking(connected: socket.socket) -> socket.socket:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setblocking(False)
    return connected


def _answer_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + 4 + int(value)
    raise RuntimeError(f"an answer without content-length: {head[:200]!r}")


def main() -> None:
    """Read a Load as JSON from stdin, print the figures as JSON."""
    import uvloop

    load = Load(**json.load(sys.stdin))
    print(json.dumps(uvloop.run(measure(load))))


if __name__ == "__main__":
    main()
