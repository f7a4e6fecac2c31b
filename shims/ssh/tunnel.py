"""One tunnel: two ends joined, every byte counted, hashed and, up to a bound, kept before it goes on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol, cast

import asyncssh

from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Outcome
from onrecord.recordings.auditor import Decision, elapsed_ms
from onrecord.shims.ssh.kept import Kept

if TYPE_CHECKING:
    from onrecord.shims.ssh.link import Link

MAX_EARLY = 4 * 1024 * 1024  # bytes of one end that wait until the other is there


class Writer(Protocol):
    """What a tunnel does with an end: asyncssh's channels and asyncio's transports have it."""

    def write(self, data: bytes) -> None: ...

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Tunnel:
    """`near` is the client's end, `far` the host's. The command's outcome is recorded when the first end closes."""

    def __init__(self, link: Link, decision: Decision) -> None:
        self._link, self._decision = link, decision
        masked = link.masks.detectors is not None  # what is opaque cannot be masked: nothing of it is kept
        room = 0 if masked else link.recordings.body_limit
        self._sent = Kept(link.auditor, decision, "to_upstream", room=room)
        self._got = Kept(link.auditor, decision, "to_client", room=room)
        self._writers: dict[bool, Writer] = {}
        self._early: dict[bool, list[bytes]] = {True: [], False: []}
        self._early_size = 0
        self._silent: set[bool] = set()  # ends that have sent all they will
        self._ended = False
        link.running.add(self)

    @property
    def ended(self) -> bool:
        """Whether nothing passes any more."""
        return self._ended

    def connected(self, writer: Writer, *, near: bool) -> None:
        """An end is there."""
        self._writers[near] = writer
        if self._ended:
            writer.abort()
            return
        early, self._early[not near] = self._early[not near], []
        for data in early:
            self.data(data, near=not near)
        if (not near) in self._silent:
            self.eof(near=not near)

    def data(self, data: bytes, *, near: bool) -> None:
        """Bytes from an end."""
        if self._ended:
            return
        other = self._writers.get(not near)
        if other is None:
            self._early[near].append(data)
            self._early_size += len(data)
            if self._early_size > MAX_EARLY:
                self.end("one end of the tunnel never took anything")
            return
        try:
            (self._sent if near else self._got).record(data, "")
        except OnrecordError as error:
            self._link.end(str(error))
            return
        other.write(data)

    def eof(self, *, near: bool) -> None:
        """An end will send no more. The tunnel is over where neither will."""
        self._silent.add(near)
        other = self._writers.get(not near)
        if other is None or self._ended:
            return
        if len(self._silent) == len((True, False)):
            self._finish("")
            return
        with contextlib.suppress(OSError, asyncssh.Error):
            other.write_eof()

    def paused(self, *, near: bool, paused: bool) -> None:
        """An end takes no more just now, or takes again: the other is not read, or read again."""
        other = self._writers.get(not near)
        if other is not None and not self._ended:
            (other.pause_reading if paused else other.resume_reading)()

    def lost(self, error: Exception | None) -> None:
        """An end is closed."""
        self._finish("" if error is None else f"the tunnel broke: {type(error).__name__}")

    def end(self, reason: str) -> None:
        """The whole session ends, or the tunnel must."""
        self._finish(reason, abort=True)

    def _finish(self, error: str, *, abort: bool = False) -> None:
        if self._ended:
            return
        self._ended = True
        self._link.running.discard(self)
        outcome = Outcome(
            status="aborted" if error else "ok",
            error=error or None,
            bytes=self._got.size,
            size=self._got.size,
            digest=self._got.digest,
            duration_ms=elapsed_ms(self._decision.started),
            tag="opaque",
            sample={"sent": self._sent.size, "received": self._got.size, "sent_digest": self._sent.digest},
        )
        try:
            self._link.auditor.finish(self._decision, outcome)
        except OnrecordError as failure:
            self._link.auditor.abort(self._decision, str(failure))
        for writer in self._writers.values():
            with contextlib.suppress(OSError, asyncssh.Error):
                (writer.abort if abort else writer.close)()


class SshEnd(asyncssh.SSHTCPSession[bytes], asyncssh.SSHUNIXSession[bytes]):
    """An end that is an SSH channel."""

    def __init__(self, tunnel: Tunnel, *, near: bool) -> None:
        self._tunnel, self._near = tunnel, near

    def connection_made(self, chan: Any) -> None:
        self._chan = chan

    def session_started(self) -> None:
        self._tunnel.connected(cast("Writer", self._chan), near=self._near)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._tunnel.data(data, near=self._near)

    def eof_received(self) -> bool:
        self._tunnel.eof(near=self._near)
        return True

    def pause_writing(self) -> None:
        self._tunnel.paused(near=self._near, paused=True)

    def resume_writing(self) -> None:
        self._tunnel.paused(near=self._near, paused=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.lost(exc)


class TcpEnd(asyncio.Protocol):
    """An end that is a connection to a listener of the gateway."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tunnel.connected(cast("Writer", transport), near=False)

    def data_received(self, data: bytes) -> None:
        self._tunnel.data(data, near=False)

    def eof_received(self) -> bool:
        self._tunnel.eof(near=False)
        return True

    def pause_writing(self) -> None:
        self._tunnel.paused(near=False, paused=True)

    def resume_writing(self) -> None:
        self._tunnel.paused(near=False, paused=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.lost(exc)
