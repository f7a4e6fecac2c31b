"""The two ends of one SFTP channel, joined: request ids, the queue of the client's requests, what waits for answers.

No I/O: `from_client` and `from_upstream` take bytes, `Ends` takes what goes out. A client's requests are taken strictly
in order; one that waits (for a look at the server, for an approval) holds up those behind it on this channel, and no
other channel. Every request goes upstream under an id of the gateway's own, so the gateway's questions and the
client's never meet.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.policies.masking import Masks
from onrecord.recordings.auditor import Auditor, OpenSession
from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.files import Budget
from onrecord.shims.ssh.sftp.requests import asked, offered, version_packet
from onrecord.shims.ssh.sftp.wire import SftpError, Splitter

MAX_PENDING = 1024  # requests without an answer
MAX_WAITING = 1024 * 1024  # bytes of requests that were not taken yet, beyond which the client is not read
MAX_MADE = 512 * 1024  # bytes of answers that are made before they go out
MAX_FAULTS = 64  # requests that cannot be read, in one channel
MAX_NOTES = 16 * 1024  # bytes of text on the client's stderr

Handler = Callable[[bytes], None]


class Ends(Protocol):
    """What a channel needs of its surroundings. Nothing here may raise."""

    def to_client(self, data: bytes) -> None: ...

    def to_upstream(self, data: bytes) -> None: ...

    def note(self, text: str) -> None:
        """A line on the client's stderr: OpenSSH's tools show no other reason than that."""

    def pause(self, *, paused: bool) -> None:
        """Read no more from the client, or go on."""

    def eof(self) -> None:
        """The client has sent all it will, and all of that has gone upstream."""

    def end(self, reason: str) -> None:
        """Close both ends: a protocol error or a record that cannot be written. Called once at most."""


class Settings(NamedTuple):
    """How one channel is judged.

    `plants(path)`: whether writing there plants code or access. `ordered`: the server is known (OpenSSH) to take
    requests in order and to resolve symbolic links in REALPATH. `client_swaps` and `upstream_swaps`: SYMLINK's
    arguments stand as OpenSSH has them (the link's text first), against the draft. The three are of version 3 only.
    """

    plants: Callable[[str], bool]
    masks: Masks | None = None
    no_masks: Callable[[], Masks] | None = None
    capture: int = 64 * 1024
    budget: Budget = Budget()  # one for the process
    max_handles: int = 256
    ordered: bool = True
    client_swaps: bool = True
    upstream_swaps: bool = True


class Core(ABC):
    """Framing, ids, order. What requests mean is `Relay`'s."""

    def __init__(self, auditor: Auditor, opened: OpenSession, ends: Ends, settings: Settings) -> None:
        self.auditor, self.opened, self.settings = auditor, opened, settings
        self.version = wire.VERSION  # spoken on both sides; it is final when the server has answered INIT
        self._ended = False
        self._ends = ends
        self._client, self._upstream = Splitter(), Splitter(wire.MAX_PACKET + 1024)
        self._waiting: deque[bytes] = deque()
        self._waiting_size = 0
        self._paused = False
        self._task: asyncio.Task[None] | None = None
        self._pending: dict[int, Handler] = {}
        self._probes: set[asyncio.Future[bytes]] = set()
        self._last_id = 0
        self._to_client: list[bytes | memoryview] = []
        self._made = 0  # bytes in it
        self._full = False  # the client does not take what it asked for
        self._to_upstream: list[bytes | memoryview] = []
        self._unflushed = False
        self._greeted = self._ready = False
        self._eof = self._eof_told = False
        self._faults = 0
        self._noted = 0

    @property
    def ended(self) -> bool:
        """Whether nothing passes any more."""
        return self._ended

    # what comes in

    def from_client(self, data: bytes) -> None:
        """Bytes of the client."""
        if self.ended:
            return
        try:
            for packet in self._client.feed(data):
                self._waiting.append(packet)
                self._waiting_size += len(packet)
        except SftpError as error:
            self._broken(error)
            return
        self._advance()

    def from_upstream(self, data: bytes) -> None:
        """Bytes of the server."""
        if self.ended:
            return
        try:
            for packet in self._upstream.feed(data):
                self._answered(packet)
        except SftpError as error:
            self.fail(f"SFTP: the server sent what is not allowed: {error}")
            return
        except OnrecordError as error:
            self.fail(str(error))
            return
        except Exception as error:  # noqa: BLE001  whatever is wrong here, nothing may pass
            self.fail(_internal(error))
            return
        self._advance()

    def client_full(self, *, full: bool) -> None:
        """The client takes no more answers, or takes again. Meanwhile nothing that would make more is begun."""
        self._full = full
        if not full and not self.ended:
            asyncio.get_running_loop().call_soon(self._advance)

    def client_eof(self) -> None:
        """The client will send no more."""
        self._eof = True
        self._advance()

    def close(self, reason: str) -> None:
        """The channel is over: what is not finished is recorded as aborted. Call it once, whoever ended it."""
        if self.ended:
            return
        self._ended = True
        if self._task is not None:
            self._task.cancel()
        for probe in self._probes:
            probe.cancel()
        self._waiting.clear()
        self._pending.clear()
        self._closed(reason)

    def fail(self, reason: str) -> None:
        """End the channel: nothing more passes."""
        if self.ended:
            return
        self.close(reason)
        self._ends.end(reason)

    # what Relay implements

    @abstractmethod
    def _negotiated(self) -> None:
        """`version` is final. Nothing of the client has been taken yet."""

    @abstractmethod
    def _take(self, data: bytes) -> Coroutine[Any, Any, None] | None: ...

    @abstractmethod
    def _record(self) -> bool:
        """Record what is about to pass, without flushing; whether there was anything. Raises StoreError."""

    @abstractmethod
    def _unreadable(self, reason: str) -> None:
        """Put on record that something of the client was refused because it cannot be read."""

    @abstractmethod
    def _closed(self, reason: str) -> None: ...

    # what Relay uses

    def _new_id(self) -> int:
        self._last_id = (self._last_id + 1) & 0xFFFFFFFF
        while self._last_id in self._pending:
            self._last_id = (self._last_id + 1) & 0xFFFFFFFF
        return self._last_id

    def _send(self, then: Handler, kind: int, *parts: bytes) -> None:
        """Send a request; `then` takes its answer."""
        id = self._new_id()
        self._pending[id] = then
        self._to_upstream.append(wire.packet(kind, id, *parts))

    async def _probe(self, kind: int, *parts: bytes) -> bytes:
        """Send a request of the gateway's own; the answer's packet."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._probes.add(future)

        def then(data: bytes) -> None:
            if not future.done():
                future.set_result(data)

        try:
            self._send(then, kind, *parts)
            self._emit()
            return await future
        finally:
            self._probes.discard(future)

    def _reply(self, *parts: bytes | memoryview) -> None:
        self._to_client.extend(parts)
        self._made += sum(map(len, parts))

    def _status(self, id: int, code: int, message: str = "") -> None:
        self._reply(wire.status(id, code, message))

    def _note(self, text: str) -> None:
        self._noted += len(text)
        if self._noted <= MAX_NOTES:
            self._ends.note(text)

    def _fault(self, id: int, reason: str) -> None:
        """A request that cannot be read. A few are answered; then the channel ends."""
        self._faults += 1
        if self._faults > MAX_FAULTS:
            raise SftpError(f"too many requests that cannot be read, the last one: {reason}")
        self._unreadable(reason)
        self._status(id, wire.BAD_MESSAGE, f"onrecord: {reason}")

    def _emit(self) -> None:
        """Let out what was made: recorded first. Raises StoreError, and then nothing goes out."""
        if self.ended:
            return
        if self._record() or self._unflushed:
            self.auditor.flush()
            self._unflushed = False
        if self._to_upstream:
            data, self._to_upstream = b"".join(self._to_upstream), []
            self._ends.to_upstream(data)
        if self._to_client:
            data, self._to_client, self._made = b"".join(self._to_client), [], 0
            self._ends.to_client(data)

    # the queue

    def _advance(self) -> None:
        try:
            while self._may_take():
                packet = self._waiting.popleft()
                self._waiting_size -= len(packet)
                step = self._step(packet)
                if step is not None:
                    self._task = asyncio.get_running_loop().create_task(self._later(step))
                if self._made > MAX_MADE:
                    self._emit()
            self._emit()
        except OnrecordError as error:
            self._broken(error)
            return
        except Exception as error:  # noqa: BLE001  whatever is wrong here, nothing may pass
            self.fail(_internal(error))
            return
        if self._eof and not self._eof_told and not self._waiting and self._task is None and not self.ended:
            self._eof_told = True
            self._ends.eof()
        paused = self._full or self._waiting_size > MAX_WAITING or len(self._pending) >= MAX_PENDING
        if paused != self._paused and not self.ended:
            self._paused = paused
            self._ends.pause(paused=paused)

    def _may_take(self) -> bool:
        """Whether the next request may be begun."""
        if not self._waiting or self._task is not None or self.ended or self._full:
            return False
        return len(self._pending) < MAX_PENDING and (self._ready or not self._greeted)

    def _step(self, packet: bytes) -> Coroutine[Any, Any, None] | None:
        if self._greeted:
            return self._take(packet)
        self._greet(packet)
        return None

    async def _later(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except OnrecordError as error:
            self._broken(error)
        except Exception as error:  # noqa: BLE001  whatever is wrong here, nothing may pass
            self.fail(_internal(error))
        finally:
            self._task = None
        if not self.ended:
            self._advance()

    def _broken(self, error: OnrecordError) -> None:
        if isinstance(error, SftpError) and not self.ended:
            self._unreadable(str(error))
        self.fail(str(error) if isinstance(error, StoreError) else f"SFTP: {error}")

    def _greet(self, packet: bytes) -> None:
        """INIT. The server is asked for the client's version or 6; what it answers is what both sides speak."""
        if packet[0] != wire.INIT or len(packet) < 5:
            raise SftpError("the first packet is no INIT")
        version = asked(packet)
        if version < wire.VERSION:
            raise SftpError(f"version {version}: the gateway speaks versions {wire.VERSION} to {wire.LATEST}")
        self._greeted = True
        self.version = min(version, wire.LATEST)
        self._to_upstream.append(version_packet(wire.INIT, [], self.version))

    def _answered(self, packet: bytes) -> None:
        if not self._ready:
            if packet[0] != wire.VERSION_REPLY or not self._greeted:
                raise SftpError("its first packet is no VERSION")
            version, extensions = offered(packet)
            if not wire.VERSION <= version <= self.version:
                raise SftpError(f"it speaks version {version}, asked for {self.version}")
            self.version = version
            self._negotiated()
            self._ready = True
            self._to_client.append(version_packet(wire.VERSION_REPLY, extensions, version))
            return
        if len(packet) < 5:
            raise SftpError("an answer without an id")
        handler = self._pending.pop(int.from_bytes(packet[1:5], "big"), None)
        if handler is None:
            raise SftpError("an answer that nobody asked for")
        handler(packet)


def _internal(error: Exception) -> str:
    return f"internal error of the gateway: {type(error).__name__}"
