"""Full disks and killed processes: what went upstream is on record, what cannot be recorded goes nowhere."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.recordings.frames import Kind
from tests.addons.gateway_process import GatewayProcess, gateway_process, read_answer
from tests.addons.raw_upstream import RawUpstream
from tests.helpers import make_config, wait_until

HOST = b"Host: raw.internal\r\n"
TEXT = b"not to be delivered unrecorded"


class Disk:
    """A small file system that a test fills and empties."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (65536, 512, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)


class Upstream(RawUpstream):
    """Fills the disk when it is asked to, before it answers or in the middle of an answer."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(self._reply)
        self.disk = disk

    def _reply(self, head: bytes, client: socket.socket) -> bool:
        path = head.split(b" ")[1]
        if path == b"/flow":
            client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
            self.disk.fill()
            # more than what the journal keeps allocated beyond its end
            part = (TEXT * 2000)[:60_000]
            for _ in range(100):
                client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            client.sendall(b"4\r\ndone\r\n0\r\n\r\n")
        elif path == b"/answer":
            self.disk.fill()
            body = (TEXT * 2000)[:60_000]
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        else:
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[GatewayProcess, Upstream]]:
    """A gateway on a file system of 16 MiB. Where none can be mounted the test fails: it must not be skipped."""
    folder = tmp_path / "gateway"
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(folder)], check=True)
    try:
        upstream = Upstream(Disk(folder))
        setup = make_config(
            tmp_path,
            resources={"raw": upstream.resource()},
            recordings={"body_limit": "16 MiB", "sample_limit": "64 KiB"},
        )
        with upstream.running(), gateway_process(setup) as gateway:
            yield gateway, upstream
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def ask(gateway: GatewayProcess, path: str) -> tuple[int, bytes]:
    try:
        return gateway.ask(b"GET %s HTTP/1.1\r\n%s\r\n" % (path.encode(), HOST), "raw.internal:443")
    except ConnectionError as error:  # the tunnel was refused; its message is the head
        head = str(error).encode()
        return (int(head[9:12]) if head.startswith(b"HTTP/") else 0), head


def ask_until_refused(gateway: GatewayProcess, path: str) -> bytes:
    """The journal keeps some space allocated: the first few may still be recorded."""
    for _ in range(100):
        status, data = ask(gateway, path)
        if status != 200:
            return data
    raise AssertionError("a full disk refuses nothing")


def test_a_full_disk_refuses_requests_and_recovers_by_itself(full: tuple[GatewayProcess, Upstream]) -> None:
    gateway, upstream = full
    assert ask(gateway, "/first")[0] == 200
    body = b"x" * 60_000
    request = b"POST /post HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n" % (HOST, len(body)) + body
    with gateway.tunnel("raw.internal:443") as client:
        upstream.disk.fill()
        reached, status, data = 0, 200, b""
        while status == 200:  # the journal keeps some space allocated: the first few are still recorded
            reached = len(upstream.heads)
            client.sendall(request)
            status, data = read_answer(client)
        assert status == 503
        assert b"onrecord:store" in data or b"onrecord:control" in data
        assert len(upstream.heads) == reached
    assert ask(gateway, "/none")[0] == 503
    assert len(upstream.heads) == reached
    upstream.disk.empty()
    wait_until(lambda: ask(gateway, "/again")[0] == 200, timeout=30, what="the recovery")
    commands = [r.payload["verdict"] for r in gateway.records(Kind.COMMAND)]
    assert any(v["policy"] in ("onrecord:store", "onrecord:control") for v in commands), "the refusal is on record"
    assert any(r["what"] in ("onrecord:store", "onrecord:control") for r in gateway.refusals())


def test_an_answer_that_cannot_be_recorded_is_not_delivered(full: tuple[GatewayProcess, Upstream]) -> None:
    gateway, upstream = full
    data = ask_until_refused(gateway, "/answer")
    assert TEXT not in data
    upstream.disk.empty()
    wait_until(lambda: ask(gateway, "/again")[0] == 200, timeout=30, what="the recovery")


def test_a_stream_stops_where_it_can_no_longer_be_recorded(full: tuple[GatewayProcess, Upstream]) -> None:
    gateway, upstream = full
    _, data = ask(gateway, "/flow")
    assert b"begin" in data
    assert b"done" not in data
    delivered = data.count(TEXT)
    upstream.disk.empty()
    wait_until(lambda: ask(gateway, "/again")[0] == 200, timeout=30, what="the recovery")
    chunks = "".join(str(r.payload.get("data")) for r in gateway.records(Kind.CHUNK))
    assert delivered <= chunks.count(TEXT.decode()) + 2, "at most what lies across two chunks"
    assert any(r.payload["status"] == "aborted" for r in gateway.records(Kind.OUTCOME))


def test_a_gateway_killed_at_any_step_has_recorded_what_went_upstream(tmp_path: Path) -> None:
    killed: list[GatewayProcess] = []

    def kill(head: bytes, client: socket.socket) -> bool:
        if b"/during" in head:
            client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
            gone.wait_for_part()
        os.kill(killed[0].worker.pid, signal.SIGKILL)
        return False

    for path in ("/before", "/during"):
        folder = tmp_path / path[1:]
        folder.mkdir()
        killed.clear()
        upstream = RawUpstream(kill)
        setup = make_config(folder, resources={"raw": upstream.resource()})
        with upstream.running(), gateway_process(setup) as gateway:
            killed.append(gateway)
            gone = Waiting(gateway)
            data = gone.ask(path)
            assert upstream.heads[0].startswith(b"GET " + path.encode())
            commands = [r.payload["text"] for r in gateway.records(Kind.COMMAND)]
            assert commands == [f"GET https://raw.internal{path}"]
            if path == "/during":
                assert b"begin" in data
                assert [r.payload["data"] for r in gateway.records(Kind.CHUNK)] == ["begin"]


class Waiting:
    """A client that tells when the first part of an answer has reached it."""

    def __init__(self, gateway: GatewayProcess) -> None:
        import threading

        self._gateway, self._part = gateway, threading.Event()

    def wait_for_part(self) -> None:
        assert self._part.wait(10)

    def ask(self, path: str) -> bytes:
        data = b""
        with self._gateway.tunnel("raw.internal:443") as client:
            client.sendall(b"GET %s HTTP/1.1\r\n%s\r\n" % (path.encode(), HOST))
            try:
                while part := client.recv(65536):
                    data += part
                    if b"begin" in data:
                        self._part.set()
            except OSError:
                pass
        return data
