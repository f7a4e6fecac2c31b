"""Slow floods of the page over real sockets: what they hold is bounded, and an honest client gets through."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from onrecord.recordings.admin import looks as looks_module
from onrecord.recordings.admin.guard import MAX_BODY, Guard
from onrecord.recordings.admin.live import MAX_OF_PERSON, Change, Live
from onrecord.recordings.admin.looks import MOST, Looks
from onrecord.recordings.admin.networks import Door, network_of
from onrecord.recordings.admin.server import bounded_protocol
from tests.recordings.admin.office import read_journals

HOST = "page.internal"
HEAD = f"GET /%s HTTP/1.1\r\nHost: {HOST}\r\n%s\r\n"


class App:
    """Answers: /small at once, /large with more than any buffer holds, /endless for ever. Counts what is under way."""

    def __init__(self) -> None:
        self.running = self.sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        try:
            if scope["path"] == "/endless":
                await StreamingResponse(self._endless())(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if scope["path"] == "/large":
                for _ in range(64):
                    await self._piece(send, b"x" * 65536)
            await send({"type": "http.response.body", "body": b"done"})
        finally:
            self.running -= 1

    async def _endless(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 65536
            yield b"x" * 65536
            await asyncio.sleep(0.001)

    async def _piece(self, send: Send, piece: bytes) -> None:
        message: Message = {"type": "http.response.body", "body": piece, "more_body": True}
        await send(message)
        self.sent += len(piece)
        await asyncio.sleep(0)


class Page:
    """A server with short deadlines, and its clients."""

    def __init__(self, app: App, address: tuple[str, int], server: uvicorn.Server) -> None:
        self.app, self.address, self.server = app, address, server

    async def get(self, path: str) -> bytes:
        """What an honest client gets."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write((HEAD % (path, "Connection: close\r\n")).encode())
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        return answer

    async def open(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address, limit=1024)
        writer.write(data)
        return reader, writer

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)


@contextlib.asynccontextmanager
async def serving(*, most: int = 64, deadline: float = 0.3, unread: float = 0.3) -> AsyncIterator[Page]:
    app = App()
    guard = Guard(app, origin=f"https://{HOST}", hosts=[HOST])
    config = uvicorn.Config(
        guard, http=bounded_protocol(most=most, deadline=deadline, unread=unread), ws="none", lifespan="off",
        log_config=None, access_log=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)  # who does not read is felt soon
    sock.bind(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    with contextlib.closing(sock):
        task = asyncio.ensure_future(server._serve([sock]))  # without its signal handlers
        try:
            async with asyncio.timeout(60):
                while not server.started:
                    await asyncio.sleep(0.01)
            yield Page(app, sock.getsockname(), server)
        finally:
            server.should_exit = server.force_exit = True
            await task


async def until(condition: object) -> None:
    async with asyncio.timeout(60):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", ["large", "endless"])
async def test_who_does_not_read_the_answer_is_cut_off_and_what_made_it_ends(path: str) -> None:
    async with serving() as page:
        reader, writer = await page.open((HEAD % (path, "")).encode())
        await until(lambda: page.app.sent > 0)
        await until(lambda: page.app.running == 0 and page.connections == 0)
        assert b"done" in await page.get("small")
        writer.close()
        del reader


async def test_who_reads_slowly_but_reads_gets_all_of_it() -> None:
    async with serving(unread=5.0) as page:
        reader, writer = await page.open((HEAD % ("large", "Connection: close\r\n")).encode())
        got = 0
        while data := await reader.read(65536):
            got += len(data)
            await asyncio.sleep(0.001)
        assert got > 64 * 65536
        writer.close()


async def test_slow_heads_leave_room_for_others_and_are_closed() -> None:
    async with serving(most=64) as page:
        slow = [await page.open(b"GET /small HTTP/1.1\r\nX: ") for _ in range(40)]
        await until(lambda: page.connections <= 16)  # a quarter: they are all of one address
        await until(lambda: page.connections == 0)
        assert b"done" in await page.get("small")
        for _, writer in slow:
            writer.close()


async def test_many_requests_on_one_connection_are_answered_one_after_the_other() -> None:
    async with serving(deadline=10.0, unread=20.0) as page:
        many = 200
        reader, writer = await page.open((HEAD % ("small", "")).encode() * many)
        got = b""
        while got.count(b"done") < many:
            data = await asyncio.wait_for(reader.read(65536), 60)
            assert data
            got += data
            assert page.app.running <= 1
        writer.close()


async def test_pipelined_requests_behind_an_answer_that_nobody_reads_are_not_kept() -> None:
    async with serving() as page:
        _, writer = await page.open((HEAD % ("endless", "")).encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(2000):
                writer.write((HEAD % ("small", "")).encode())
                await asyncio.wait_for(writer.drain(), 60)
        await until(lambda: page.app.running == 0 and page.connections == 0)
        writer.close()


async def test_a_large_form_and_a_body_that_never_ends_are_refused() -> None:
    async with serving(deadline=30) as page:
        origin = f"Origin: https://{HOST}\r\n"
        head = f"POST /small HTTP/1.1\r\nHost: {HOST}\r\n{origin}"
        for rest in (
            f"Content-Length: {MAX_BODY + 1}\r\n\r\n".encode(),
            b"Transfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 8,
        ):
            reader, writer = await page.open(head.encode() + rest)
            assert b" 413 " in await asyncio.wait_for(reader.readline(), 60)
            writer.close()
        assert page.app.sent == 0


def test_one_client_has_a_quarter_and_the_last_eighth_is_for_newcomers() -> None:
    door = Door(64)
    assert [door.enter("a") for _ in range(20)].count(True) == 16
    for client in "bcd":
        for _ in range(20):
            door.enter(client)
    assert not door.enter("d")
    assert [door.enter(f"new {number}") for number in range(10)].count(True) == 8
    door.leave("a")
    assert not door.enter("a")
    assert door.enter("newcomer")


def test_addresses_of_one_network_count_as_one_client() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("fe80::1%eth0") == network_of("fe80::2%eth1")
    assert network_of("-") == "-"


def test_one_person_does_not_take_all_event_streams() -> None:
    live = Live()
    with contextlib.ExitStack() as stack:
        got = [stack.enter_context(live.stream("dana")) for _ in range(MAX_OF_PERSON + 5)]
        assert got.count(None) == 5
        other = stack.enter_context(live.stream("ada"))
        assert other is not None
        for number in range(1000):
            live.tell(Change(str(number)))
        assert other.qsize() <= other.maxsize
    assert len(live) == 0
    with live.stream("dana") as queue:
        assert queue is not None


def refusals(folder: Path) -> list[dict[str, Any]]:
    return [record for record in read_journals(folder) if record["kind"] == "REFUSAL"]


def test_refusals_of_many_addresses_do_not_fill_the_journal(tmp_path: Path) -> None:
    now = 0.0
    looks = Looks(tmp_path, "admin", clock=lambda: now)
    for number in range(MOST + 500):
        looks.refuse("a login failed", client=f"[2001:db8:{number:x}::1]:999")
    assert len(refusals(tmp_path)) == MOST
    now = looks_module.WINDOW + 1
    looks.refuse("a login failed", client="192.0.2.1:999")
    looks.close()
    counts = [record.get("count", 1) for record in refusals(tmp_path)]
    assert sum(counts) == MOST + 501
    assert len(counts) == MOST + 2
