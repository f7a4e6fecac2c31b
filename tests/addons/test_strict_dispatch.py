"""The fail-closed suite: whatever raises inside a hook, nothing passes that the hook should have stopped."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.gateway_process import GatewayProcess, gateway_process, read_answer, read_head
from tests.helpers import http_resource, make_config

BEFORE_UPSTREAM = [
    "client_connected",
    "http_connect",
    "http_connected",
    "next_layer",
    "tls_clienthello",
    "tls_start_client",
    "tls_established_client",
    "requestheaders",
    "request",
    "server_connect",
    "server_connected",
    "tls_start_server",
    "tls_established_server",
]
BEFORE_DELIVERY = ["responseheaders", "response"]
MARK = b"inv_0001"


class Bombed:
    def __init__(self, gateway: GatewayProcess, api: HttpsApi, file: Path) -> None:
        self.gateway, self.api, self.file = gateway, api, file

    @contextlib.contextmanager
    def raising(self, where: str) -> Iterator[None]:
        self.api.requests.clear()
        self.file.write_text(where)
        try:
            yield
        finally:
            self.file.write_text("")

    def get(self, path: bytes = b"/v1/invoices") -> bytes:
        """All that the agent reads, by TLS through a tunnel."""
        try:
            with self.gateway.tunnel() as client:
                client.settimeout(5)
                client.sendall(b"GET %b HTTP/1.1\r\nHost: billing.internal\r\n\r\n" % path)
                return read_answer(client)[1]
        except (OSError, AssertionError) as error:
            return str(error).encode()


@pytest.fixture(scope="module")
def bombed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bombed]:
    folder = tmp_path_factory.mktemp("bomb")
    file = folder / "bomb"
    file.write_text("")
    with HttpsApi("billing.internal") as api:
        setup = make_config(folder, resources={"billing": http_resource(api, plaintext=True)})
        script = Path(__file__).parent / "bomb_worker.py"
        with gateway_process(setup, command=(sys.executable, str(script), str(setup.path), str(file))) as gateway:
            yield Bombed(gateway, api, file)


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("hook", BEFORE_UPSTREAM)
def test_a_hook_that_raises_on_the_way_up_lets_nothing_reach_the_upstream(
    bombed: Bombed, hook: str, place: str
) -> None:
    with bombed.raising(f"{place}:{hook}"):
        answer = bombed.get()
    assert MARK not in answer
    assert bombed.api.requests == []
    assert MARK in bombed.get()  # the next connection is as good as ever


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("hook", BEFORE_DELIVERY)
def test_a_hook_that_raises_on_the_way_down_delivers_nothing(bombed: Bombed, hook: str, place: str) -> None:
    with bombed.raising(f"{place}:{hook}"):
        assert MARK not in bombed.get()
    with bombed.raising(f"{place}:{hook}"):
        answer = bombed.get(b"/big?bytes=400000")
    if hook == "responseheaders":
        assert bytes(range(64)) not in answer
    else:  # streamed and recorded by then; its end is not
        assert not answer.endswith(b"0\r\n\r\n")
    assert MARK in bombed.get()


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("hook", ["requestheaders", "request", "responseheaders", "response", "server_connect"])
def test_plain_http_fails_closed_too(bombed: Bombed, hook: str, place: str) -> None:
    with bombed.raising(f"{place}:{hook}"):
        answer = bombed.gateway.curl("http://billing.internal/v1/invoices")
    assert "inv_0001" not in answer.stdout
    if not hook.startswith("response"):
        assert bombed.api.requests == []


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("hook", ["websocket_start", "websocket_message"])
def test_a_websocket_hook_that_raises_passes_no_message(bombed: Bombed, hook: str, place: str) -> None:
    with bombed.raising(f"{place}:{hook}"), contextlib.suppress(OSError), open_websocket(bombed.gateway) as client:
        client.settimeout(5)
        client.sendall(frame(b"hello upstream"))
        echoed = client.recv(65536)
        assert b"hello upstream" not in echoed
    assert all(request.method != "WEBSOCKET" for request in bombed.api.requests)


@pytest.mark.parametrize("hook", ["error", "client_disconnected", "server_disconnected", "websocket_end"])
def test_a_hook_that_raises_when_all_is_over_harms_no_other_connection(bombed: Bombed, hook: str) -> None:
    with bombed.raising(f"last:{hook}"):
        with contextlib.suppress(OSError, ssl.SSLError), open_websocket(bombed.gateway) as client:
            client.sendall(frame(b"", opcode=8))
        with bombed.gateway.tunnel() as client:
            client.sendall(b"GET /slow?seconds=5 HTTP/1.1\r\nHost: billing.internal\r\n\r\n")
        assert MARK in bombed.get()


def test_the_operator_is_told_which_hook_failed_without_what_the_client_sent(bombed: Bombed) -> None:
    with bombed.raising("last:request"):
        bombed.get(b"/v1/invoices?word=topsecretword")
    assert "request failed with RuntimeError" in bombed.gateway.output()
    assert "topsecretword" not in bombed.gateway.output()


def open_websocket(gateway: GatewayProcess, path: str = "/ws", host: str = "billing.internal") -> ssl.SSLSocket:
    """A WebSocket through a tunnel, opened."""
    client = gateway.tunnel(f"{host}:443")
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    try:
        client.sendall(request.encode())
        head = read_head(client)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.decode("latin-1"))
    except OSError:
        client.close()
        raise
    return client


def frame(data: bytes, *, opcode: int = 1, final: bool = True) -> bytes:
    """A masked client frame (RFC 6455 §5.2)."""
    mask = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0xFE]) + len(data).to_bytes(2, "big")
    return bytes([(0x80 if final else 0) | opcode]) + length + mask + masked


def read_frame(client: socket.socket) -> tuple[int, bytes]:
    """Opcode and data of one server frame."""

    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = client.recv(count - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    first, length = exactly(2)
    if length == 126:
        length = int.from_bytes(exactly(2), "big")
    return first & 15, exactly(length)


def test_a_request_that_the_gateway_fails_to_read_is_refused_on_record(bombed: Bombed) -> None:
    before = len(bombed.gateway.refusals())
    with bombed.raising("inside:ask"):
        told = bombed.get()
    assert b"503" in told
    assert b"failed while it read this request" in told
    assert b"bomb" not in told
    assert bombed.api.requests == []
    refusals = bombed.gateway.refusals()
    assert len(refusals) == before + 1
    assert "failed while it read" in refusals[-1]["reason"]
