"""One connection before it is a session: encryption, the startup packet, the token. Nothing of it is a command yet."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any, Protocol

from onrecord.policies.config import PostgresResource
from onrecord.policies.model import Identity
from onrecord.shims.postgres.link import Link
from onrecord.shims.postgres.messages import AUTHENTICATION_CLEARTEXT, encode_negotiate
from onrecord.shims.postgres.negotiation import negotiate
from onrecord.shims.postgres.startup import NEWEST, Cancel, Startup, check_length, decode_packet
from onrecord.shims.postgres.tls import ALPN
from onrecord.shims.postgres.wire import HEADER_SIZE, PASSWORD_LIMITS, MessageBuffer, Reader, WireError


class Gatekeeper(Protocol):
    """What an entrance asks the server."""

    @property
    def tls(self) -> ssl.SSLContext: ...

    @property
    def plaintext_allowed(self) -> bool: ...

    @property
    def handshake_timeout(self) -> float: ...

    async def authenticate(self, token: str, startup: Startup, client: str, certificate: bytes | None) -> Identity: ...

    def authorised(self, identity: Identity, name: str, client: str) -> PostgresResource: ...

    async def cancel(self, request: Cancel, client: str) -> None: ...


class Entrance:
    """From the accepted socket to an identity and its resource; `hand_over` gives the link away."""

    def __init__(self, server: Gatekeeper, sock: socket.socket, client: str) -> None:
        self._server, self._sock = server, sock
        self.client = client
        self.handed_over = False
        self._link: Link | None = None
        self._encrypted = False
        self._data = b""

    async def open(self) -> Startup | None:
        """Up to the startup packet; None where there is nothing more to do."""
        server = self._server
        opening = await negotiate(self._sock)
        if opening is None:
            return None
        loop = asyncio.get_running_loop()
        link = Link()
        if opening.tls:
            await loop.connect_accepted_socket(
                lambda: link,
                self._sock,
                ssl=server.tls,
                ssl_handshake_timeout=server.handshake_timeout,
            )
            self._link = link
            self._encrypted = True
            chosen = self._tls_object().selected_alpn_protocol()
            if opening.direct and chosen != ALPN:
                raise WireError("direct TLS without ALPN postgresql")
        else:
            await loop.connect_accepted_socket(lambda: link, self._sock)
            self._link = link
        self._data = opening.first
        packet = await self._packet()
        if packet is None:
            return None
        decoded = decode_packet(packet)
        if isinstance(decoded, Cancel):
            await server.cancel(decoded, self.client)
            return None
        if self._data:
            raise WireError("bytes behind the startup packet before the password was asked for")
        if not self._encrypted and not server.plaintext_allowed:
            raise WireError("this listener takes TLS only: connect with sslmode=require or stricter", "28000")
        if decoded.must_negotiate:
            link.write(encode_negotiate(min(decoded.version, NEWEST), decoded.unknown_options))
        return decoded

    async def identify(self, startup: Startup) -> tuple[Identity, PostgresResource]:
        """Ask for the token and check it, and what it opens."""
        link = self.link
        link.write(AUTHENTICATION_CLEARTEXT)
        buffer = MessageBuffer(PASSWORD_LIMITS)
        while (found := buffer.next()) is None:
            data = await link.read()
            if not data:
                raise ConnectionResetError
            buffer.feed(data)
        reader = Reader(found[1], HEADER_SIZE)
        token = reader.text()
        reader.end()
        if buffer.pending:
            raise WireError("bytes behind the password message before it was answered")
        certificate = self._tls_object().getpeercert(True) if self._encrypted else None
        identity = await self._server.authenticate(token, startup, self.client, certificate)
        return identity, self._server.authorised(identity, startup.database, self.client)

    def hand_over(self) -> None:
        """From here on the relay owns the connection."""
        self.handed_over = True

    def farewell(self, answer: bytes) -> None:
        """Tell the client why the connection ends."""
        if self._link is not None:
            self._link.write(answer)
        else:
            with contextlib.suppress(OSError):
                self._sock.send(answer)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
        else:
            self._sock.close()

    async def _packet(self) -> bytes | None:
        """The startup or cancel packet."""
        link = self.link
        while len(self._data) < 4 or len(self._data) < int.from_bytes(self._data[:4], "big"):
            if len(self._data) >= 4:
                check_length(int.from_bytes(self._data[:4], "big"))
            data = await link.read()
            if not data:
                return None
            self._data += data
        length = int.from_bytes(self._data[:4], "big")
        check_length(length)
        packet, self._data = self._data[:length], self._data[length:]
        return packet

    def _tls_object(self) -> Any:
        link = self.link
        return link.transport.get_extra_info("ssl_object") if link.transport is not None else None

    @property
    def link(self) -> Link:
        """The connection. Raises ConnectionResetError where there is none yet."""
        if self._link is None:
            raise ConnectionResetError
        return self._link
