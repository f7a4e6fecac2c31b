"""Connections to PostgreSQL: reach it, encrypt, log in; send a cancel request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass, field

from onrecord.policies.config import PostgresResource
from onrecord.policies.errors import OnrecordError
from onrecord.policies.secrets import Secrets
from onrecord.shims.postgres.link import Link
from onrecord.shims.postgres.messages import SSL_REQUEST, encode_cancel, encode_startup
from onrecord.shims.postgres.startup import PINNED
from onrecord.shims.postgres.tls import upstream_context
from onrecord.shims.postgres.upstream import Login, UpstreamError
from onrecord.shims.postgres.wire import LOGIN_LIMITS, MessageBuffer, WireError

CONNECT_TIMEOUT = 10.0


@dataclass(slots=True)
class Backend:
    """One resource's PostgreSQL."""

    resource: PostgresResource
    secrets: Secrets
    _context: ssl.SSLContext | None = field(default=None, init=False)
    _made: bool = field(default=False, init=False)

    async def connect(self, parameters: dict[str, str]) -> tuple[Link, Login]:
        """A logged-in connection with these startup parameters. Raises UpstreamError: its text is for operators."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await self._connect(parameters)
        except TimeoutError:
            raise UpstreamError(f"no answer within {CONNECT_TIMEOUT:.0f} s") from None
        except (OSError, WireError, OnrecordError) as error:
            raise UpstreamError(f"{type(error).__name__}: {error}") from error

    async def _connect(self, parameters: dict[str, str]) -> tuple[Link, Login]:
        link = await self._reach()
        try:
            resource = self.resource
            password = self.secrets.resolve(resource.password) if resource.password is not None else ""
            tls = link.transport.get_extra_info("ssl_object") if link.transport is not None else None
            certificate = tls.getpeercert(True) if tls is not None else None
            login = Login(resource.user, password, tls is not None, certificate)
            link.write(encode_startup({"user": resource.user, "database": resource.database, **PINNED, **parameters}))
            buffer = MessageBuffer(LOGIN_LIMITS)
            while not login.ready:
                data = await link.read()
                if not data:
                    raise UpstreamError("it closed the connection during login")
                buffer.feed(data)
                while not login.ready and (found := buffer.next()):
                    answer = login.receive(*found)
                    if answer:
                        link.write(answer)
            if buffer.pending:
                raise WireError("bytes behind the first ReadyForQuery")
        except BaseException:
            link.abort()
            raise
        return link, login

    async def _reach(self) -> Link:
        """A connection, encrypted as `sslmode` says. Never falls back to plaintext."""
        loop = asyncio.get_running_loop()
        link = Link()
        sock = await self._dial()
        try:
            if not self._made:
                self._context, self._made = upstream_context(self.resource, self.secrets), True
            if self._context is None:
                await loop.create_connection(lambda: link, sock=sock)
                return link
            await loop.sock_sendall(sock, SSL_REQUEST)
            answer = await loop.sock_recv(sock, 1)
            if answer != b"S":
                raise UpstreamError("the server does not speak TLS, and sslmode requires it")
            name = self.resource.host
            await loop.create_connection(lambda: link, sock=sock, ssl=self._context, server_hostname=name)
            return link
        except BaseException:
            sock.close()
            raise

    async def _dial(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        host, port = self.resource.host, self.resource.port
        if host.startswith("/"):
            targets: list[tuple[int, object]] = [(socket.AF_UNIX, f"{host}/.s.PGSQL.{port}")]
        else:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            targets = [(family, address) for family, _, _, _, address in found]
        failure: OSError = OSError("the name has no address")
        for family, address in targets:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)  # type: ignore[arg-type]  # as getaddrinfo gave it
                if family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    async def cancel(self, pid: int, secret: bytes) -> None:
        """Ask PostgreSQL to cancel what the session `pid` runs. Raises nothing: a cancel is a wish."""
        with contextlib.suppress(OSError, TimeoutError, OnrecordError):
            async with asyncio.timeout(CONNECT_TIMEOUT):
                link = await self._reach()
                try:
                    link.write(encode_cancel(pid, secret))
                    await link.read()  # the server closes when it has sent the signal
                finally:
                    link.close()
