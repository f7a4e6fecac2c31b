"""Upgrades as they stand on the wire: which are let through to a cluster, and what a server may answer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from onrecord.addons.kubernetes_api.streams import spdy_frames as frames
from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.https_api import Received
from tests.addons.gateway_process import read_head
from tests.addons.kubernetes_api.cluster import HOST
from tests.addons.kubernetes_api.streams.test_kubectl_streams import Pods, pods
from tests.addons.kubernetes_api.streams.test_spdy import Client, bomb
from tests.helpers import wait_until

EXEC = "/api/v1/namespaces/shop/pods/web/exec?command=cat&stdin=true&stdout=true"
WEBSOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SPDY = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n"
V5 = "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
V4 = "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    with pods(tmp_path_factory.mktemp("openings")) as made:
        yield made


@contextlib.contextmanager
def upgrade(shared: Pods, target: str, headers: str, method: str = "GET") -> Iterator[tuple[ssl.SSLSocket, bytes]]:
    """The connection and the head of the answer."""
    with shared.parts.gateway.tunnel(f"{HOST}:443") as client:
        client.settimeout(30)
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n".encode())
        yield client, read_head(client)


def answered(shared: Pods, target: str, headers: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    with upgrade(shared, target, headers, method) as (client, head):
        top, _, body = head.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in top.lower().split(b"\r\n") if b"content-length" in line), 0)
        while len(body) < length:
            body += client.recv(65536)
        return int(head[9:12]), json.loads(body) if body else {}


def last_outcome(shared: Pods) -> dict[str, Any]:
    return shared.parts.gateway.records(Kind.OUTCOME)[-1].payload


@contextlib.contextmanager
def server(shared: Pods, *lines: str) -> Iterator[None]:
    """The cluster answers the next streams with these header lines."""

    async def answer(_api: object, _request: Received, _reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        await asyncio.sleep(5)

    real, shared.parts.api.streams = shared.parts.api.streams, answer
    yield
    shared.parts.api.streams = real


ACCEPT = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    "lines",
    [
        ("HTTP/1.1 101 Switching", ACCEPT),
        ("HTTP/1.1 101 Switching", "Connection: Upgrade", "Upgrade: websocket", ACCEPT),
        (
            "HTTP/1.1 101 Switching", "Connection: Upgrade", "Upgrade: SPDY/3.1",
            "X-Stream-Protocol-Version: v4.channel.k8s.io",
        ),
        (
            "HTTP/1.1 101 Switching", "Connection: Upgrade", "Upgrade: websocket", ACCEPT,
            "Sec-WebSocket-Protocol: v4.channel.k8s.io",
        ),
        (
            "HTTP/1.1 101 Switching", "Connection: Upgrade", "Upgrade: websocket", ACCEPT,
            "Sec-WebSocket-Protocol: v5.channel.k8s.io", "Sec-WebSocket-Protocol: v4.channel.k8s.io",
        ),
    ],
)  # fmt: skip
def test_a_server_that_switches_to_something_else_is_not_followed(shared: Pods, lines: tuple[str, ...]) -> None:
    with server(shared, *lines):
        status, body = answered(shared, EXEC, WEBSOCKET + V5)
    assert status == 502
    assert body["kind"] == "Status"
    assert last_outcome(shared)["status"] == "aborted"


def test_a_switch_that_nobody_asked_for_is_not_delivered(shared: Pods) -> None:
    lines = ("HTTP/1.1 101 Switching", "Connection: Upgrade", "Upgrade: SPDY/3.1")
    with server(shared, *lines):
        status, _ = answered(shared, EXEC, "")
    assert status == 403


@pytest.mark.parametrize(
    ("target", "headers", "method"),
    [
        ("/api/v1/namespaces/shop/pods/web/log", WEBSOCKET + V5, "GET"),
        ("/api/v1/namespaces/shop/pods?watch=true", WEBSOCKET + V5, "GET"),
        ("/api/v1/namespaces/shop/pods/web/proxy/ws", WEBSOCKET + V5, "GET"),
        ("/api/v1/nodes/n1/proxy/exec/shop/web/app?command=id", SPDY + V4, "POST"),
        ("/apis/apps/v1/namespaces/shop/deployments/web/exec", SPDY + V4, "POST"),
        ("/apis/example.com/v1/namespaces/shop/pods/web/exec", SPDY + V4, "POST"),
        (EXEC, WEBSOCKET, "GET"),
        (EXEC, WEBSOCKET + "Sec-WebSocket-Protocol: chat\r\n", "GET"),
        (EXEC, SPDY, "POST"),
        (EXEC, SPDY + "X-Stream-Protocol-Version: v9.channel.k8s.io\r\n", "POST"),
        (EXEC, "", "GET"),
        (EXEC, "Content-Length: 0\r\n", "POST"),
    ],
)
def test_an_upgrade_that_is_not_served_is_refused_and_never_reaches_the_cluster(
    shared: Pods, target: str, headers: str, method: str
) -> None:
    before = len(shared.parts.api.requests)
    status, body = answered(shared, target, headers, method)
    assert (status, body["status"]) == (403, "Failure")
    assert len(shared.parts.api.requests) == before
    assert last_outcome(shared)["status"] == "refused"


@pytest.mark.parametrize(
    ("headers", "method"),
    [
        (SPDY.replace("Content-Length: 0", "Content-Length: 3") + V4, "POST"),
        (SPDY + V4, "PUT"),
        (SPDY.replace("SPDY/3.1", "SPDY/3") + V4, "POST"),
        (SPDY.replace("SPDY/3.1", "SPDY/3.1, websocket") + V4, "POST"),
        (SPDY + "Upgrade: websocket\r\n" + V4, "POST"),
        (SPDY.replace("Content-Length: 0", "Transfer-Encoding: chunked") + V4, "POST"),
    ],
)
def test_an_upgrade_with_two_meanings_is_refused(shared: Pods, headers: str, method: str) -> None:
    before = len(shared.parts.api.requests)
    status, _ = answered(shared, EXEC, headers, method)
    assert status == 400
    assert len(shared.parts.api.requests) == before


def test_only_what_can_be_read_is_offered_to_the_cluster_and_no_token(shared: Pods) -> None:
    bearer = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(b"agents-token").decode().rstrip("=")
    offers = f"Sec-WebSocket-Protocol: v9.channel.k8s.io, {bearer}, v5.channel.k8s.io, v4.channel.k8s.io\r\n"
    with upgrade(shared, EXEC, WEBSOCKET + offers) as (_, head):
        assert head.startswith(b"HTTP/1.1 101")
        assert b"v5.channel.k8s.io" in head
    request = shared.parts.api.requests[-1]
    assert request.header("sec-websocket-protocol") == "v5.channel.k8s.io, v4.channel.k8s.io"
    assert bearer not in repr([record.payload for record in shared.parts.gateway.records()])


def last_error(shared: Pods) -> str:
    def find() -> str:
        outcome = last_outcome(shared)
        return str(outcome.get("error")) if outcome["status"] == "aborted" else ""

    return str(wait_until(find, timeout=30, what="the outcome"))


@pytest.mark.parametrize(
    ("junk", "reason"),
    [
        (frames.control(frames.SYN_STREAM, bomb()), "inflates beyond"),
        (struct.pack(">II", 1 << 31 | 3 << 16 | 1, 1 << 23), "over the limit"),
        (frames.control(frames.HEADERS, struct.pack(">I", 1)), "HEADERS"),
        (Client().open(1, streamtype="stdin") + frames.data_frames(7, b"x"), "never opened"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
    ],
)
def test_junk_behind_an_upgrade_to_spdy_ends_it(shared: Pods, junk: bytes, reason: str) -> None:
    with upgrade(shared, EXEC, SPDY + V4, "POST") as (client, head):
        assert head.startswith(b"HTTP/1.1 101")
        client.sendall(junk + (b"" if reason else b"\0" * 64))
        if not reason:
            client.close()
        else:
            with contextlib.suppress(OSError):
                while client.recv(65536):
                    pass
    assert reason in last_error(shared)
    wait_until(lambda: shared.streams.open == 0, timeout=30, what="the end upstream")


def test_junk_behind_an_upgrade_to_a_websocket_ends_it(shared: Pods) -> None:
    with upgrade(shared, EXEC, WEBSOCKET + V5) as (client, head):
        assert head.startswith(b"HTTP/1.1 101")
        client.sendall(b"\x82\x82\x00\x00\x00\x00\x09x")  # channel 9
        told = b""
        with contextlib.suppress(OSError):
            while part := client.recv(65536):
                told += part
    assert b"channel 9" in told
    assert "channel 9" in last_error(shared)
    wait_until(lambda: shared.streams.open == 0, timeout=30, what="the end upstream")


def test_an_open_stream_ends_with_its_token(shared: Pods) -> None:
    token = shared.parts.gateway.setup.mint(ttl=4.0)
    started = time.monotonic()
    client, head = shared.parts.gateway.connect(f"{HOST}:443", token)
    assert head.startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=str(shared.parts.gateway.ca))
    with context.wrap_socket(client, server_hostname=HOST) as inside:
        inside.settimeout(60)
        inside.sendall(f"GET {EXEC} HTTP/1.1\r\nHost: {HOST}\r\n{WEBSOCKET}{V5}\r\n".encode())
        assert read_head(inside).startswith(b"HTTP/1.1 101")
        with contextlib.suppress(OSError):
            while inside.recv(65536):
                pass
    assert time.monotonic() - started < 60
    assert "expired" in last_error(shared)
    wait_until(lambda: shared.streams.open == 0, timeout=30, what="the end upstream")
