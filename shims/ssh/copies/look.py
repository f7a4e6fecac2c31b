"""Where a path leads on a host, asked over an SFTP channel of the gateway's own."""

from __future__ import annotations

import asyncio
import stat
from typing import Any

import asyncssh

from onrecord.policies.errors import OnrecordError
from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.places import Place, Places, read_attrs
from onrecord.shims.ssh.sftp.requests import offered, version_packet
from onrecord.shims.ssh.sftp.wire import SftpError, Splitter

TIMEOUT = 15.0


class LookError(OnrecordError):
    """The host has no SFTP server, or it does not answer: where a path leads cannot be known."""


class Look(asyncssh.SSHClientSession[bytes]):
    """`async with Look.at(connection) as look:` and then `locate`."""

    def __init__(self) -> None:
        self._splitter = Splitter(wire.MAX_PACKET + 1024)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._version: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._last = 0
        self._channel: Any = None
        self.places: Places

    @classmethod
    async def at(cls, connection: asyncssh.SSHClientConnection) -> Look:
        """Raises LookError."""
        try:
            async with asyncio.timeout(TIMEOUT):
                look = cls()
                await connection.create_session(lambda: look, subsystem="sftp", encoding=None)
                await look.begun()
        except (asyncssh.Error, OSError, TimeoutError, SftpError) as error:
            raise LookError(f"the host's SFTP server does not answer ({type(error).__name__})") from None
        server = str(connection.get_extra_info("server_version", ""))
        look.places = Places(look.probe, trusted="OpenSSH" in server)
        return look

    def connection_made(self, chan: Any) -> None:
        self._channel = chan

    async def begun(self) -> None:
        """Greet, and wait for the answer."""
        self._channel.write(version_packet(wire.INIT, []))
        await self._version

    async def locate(self, path: str, *, follow: bool = True) -> Place:
        """Where `path` leads; `~/` is the home. Raises LookError, SftpError."""
        text = path.encode("utf-8", "surrogateescape")
        if text == b"~":
            text = b"."
        return await self.places.locate(text.removeprefix(b"~/") or b".", follow=follow)

    async def is_folder(self, path: bytes) -> bool:
        """Whether a folder is at a resolved path."""
        answer = await self.probe(wire.STAT, wire.string(path))
        if answer[0] != wire.ATTRS:
            return False
        permissions = read_attrs(answer).permissions
        return permissions is not None and stat.S_ISDIR(permissions)

    async def probe(self, kind: int, *parts: bytes) -> bytes:
        """One request and its answer. Raises LookError."""
        self._last += 1
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[self._last] = future
        try:
            self._channel.write(wire.packet(kind, self._last, *parts))
            async with asyncio.timeout(TIMEOUT):
                return await future
        except (OSError, TimeoutError, asyncssh.Error):
            raise LookError("the host's SFTP server does not answer") from None

    def close(self) -> None:
        """No more questions."""
        if self._channel is not None:
            self._channel.abort()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            return
        try:
            for packet in self._splitter.feed(data):
                self._take(packet)
        except SftpError as error:
            self._broken(error)

    def _take(self, packet: bytes) -> None:
        if not self._version.done():
            if packet[0] != wire.VERSION_REPLY:
                raise SftpError("its first packet is no VERSION")
            version, _ = offered(packet)
            if version != wire.VERSION:
                raise SftpError(f"it speaks version {version}, asked for {wire.VERSION}")
            self._version.set_result(packet)
            return
        if len(packet) < 5:
            raise SftpError("an answer without an id")
        future = self._waiting.pop(int.from_bytes(packet[1:5], "big"), None)
        if future is not None and not future.done():
            future.set_result(packet)

    def connection_lost(self, exc: Exception | None) -> None:
        self._broken(LookError("the host's SFTP server is gone"))

    def _broken(self, error: OnrecordError) -> None:
        for future in (self._version, *self._waiting.values()):
            if not future.done():
                future.set_exception(error)
                future.exception()  # it may be that nobody asks for it any more
        self._waiting.clear()
