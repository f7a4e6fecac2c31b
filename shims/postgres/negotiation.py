"""The first bytes of a connection, on the bare socket: TLS asked for, direct TLS, GSS, or plaintext.

Reading exact sizes here means that no byte that a client sent in clear is ever taken for one that came through TLS.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from onrecord.shims.postgres.startup import GSS_CODE, SSL_CODE
from onrecord.shims.postgres.wire import WireError

_TLS_HANDSHAKE = 0x16


@dataclass(frozen=True)
class Opening:
    """How the connection goes on: through TLS or not; `first` are bytes of the startup packet already read."""

    tls: bool
    direct: bool = False
    first: bytes = b""


async def negotiate(sock: socket.socket) -> Opening | None:
    """Answer encryption requests. None where the peer closed. Raises WireError for an attack or junk."""
    loop = asyncio.get_running_loop()
    await _readable(sock)
    if (peeked := sock.recv(1, socket.MSG_PEEK)) == b"":
        return None
    if peeked[0] == _TLS_HANDSHAKE:
        return Opening(tls=True, direct=True)
    asked: set[int] = set()
    while True:
        head = await _exactly(loop, sock, 8)
        if head is None:
            return None
        length, code = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
        if code not in (SSL_CODE, GSS_CODE):
            return Opening(tls=False, first=head)
        if length != 8 or code in asked:
            raise WireError("invalid encryption request")
        asked.add(code)
        if _waiting(sock):
            raise WireError("bytes behind an encryption request: they were sent in clear")
        if code == SSL_CODE:
            await loop.sock_sendall(sock, b"S")
            return Opening(tls=True)
        await loop.sock_sendall(sock, b"N")


async def _exactly(loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = await loop.sock_recv(sock, size - len(data))
        if not piece:
            return None
        data += piece
    return data


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        loop.remove_reader(sock.fileno())
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock.fileno(), wake)
    try:
        await ready
    finally:
        loop.remove_reader(sock.fileno())


def _waiting(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
