"""HTTP/2 on both sides, and gRPC: an upstream that speaks h2, an agent that does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.certs import Authority
from tests.addons.gateway_process import GatewayProcess, gateway_process
from tests.helpers import make_config, wait_until

HOST = "grpc.internal"
KEY = "grpc-upstream-key-4242"


class Http2Server:
    """Echoes each DATA frame as it comes, ends with a `grpc-status` trailer; remembers headers and bodies."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder, "h2")
        pair = authority.issue(HOST, file="h2")
        self.ca = authority.cert
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair.cert, pair.key)
        self.context.set_alpn_protocols(["h2"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.headers: list[dict[bytes, bytes]] = []
        self.bodies: dict[int, bytes] = {}
        self.connections = 0
        self.cut_off = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.listener.settimeout(0.05)
        stopping = threading.Event()
        threads: list[threading.Thread] = []

        def accept() -> None:
            while not stopping.is_set():
                with contextlib.suppress(OSError):
                    client, _ = self.listener.accept()
                    client.settimeout(0.05)
                    thread = threading.Thread(target=self._serve, args=(client, stopping))
                    threads.append(thread)
                    thread.start()

        main = threading.Thread(target=accept)
        main.start()
        try:
            yield
        finally:
            stopping.set()
            main.join()
            for thread in threads:
                thread.join()
            self.listener.close()

    def _serve(self, client: socket.socket, stopping: threading.Event) -> None:
        client.settimeout(5)
        with (
            contextlib.suppress(OSError, h2.exceptions.ProtocolError),
            client,
            self.context.wrap_socket(client, server_side=True) as tls,
        ):
            self.connections += 1
            tls.settimeout(0.05)
            http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
            http.initiate_connection()
            tls.sendall(http.data_to_send())
            while not stopping.is_set():
                try:
                    data = tls.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                for event in http.receive_data(data):
                    self._answer(http, event)
                tls.sendall(http.data_to_send())

    def _answer(self, http: h2.connection.H2Connection, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.headers.append(dict(event.headers))
            if status := self.headers[-1].get(b"x-flood"):
                self._flood(http, event.stream_id, status)
                return
            http.send_headers(event.stream_id, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        elif isinstance(event, h2.events.DataReceived):
            http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            if event.data:
                http.send_data(event.stream_id, event.data)
        if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            self.cut_off += 1
        if isinstance(event, h2.events.StreamEnded) and b"x-flood" not in self.headers[-1]:
            told = self.headers[-1].get(b"x-key", b"")
            http.send_headers(event.stream_id, [(b"grpc-status", b"0"), (b"grpc-message", told)], end_stream=True)

    def _flood(self, http: h2.connection.H2Connection, stream: int, status: bytes) -> None:
        """An answer that has no body, and then one that never ends."""
        http.send_headers(stream, [(b":status", status)])
        http.send_data(stream, b"x" * 10_000)


class Agent:
    """An HTTP/2 client inside a tunnel."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.tls = gateway.tunnel(f"{HOST}:443", alpn="h2")
        assert self.tls.selected_alpn_protocol() == "h2"
        self.tls.settimeout(10)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.events: list[Any] = []

    def headers(
        self, stream: int, *more: tuple[str, str], method: str = "POST", end: bool = False, host: str = HOST
    ) -> None:
        fields = [
            (":method", method),
            (":scheme", "https"),
            (":authority", host),
            (":path", "/shop.Orders/Watch"),
            *more,
        ]
        self.http.send_headers(stream, fields, end_stream=end)
        self.flush()

    def data(self, stream: int, data: bytes, *, end: bool = False) -> None:
        self.http.send_data(stream, data, end_stream=end)
        self.flush()

    def flush(self) -> None:
        self.tls.sendall(self.http.data_to_send())

    def wait_for(self, kind: type, stream: int) -> Any:
        while True:
            for event in self.events:
                if isinstance(event, kind) and getattr(event, "stream_id", None) == stream:
                    self.events.remove(event)
                    return event
            data = self.tls.recv(65536)
            if not data:
                raise ConnectionError("closed")
            self.events += self.http.receive_data(data)
            self.flush()


GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


def message(data: bytes) -> bytes:
    return b"\x00" + len(data).to_bytes(4, "big") + data


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, Http2Server]]:
    folder = tmp_path_factory.mktemp("h2")
    server = Http2Server(folder / "server")
    setup = make_config(
        folder,
        resources={
            "grpc": {
                "type": "http",
                "hosts": [HOST],
                "upstream": f"https://127.0.0.1:{server.port}",
                "ca": f"file:{server.ca}",
                "groups": ["agents"],
                "default": "allow",
                "headers": {"X-Key": "env:GRPC_KEY"},
            }
        },
        env={"GRPC_KEY": KEY},
    )
    with server.running(), gateway_process(setup) as gateway:
        yield gateway, server


def test_a_grpc_call_is_decided_by_its_opening_and_streamed_both_ways(
    stage: tuple[GatewayProcess, Http2Server],
) -> None:
    gateway, _ = stage
    agent = Agent(gateway)
    with agent.tls:
        agent.headers(1, *GRPC)
        for word in (b"one", b"two"):  # the second is sent when the first has come back
            agent.data(1, message(word))
            assert agent.wait_for(h2.events.DataReceived, 1).data == message(word)
        agent.data(1, b"", end=True)
        trailers = agent.wait_for(h2.events.TrailersReceived, 1).headers
        assert ("grpc-status", "0") in [tuple(field) for field in trailers]
    command = gateway.records(Kind.COMMAND)[-1]
    assert (command.payload["action"], command.payload["detail"]["body"]) == ("write", None)
    chunks = [r.payload for r in gateway.records(Kind.CHUNK) if r.command == command.id]
    assert {chunk["direction"] for chunk in chunks} == {"to_upstream", "to_client"}
    outcome = gateway.outcome(command.payload["text"])
    assert outcome["sample"]["trailers"] == [["grpc-status", "0"], ["grpc-message", "*" * len(KEY)]]


def test_a_body_that_only_says_it_is_grpc_does_not_get_through(stage: tuple[GatewayProcess, Http2Server]) -> None:
    gateway, server = stage
    server.bodies.clear()
    agent = Agent(gateway)
    with agent.tls, contextlib.suppress(OSError, h2.exceptions.ProtocolError):
        agent.headers(1, *GRPC)
        agent.data(1, b'{"drop": true}', end=True)
        agent.wait_for(h2.events.StreamEnded, 1)
    assert not any(b"drop" in body for body in server.bodies.values())


def test_http2_requests_share_a_connection_and_are_each_on_record(stage: tuple[GatewayProcess, Http2Server]) -> None:
    gateway, server = stage
    before, connections = len(gateway.commands()), server.connections
    agent = Agent(gateway)
    with agent.tls:
        for stream in range(1, 41, 2):
            agent.headers(stream, method="GET", end=True)
        for stream in range(1, 41, 2):
            agent.wait_for(h2.events.StreamEnded, stream)
    assert len(gateway.commands()) == before + 20
    assert server.connections == connections + 1


def test_a_coalesced_other_name_gets_421(stage: tuple[GatewayProcess, Http2Server]) -> None:
    gateway, server = stage
    reached = len(server.headers)
    agent = Agent(gateway)
    with agent.tls:
        agent.headers(1, method="GET", end=True, host="other.internal")
        headers = agent.wait_for(h2.events.ResponseReceived, 1).headers
        assert (":status", "421") in [tuple(field) for field in headers]
    assert len(server.headers) == reached


def test_trailers_do_not_carry_the_gateways_credential(stage: tuple[GatewayProcess, Http2Server]) -> None:
    gateway, server = stage
    agent = Agent(gateway)
    with agent.tls:
        agent.headers(1, *GRPC)
        agent.data(1, message(b"hello"), end=True)
        trailers = dict(agent.wait_for(h2.events.TrailersReceived, 1).headers)
    assert server.headers[-1][b"x-key"] == KEY.encode()
    assert trailers["grpc-status"] == "0"
    assert KEY not in trailers["grpc-message"]


@pytest.mark.parametrize(("method", "status"), [("GET", "204"), ("GET", "304"), ("HEAD", "200")])
def test_a_body_with_an_answer_that_has_none_is_cut_off_at_its_first_byte(
    stage: tuple[GatewayProcess, Http2Server], method: str, status: str
) -> None:
    gateway, server = stage
    before = server.cut_off
    agent = Agent(gateway)
    with agent.tls:
        agent.headers(1, ("x-flood", status), method=method, end=True)
        headers = agent.wait_for(h2.events.ResponseReceived, 1).headers
        assert (":status", "502") in [tuple(field) for field in headers]
        wait_until(lambda: server.cut_off > before, what="the upstream to be cut off")
    aborted = gateway.records(Kind.OUTCOME)[-1].payload
    assert aborted["status"] == "aborted"
