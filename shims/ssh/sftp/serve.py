"""The SFTP subsystem: a client's channel, a channel to the host's own SFTP server, and a relay between them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, cast

import asyncssh

from onrecord.policies.errors import OnrecordError
from onrecord.policies.files import plants
from onrecord.policies.masking import no_masks
from onrecord.policies.model import SftpCommand
from onrecord.recordings.auditor import Decision
from onrecord.shims.ssh.channel import FAILED
from onrecord.shims.ssh.sftp.core import Settings
from onrecord.shims.ssh.sftp.relay import Relay
from onrecord.shims.ssh.transport import PACKET, WINDOW

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.link import Link

_log = logging.getLogger("onrecord.ssh")


async def serve_sftp(link: Link, client: ClientSession) -> None:
    """Serve SFTP on a channel that just opened, until either side closes it."""
    await _Channel(link, client).run()


class _Host(asyncssh.SSHClientSession[bytes]):
    """The end towards the host's SFTP server."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._channel.from_host(data, datatype)

    def eof_received(self) -> bool:
        return True

    def exit_status_received(self, status: int) -> None:
        self._channel.status = status

    def pause_writing(self) -> None:
        self._channel.hold(by_host=True)

    def resume_writing(self) -> None:
        self._channel.hold(by_host=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._channel.host_closed()


class _Channel:
    """Joins the relay to two channels: it is the relay's Ends, the client channel's Handler and the link's Ending."""

    def __init__(self, link: Link, client: ClientSession) -> None:
        self._link, self._client = link, client
        self._host: asyncssh.SSHClientChannel[bytes] | None = None
        self._relay: Relay | None = None
        self._done = asyncio.Event()
        self._holds: set[str] = set()
        self.status: int | None = None

    async def run(self) -> None:
        link, client = self._link, self._client
        link.running.add(self)
        try:
            connection = await link.upstream()
            self._relay = Relay(link.auditor, link.opened, self, self._settings(connection), submit=self._decide)
            channel, _ = await connection.create_session(
                lambda: _Host(self), subsystem="sftp", encoding=None, window=WINDOW, max_pktsize=PACKET
            )
            self._host = cast("asyncssh.SSHClientChannel[bytes]", channel)
            client.attach(self)
            await self._done.wait()
        except (OnrecordError, asyncssh.Error, OSError) as error:
            text = f"the host of resource {link.resource.name} did not start SFTP: {type(error).__name__}"
            _log.warning("resource %s: %s: %s", link.resource.name, type(error).__name__, error)
            client.say(f"{text}; the gateway's log says why")
            client.exit(FAILED)
        finally:
            self._close("the client closed the channel")
            link.running.discard(self)

    def _settings(self, connection: asyncssh.SSHClientConnection) -> Settings:
        link = self._link
        host = str(connection.get_extra_info("server_version", ""))
        client = str(link.connection.get_extra_info("client_version", ""))
        masks = link.masks
        return Settings(
            plants=lambda path: plants(path) is not None,
            masks=masks if masks.detectors is not None or masks.json_paths else None,
            no_masks=lambda: no_masks(b""),
            capture=link.recordings.body_limit,
            ordered="OpenSSH" in host,
            client_swaps="AsyncSSH" not in client,
            upstream_swaps="OpenSSH" in host or "paramiko" in host,
        )

    # the link's

    def end(self, reason: str) -> None:
        """The relay fails, or the whole session ends."""
        self._client.say(f"SFTP ends: {reason}")
        self._close(reason)
        self._client.exit(FAILED)

    def _close(self, reason: str) -> None:
        if self._relay is not None:
            self._relay.close(reason)
        if self._host is not None:
            self._host.abort()
        self._done.set()

    # the relay's

    async def _decide(self, command: SftpCommand) -> Decision:
        return await self._link.submit(command, self._client)

    def eof(self) -> None:
        if self._host is not None and not self._host.is_closing():
            self._host.write_eof()

    def to_client(self, data: bytes) -> None:
        if self._client.open:
            self._client.channel.write(data)

    def to_upstream(self, data: bytes) -> None:
        if self._host is not None and not self._host.is_closing():
            self._host.write(data)

    def note(self, text: str) -> None:
        self._client.say(text)

    def pause(self, *, paused: bool) -> None:
        self._hold("relay", paused)

    # the client's

    def data_received(self, data: bytes) -> None:
        if self._relay is not None:
            self._relay.from_client(data)

    def eof_received(self) -> None:
        if self._relay is not None:
            self._relay.client_eof()

    def signal_received(self, signal: str) -> None:
        """A file transfer knows no signals."""

    def resized(self, columns: int, rows: int, width: int, height: int) -> None:
        """Nor terminals."""

    def pause_writing(self) -> None:
        if self._relay is not None:
            self._relay.client_full(full=True)
        if self._host is not None:
            self._host.pause_reading()

    def resume_writing(self) -> None:
        if self._host is not None:
            self._host.resume_reading()
        if self._relay is not None:
            self._relay.client_full(full=False)

    def closed(self) -> None:
        self._close("the client closed the channel")

    # the host's

    def from_host(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            _log.info("resource %s: its SFTP server wrote %d bytes to stderr", self._link.resource.name, len(data))
        elif self._relay is not None:
            self._relay.from_upstream(data)

    def host_closed(self) -> None:
        if self._done.is_set():
            return
        self._close("the host closed the channel")
        with contextlib.suppress(OSError):
            self._client.exit(self.status if self.status is not None else FAILED)

    def hold(self, *, by_host: bool) -> None:
        """The host takes no more, or takes again."""
        self._hold("host", by_host)

    def _hold(self, who: str, holds: bool) -> None:
        if holds:
            self._holds.add(who)
        else:
            self._holds.discard(who)
        if self._holds:
            self._client.channel.pause_reading()
        else:
            self._client.channel.resume_reading()
