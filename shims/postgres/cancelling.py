"""Cancel requests: keys of our own, told to the process that issued them, which alone knows what they stand for.

A CancelRequest is a connection of its own, so the kernel may give it to any of the processes on the port. The process
id of a key says which of them issued it; that one is asked over its Unix socket in the state folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from onrecord.policies.errors import ControlError
from onrecord.recordings.control.sockets import bind, check_peer, connect
from onrecord.shims.postgres.startup import LONG_KEYS, Cancel

MAX_CANCELS = 32  # under way at a time
MAX_WORKERS = 64
_WORKER_SHIFT = 24  # of the 31 bits that a process id has for clients
_TOLD_LIMIT = 1024
_PATIENCE = 5.0
_FAREWELL = 1.0


class Cancellable(Protocol):
    """A session to cancel."""

    def note(self, text: str) -> None: ...


@dataclass(slots=True, eq=False)
class Live:
    """A session that may be cancelled: its own key towards the client, and what cancels it at PostgreSQL."""

    secret: bytes
    session: Cancellable
    cancel: Callable[[], Awaitable[None]]


def socket_path(state: Path, worker: int) -> Path:
    """Where the process number `worker` takes cancel requests that reached another one."""
    return state / f"postgres-{worker}.sock"


def worker_of(pid: int) -> int:
    """The number of the process that issued the process id `pid`; it may be none that runs."""
    return pid >> _WORKER_SHIFT


class Cancels:
    """The keys of one process. `refuse(reason, client)` is told what was wrong with a request; there is no answer."""

    def __init__(self, state: Path, worker: int, refuse: Callable[[str, str], None]) -> None:
        self._state, self._worker, self._refuse = state, worker, refuse
        self._live: dict[int, Live] = {}
        self._under_way = 0
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Take requests that reached other processes. Raises ControlError where the socket cannot be had."""
        path = socket_path(self._state, self._worker)
        self._server = await asyncio.start_unix_server(self._told, sock=bind(path))

    async def close(self) -> None:
        """Take no more of them."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._server.wait_closed()  # those that are asking have their answer
            socket_path(self._state, self._worker).unlink(missing_ok=True)

    def new_key(self, version: int) -> tuple[int, bytes]:
        """A process id and a secret, as long as protocol `version` has them."""
        pid = 0
        while not pid or pid in self._live:
            pid = self._worker << _WORKER_SHIFT | (secrets.randbelow(2**_WORKER_SHIFT - 1) + 1)
        return pid, secrets.token_bytes(32 if version >= LONG_KEYS else 4)

    def add(self, pid: int, live: Live) -> None:
        """A session has begun."""
        self._live[pid] = live

    def remove(self, pid: int) -> None:
        """A session has ended."""
        self._live.pop(pid, None)

    async def request(self, asked: Cancel, client: str) -> None:
        """Pass a cancel request on, if its key is that of a session."""
        if self._under_way >= MAX_CANCELS:
            self._refuse("too many cancel requests at once", client)
            return
        self._under_way += 1
        try:
            worker = worker_of(asked.pid)
            if worker == self._worker or worker >= MAX_WORKERS:
                await self._here(asked, client)
            else:
                await self._tell(socket_path(self._state, worker), asked, client)
        finally:
            self._under_way -= 1

    async def _here(self, asked: Cancel, client: str) -> None:
        live = self._live.get(asked.pid)
        if live is None or not hmac.compare_digest(live.secret, asked.secret):
            self._refuse("a cancel request with an unknown key", client)
            return
        live.session.note("cancel requested")
        await live.cancel()

    async def _tell(self, path: Path, asked: Cancel, client: str) -> None:
        """Ask the process that issued the key. One that does not run has no sessions either."""
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_unix_connection(sock=connect(path))
                try:
                    check_peer(writer.transport)
                    writer.write(encode_told(asked, client))
                    writer.write_eof()
                    await reader.read(1)  # it closes when it has passed the request on
                finally:
                    await _closed(writer)
        except (OSError, TimeoutError, ControlError):
            self._refuse("a cancel request with an unknown key", client)

    async def _told(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ControlError):
            try:
                check_peer(writer.transport)
                async with asyncio.timeout(_PATIENCE):
                    data = b""
                    while len(data) <= _TOLD_LIMIT and (piece := await reader.read(_TOLD_LIMIT)):
                        data += piece
                told = decode_told(data)
                if told is not None and worker_of(told[0].pid) == self._worker:
                    await self.request(*told)
            finally:
                await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def encode_told(asked: Cancel, client: str) -> bytes:
    """A cancel request as one process tells another: process id, length of the secret, secret, the client's address."""
    return asked.pid.to_bytes(4, "big") + len(asked.secret).to_bytes(2, "big") + asked.secret + client.encode()


def decode_told(data: bytes) -> tuple[Cancel, str] | None:
    """The request and the client's address; None where it is no such message."""
    end = 6 + int.from_bytes(data[4:6], "big")
    if not 6 < end <= len(data) <= _TOLD_LIMIT:
        return None
    return Cancel(int.from_bytes(data[:4], "big"), data[6:end]), data[end:].decode("utf-8", "replace")
