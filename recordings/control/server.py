"""The recorder's end of the control channel: heartbeats, and policy sets that all processes swap together or not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import msgspec

from onrecord.policies.errors import ControlError
from onrecord.policies.policy_set import PolicySet
from onrecord.recordings.control.messages import (
    MAX_TO_PROCESS,
    PROTOCOL,
    Commit,
    FromAdmin,
    FromDataPath,
    Heartbeat,
    Hello,
    PolicyFailed,
    Prepare,
    Ready,
    Refusals,
    ToProcess,
    ToRecorder,
    clip,
    encode,
    to_recorder,
)
from onrecord.recordings.control.sockets import bind, check_peer

_log = logging.getLogger("onrecord.control")

HEARTBEAT = 0.5
_MAX_PEERS = 512
_MAX_LOSSES = 3
_MAX_BUFFER = MAX_TO_PROCESS + 1024 * 1024


class Desk(Protocol):
    """Where approvals are kept: recordings/approvals/desk.py."""

    def connected(self, peer: _Peer) -> None: ...

    def lost(self, peer: _Peer) -> None: ...

    def received(self, peer: _Peer, message: FromDataPath | FromAdmin) -> None: ...

    def policies(self, digest: str) -> None: ...

    def tick(self) -> None: ...


class PeerStatus(msgspec.Struct, frozen=True):
    """One connected process; `digest` is the policy set that it runs."""

    process: str
    pid: int
    digest: str


class ControlStatus(msgspec.Struct, frozen=True):
    """What the recorder tells the processes now."""

    digest: str
    error: str
    store_error: str
    peers: tuple[PeerStatus, ...]


class _Round:
    """One proposal: committed when nobody is `pending`, failed with the first who says no."""

    def __init__(self, policies: PolicySet, pending: set[_Peer], timer: asyncio.TimerHandle) -> None:
        self.policies, self.pending, self.timer = policies, pending, timer


class ControlServer:
    """Listens on `path`. All methods but `start` and `close` are plain and belong to the event loop's thread.

    `on_message(process, message)` gets what processes report (`Refusals`); `desk` everything about approvals and kills.
    `round_timeout` is how many seconds
    processes have to compile a set.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_message: Callable[[str, Refusals], None] | None = None,
        desk: Desk | None = None,
        heartbeat: float = HEARTBEAT,
        round_timeout: float = 15.0,
        hello_timeout: float = 5.0,
        retry_after: float = 2.0,  # what was cut off is out of its last heartbeat's grace by then
    ) -> None:
        self._path, self._on_message, self._desk = path, on_message, desk
        self._heartbeat, self._round_timeout, self._hello_timeout = heartbeat, round_timeout, hello_timeout
        self._retry_after = retry_after
        self._peers: set[_Peer] = set()  # those that run policies
        self._admins: set[_Peer] = set()
        self._connections: set[_Peer] = set()
        self._losses = 0
        self._offered = ""
        self._retry: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None
        self._beating: asyncio.Task[None] | None = None
        self._good: PolicySet | None = None
        self._round: _Round | None = None
        self._error = ""
        self._failing_since = 0.0
        self._store_error = ""
        self._bound = 0
        self._listen_error = ""

    async def start(self) -> None:
        """Listen. Raises ControlError where another recorder does."""
        loop = asyncio.get_running_loop()
        await self._listen()
        self._beating = loop.create_task(self._beat(), name="control-heartbeat")

    async def close(self) -> None:
        """Stop listening, end every connection, remove the socket."""
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
        self._end_round()
        if self._server is not None:
            self._server.close()
            for peer in tuple(self._connections):
                peer.abort()
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    def propose(self, policies: PolicySet) -> None:
        """Offer a set to all processes: they compile it aside, and swap once every one of them could."""
        if self._round is None and not self._error and self._good is not None and self._good.digest == policies.digest:
            return
        try:
            message = Prepare(policies.digest, policies)
            encode(message, MAX_TO_PROCESS)
        except ControlError as error:
            self.fail(str(error))
            return
        self._end_round()
        if policies.digest != self._offered:
            self._offered, self._losses = policies.digest, 0
        if not self._peers:
            if self._losses and self._good is not None:  # it may be what ended them: the good set stays for now
                self._retry = asyncio.get_running_loop().call_later(self._retry_after, self.propose, policies)
            else:
                self._put_in_force(policies)
            return
        timer = asyncio.get_running_loop().call_later(self._round_timeout, self._round_is_over)
        self._round = _Round(policies, set(self._peers), timer)
        self._broadcast(message)

    def fail(self, error: str) -> None:
        """The newest policies cannot be used: the processes keep the last good set for a while, then deny all."""
        self._end_round()
        if not self._error:
            self._failing_since = time.monotonic()
        self._error = clip(error) or "unknown error"
        _log.error("policies cannot be used: %s", self._error)
        for peer in tuple(self._peers):
            self._welcome(peer)

    def set_store_status(self, error: str | None) -> None:
        """Say at once whether the store can write (None) or why not."""
        text = clip(error) if error else ""
        if text != self._store_error:
            self._store_error = text
            self._broadcast(Heartbeat(text))

    def status(self) -> ControlStatus:
        """What is in force and who is connected."""
        peers = sorted((peer.process, peer.pid, peer.digest) for peer in self._peers)
        digest = self._good.digest if self._good is not None else ""
        return ControlStatus(digest, self._error, self._store_error, tuple(PeerStatus(*peer) for peer in peers))

    # -- peers -------------------------------------------------------------------------------------------------------

    def connected(self, peer: _Peer) -> bool:
        """Take a connection, unless there are too many."""
        if len(self._connections) >= _MAX_PEERS:
            return False
        self._connections.add(peer)
        peer.deadline = asyncio.get_running_loop().call_later(self._hello_timeout, peer.abort)
        return True

    def lost(self, peer: _Peer) -> None:
        """A connection ended. A process that ends while it loads a set may have died of it: the set is not good yet."""
        self._connections.discard(peer)
        self._peers.discard(peer)
        self._admins.discard(peer)
        if self._desk is not None and peer.process:
            self._desk.lost(peer)
        current = self._round
        if current is None or peer not in current.pending:
            return
        self.fail(f"process {peer.process} ended while it loaded them")
        self._try_again(current.policies)

    def received(self, peer: _Peer, message: ToRecorder) -> None:
        """One message. Raises ControlError where it makes no sense at this point."""
        if isinstance(message, Hello):
            if peer.process:
                raise ControlError("hello was said twice")
            if message.protocol != PROTOCOL:
                raise ControlError(f"process {message.process} speaks control protocol {message.protocol}")
            if not message.process:
                raise ControlError("a process has no name")
            peer.process, peer.pid, peer.digest = message.process[:200], message.pid, message.digest
            peer.role = message.role
            if self._desk is not None:
                self._desk.connected(peer)  # what is stopped is known before anything may begin
            if peer.role == "admin":
                self._admins.add(peer)
                peer.send(Heartbeat(self._store_error))
                return
            self._peers.add(peer)
            peer.send(Heartbeat(self._store_error))
            if self._round is None:
                self._welcome(peer)
        elif not peer.process:
            raise ControlError("the first message is not hello")
        elif isinstance(message, Ready):
            self._ready(peer, message)
        elif isinstance(message, Refusals):
            if self._on_message is not None:
                self._on_message(peer.process, message)
        elif self._desk is not None:
            self._desk.received(peer, message)

    def _welcome(self, peer: _Peer) -> None:
        """Bring one process up to date: the last good set where it runs another, and the failure if there is one."""
        if self._good is not None and peer.digest != self._good.digest:
            peer.send(Prepare(self._good.digest, self._good))
        elif self._error:
            peer.send(PolicyFailed(self._error, time.monotonic() - self._failing_since))
        elif self._good is not None:
            peer.send(Commit(self._good.digest))

    def _ready(self, peer: _Peer, message: Ready) -> None:
        current = self._round
        if current is not None and message.digest == current.policies.digest:
            if message.ok:
                current.pending.discard(peer)
                self._conclude()
            elif peer in current.pending:
                self.fail(f"process {peer.process}: {message.error}")
        elif self._good is not None and message.digest == self._good.digest and current is None:
            if not message.ok:
                _log.error("process %s cannot use the policies in force: %s", peer.process, message.error)
                peer.send(PolicyFailed(clip(message.error)))
                return
            peer.digest = message.digest
            peer.send(Commit(message.digest))
            if self._error:
                self._welcome(peer)

    def _conclude(self) -> None:
        current = self._round
        if current is None or current.pending:
            return
        self._end_round()
        self._put_in_force(current.policies)
        digest = current.policies.digest
        for peer in tuple(self._peers):
            if peer.prepared == digest:
                peer.digest = digest
                peer.send(Commit(digest))
            else:  # it came while the round was on
                self._welcome(peer)

    def _put_in_force(self, policies: PolicySet) -> None:
        self._good, self._error = policies, ""
        if self._desk is not None:
            self._desk.policies(policies.digest)

    def _round_is_over(self) -> None:
        """Who did not answer is disconnected: it refuses everything until it comes back, and the others can go on."""
        current = self._round
        if current is not None:
            late = ", ".join(sorted(peer.process for peer in current.pending))
            self.fail(f"no answer within {self._round_timeout:g} s from {late}")
            for peer in tuple(current.pending):
                peer.abort()
            self._try_again(current.policies)

    def _try_again(self, policies: PolicySet) -> None:
        """Whether it was the set or an accident shows when it is offered again; not for ever, it may be deadly."""
        self._losses += 1
        if self._losses < _MAX_LOSSES:
            self._retry = asyncio.get_running_loop().call_later(self._retry_after, self.propose, policies)

    def _end_round(self) -> None:
        if self._round is not None:
            self._round.timer.cancel()
            self._round = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _broadcast(self, message: ToProcess) -> None:
        for peer in (*self._peers, *self._admins) if isinstance(message, Heartbeat) else tuple(self._peers):
            peer.send(message)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            self._broadcast(Heartbeat(self._store_error))
            if self._desk is not None:
                self._desk.tick()
            try:
                if self._inode() != self._bound:
                    await self._listen()
            except (ControlError, OSError) as error:
                if str(error) != self._listen_error:
                    self._listen_error = str(error)
                    _log.error("no process can come back: %s", error)

    async def _listen(self) -> None:
        """Listen on `path`; again where a cleaner took the socket away, for whoever is connected stays so."""
        if self._server is not None:
            self._server.close()
        sock = bind(self._path)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Peer(self), sock=sock)
        self._bound, self._listen_error = self._inode(), ""

    def _inode(self) -> int:
        try:
            return self._path.lstat().st_ino
        except FileNotFoundError:
            return 0


class _Peer(asyncio.Protocol):
    """One connection. `process` is empty until hello; `prepared` is the last set that it was sent."""

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self._decoder = to_recorder()
        self._transport: asyncio.Transport | None = None
        self.deadline: asyncio.TimerHandle | None = None
        self.process, self.pid, self.digest, self.prepared = "", 0, "", ""
        self.role = "datapath"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class is no subclass
        try:
            check_peer(transport)
        except (ControlError, OSError) as error:
            _log.error("control connection refused: %s", error)
            self.abort()
            return
        if not self._server.connected(self):
            _log.error("control connection refused: there are %d already", _MAX_PEERS)
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        try:
            for message in self._decoder.feed(data):
                self._server.received(self, message)
                if self.process and self.deadline is not None:
                    self.deadline.cancel()
                    self.deadline = None
        except ControlError as error:
            _log.error("control connection of %s ended: %s", self.process or "an unnamed process", error)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self.deadline is not None:
            self.deadline.cancel()
        self._server.lost(self)

    def send(self, message: ToProcess) -> None:
        """Send, or end a connection that does not read."""
        if isinstance(message, Prepare):
            self.prepared = message.digest
        frame = encode(message, MAX_TO_PROCESS)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() + len(frame) > _MAX_BUFFER:
            _log.error("process %s does not read the control channel: it is disconnected", self.process)
            self.abort()
            return
        transport.write(frame)

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()
