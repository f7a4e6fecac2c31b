"""asyncssh's server side as a gateway needs it. The only file that knows the inside of asyncssh (pinned for that).

Three things are different from the stock one: who a key or certificate stands for is known only once its signature is
verified; a channel hands over nothing before its command is decided; and what a peer may pile up is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import asyncssh
from asyncssh.channel import SSHServerChannel
from asyncssh.connection import SSHServerConnection, SSHServerConnectionOptions
from asyncssh.constants import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_RESOURCE_SHORTAGE,
    OPEN_UNKNOWN_CHANNEL_TYPE,
)
from asyncssh.misc import map_handler_name
from asyncssh.packet import SSHPacket, String

from onrecord.shims.ssh import algorithms

if TYPE_CHECKING:
    from onrecord.shims.ssh.entrance import Entrance

MAX_ENV = 64
MAX_ENV_SIZE = 16 * 1024
MAX_REQUESTS = 256  # channel requests that wait for their turn
MAX_CHANNELS = 256
WINDOW = 2 * 1024 * 1024
PACKET = 32 * 1024
WRITES = 512 * 1024
MAX_UNREAD = 32 * 1024 * 1024
# Hints of OpenSSH's clients that ask for nothing; they are answered no, and not on record.
HARMLESS = frozenset({"no-more-sessions@openssh.com", "eow@openssh.com"})
# Only a server opens these. asyncssh ends the connection.
SERVERS_ONLY = frozenset({"forwarded-tcpip", "forwarded-streamlocal@openssh.com", "x11", "auth-agent@openssh.com"})
SHORTAGE, PROHIBITED = OPEN_RESOURCE_SHORTAGE, OPEN_ADMINISTRATIVELY_PROHIBITED


def window_for(channels: int) -> int:
    """The window of one more channel beside `channels`: what they may all pile up together stays bounded."""
    return max(4 * PACKET, WINDOW // max(1, channels // 8))


class GatewayChannel(SSHServerChannel[bytes]):
    """A client's session channel. While `held` nothing is delivered: its command waits for a decision."""

    held = True
    env_size = 0

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()

    def release(self) -> None:
        """Begin to deliver."""
        self.held = False
        self.resume_reading()

    def _process_request(self, _pkttype: int, _pktid: int, packet: SSHPacket) -> None:
        name = _name(packet)
        if name not in HARMLESS and not hasattr(self, f"_process_{map_handler_name(name)}_request"):
            cast("GatewayConnection", self._conn).strange("channel request", name)
        if len(self._request_queue) >= MAX_REQUESTS:
            raise asyncssh.ProtocolError("Too many channel requests at a time")
        super()._process_request(_pkttype, _pktid, packet)

    _packet_handlers = {**SSHServerChannel._packet_handlers, 98: _process_request}  # noqa: RUF012, SLF001  # MSG_CHANNEL_REQUEST

    def _process_env_request(self, packet: SSHPacket) -> bool:
        """Bounded; which variables go on is decided later."""
        name, value = packet.get_string(), packet.get_string()
        packet.check_end()
        self.env_size += len(name) + len(value)
        if self._session_started or len(self._env) >= MAX_ENV or self.env_size > MAX_ENV_SIZE:
            return False
        self._env[name] = value
        return True

    def _process_exec_request(self, packet: SSHPacket) -> bool:
        """Also a command that is no UTF-8 reaches the session, which puts the refusal on record."""
        command = packet.get_string()
        packet.check_end()
        return self._start_session(command=command.decode("utf-8", "surrogateescape"))

    def _process_subsystem_request(self, packet: SSHPacket) -> bool:
        name = packet.get_string()
        packet.check_end()
        return self._start_session(subsystem=name.decode("utf-8", "surrogateescape"))

    def _process_x11_req_request(self, packet: SSHPacket) -> bool:
        cast("Any", self._session).refused_request("x11-req", "X11 forwarding")
        return False

    def _process_auth_agent_req_at_openssh_dot_com_request(self, packet: SSHPacket) -> bool:  # type: ignore[override]
        cast("Any", self._session).refused_request("auth-agent-req@openssh.com", "agent forwarding")
        return False


class GatewayConnection(SSHServerConnection):
    """One client's connection; `entrance` is its owner."""

    _peer_kexinit = False
    peer: Any = None  # the connection to the host

    @property
    def entrance(self) -> Entrance:
        return cast("Entrance", self._owner)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        gather_writes(transport)
        super().connection_made(transport)

    def turn_away(self, text: str) -> None:
        """Close before any of SSH is spoken; a line of text may stand there (RFC 4253, 4.2)."""
        if self._transport is not None:
            self._transport.write(text.encode() + b"\r\n")
            self._transport.close()

    def pause_writing(self) -> None:
        """The client reads more slowly than its windows allow: nothing more is read from the host meanwhile."""
        _set_reading(self.peer, reading=False)

    def resume_writing(self) -> None:
        _set_reading(self.peer, reading=True)

    def _send(self, data: bytes) -> None:
        super()._send(data)
        if self._transport is not None and self._transport.get_write_buffer_size() > MAX_UNREAD:
            self.abort()  # it asks and does not read

    def create_server_channel(
        self, encoding: str | None = None, errors: str = "strict", window: int = 0, max_pktsize: int = 0
    ) -> SSHServerChannel[bytes]:
        if len(self._channels) >= MAX_CHANNELS:
            raise asyncssh.ChannelOpenError(SHORTAGE, "onrecord: too many channels on one connection")
        return GatewayChannel(
            self,
            self._loop,
            True,
            False,
            False,
            0,
            0,
            None,
            "strict",
            window_for(len(self._channels)),
            max_pktsize or PACKET,
        )

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Whether the key or certificate opens `username`; who it stands for is kept only if `signature` is good."""
        found = await self.entrance.identity_of_key(username, key_data)
        if found is None:
            return False
        key, identity = found
        if not msg:
            return True  # a question beforehand; the answer commits to nothing
        if not key.verify(String(self._session_id) + msg, signature):
            return False
        return self.entrance.accept(username, identity)

    def _process_channel_open(self, _pkttype: int, _pktid: int, packet: SSHPacket) -> None:
        if len(self._channels) >= MAX_CHANNELS:
            packet.get_string()
            number = packet.get_uint32()
            self.send_channel_open_failure(number, SHORTAGE, "onrecord: too many channels on one connection", "en")
            return
        name = _name(packet)
        if name == "channel":  # asyncssh looks handlers up by name, and would find this method
            self.strange("channel", name)
            packet.get_string()
            self.send_channel_open_failure(packet.get_uint32(), OPEN_UNKNOWN_CHANNEL_TYPE, "Unknown channel type", "en")
            return
        if name in SERVERS_ONLY or not hasattr(self, f"_process_{map_handler_name(name)}_open"):
            self.strange("channel", name)
        super()._process_channel_open(_pkttype, _pktid, packet)

    def strange(self, kind: str, name: str) -> None:
        """What is asked is of a kind that is never done here: the session has it on record."""
        if self.entrance.link is not None:
            self.entrance.link.refuse_strange(kind, name)

    def _process_global_request(self, _pkttype: int, _pktid: int, packet: SSHPacket) -> None:
        name = _name(packet)
        if name not in HARMLESS and not hasattr(self, f"_process_{map_handler_name(name)}_global_request"):
            self.strange("global request", name)
        super()._process_global_request(_pkttype, _pktid, packet)

    def _send_kexinit(self) -> None:
        """The first one waits for that of an OpenSSH client, which never waits for ours."""
        if self._session_id or self._peer_kexinit or b"OpenSSH" not in self._client_version:
            super()._send_kexinit()

    async def _process_kexinit(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        """Where the client speaks AES-GCM, nothing else is offered: OpenSSH lists it behind much slower ones."""
        if not self._session_id and not self._peer_kexinit:
            at = packet._idx  # noqa: SLF001
            packet.get_bytes(16)
            lists = [packet.get_namelist() for _ in range(4)]
            packet._idx = at  # noqa: SLF001
            gcm = [name for name in self._enc_algs if b"-gcm@" in name and name in lists[2] and name in lists[3]]
            self._peer_kexinit = True
            if b"OpenSSH" in self._client_version:
                self._enc_algs = gcm or self._enc_algs
                self._kexinit_sent = False
        await super()._process_kexinit(pkttype, pktid, packet)

    _packet_handlers = {  # noqa: RUF012
        **SSHServerConnection._packet_handlers,  # noqa: SLF001
        20: _process_kexinit,
        80: _process_global_request,
        90: _process_channel_open,
    }  # MSG_KEXINIT, MSG_GLOBAL_REQUEST, MSG_CHANNEL_OPEN


def _name(packet: SSHPacket) -> str:
    """The name that a request begins with, left to be read; one that is no ASCII ends the connection later."""
    at = packet._idx  # noqa: SLF001
    name = packet.get_string()
    packet._idx = at  # noqa: SLF001
    return name.decode("ascii", "replace")


def couple(client: GatewayConnection, host: asyncssh.SSHClientConnection) -> None:
    """Whoever reads slowly slows the other down: windows alone would let megabytes pile up here, or gigabytes."""
    client.peer = host
    host.pause_writing = lambda: _set_reading(client, reading=False)  # type: ignore[method-assign]
    host.resume_writing = lambda: _set_reading(client, reading=True)  # type: ignore[method-assign]


def _set_reading(connection: Any, *, reading: bool) -> None:
    transport = connection._transport if connection is not None else None  # noqa: SLF001
    if transport is not None and not transport.is_closing():
        with contextlib.suppress(RuntimeError, OSError):  # uvloop: paused already
            (transport.resume_reading if reading else transport.pause_reading)()


def gather_writes(transport: Any) -> None:
    """Let packets of one turn of the loop go out in one system call: uvloop sends at once above the limit."""
    transport.set_write_buffer_limits(high=WRITES)


async def server_options(
    owner: Callable[[], asyncssh.SSHServer],
    keys: list[asyncssh.SSHKey],
    *,
    certificates: list[asyncssh.SSHCertificate],
    login_timeout: float,
) -> SSHServerConnectionOptions:
    """The listener's options: nothing is read from files of this machine."""
    options: SSHServerConnectionOptions = await SSHServerConnectionOptions.construct(
        config=None,
        server_factory=owner,
        server_host_keys=keys,
        server_host_certs=certificates,
        server_version="onrecord",
        kex_algs=algorithms.KEX,
        encryption_algs=algorithms.CIPHERS,
        mac_algs=algorithms.MACS,
        compression_algs=algorithms.NO_COMPRESSION,
        signature_algs=algorithms.SIGNATURES,
        host_based_auth=False,
        gss_host=None,
        x509_trusted_certs=None,
        login_timeout=login_timeout,
        rekey_bytes=algorithms.REKEY_BYTES,
        rekey_seconds=algorithms.REKEY_SECONDS,
        keepalive_interval=30,
        keepalive_count_max=4,
        agent_forwarding=False,
        x11_forwarding=False,
        line_editor=False,
        allow_scp=False,
        encoding=None,
        window=WINDOW,
        max_pktsize=PACKET,
    )
    return options
