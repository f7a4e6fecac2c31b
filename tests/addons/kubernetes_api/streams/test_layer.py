"""The layer behind a 101, driven by hand: what flows is on record first, masked, and what is wrong ends both sides."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import wsproto.events as ws
from mitmproxy.connection import Client, Server
from mitmproxy.http import HTTPFlow
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from wsproto.connection import Connection, ConnectionType

from onrecord.addons.kubernetes_api.streams import spdy_frames as frames
from onrecord.addons.kubernetes_api.streams.audit import StreamAudit
from onrecord.addons.kubernetes_api.streams.layer import Conversation, ForwardPortHook, StreamLayer
from onrecord.addons.kubernetes_api.streams.protocols import TUNNEL, Carrier, read_opening
from onrecord.policies.errors import StoreError
from onrecord.policies.masking import no_masks
from onrecord.policies.model import Outcome
from onrecord.recordings.auditor import OpenSession
from tests.addons.kubernetes_api.streams.test_spdy import Client as SpdyClient

SUCCESS = b'{"metadata":{},"status":"Success"}'
FAILED = (
    b'{"metadata":{},"status":"Failure","message":"exit for ann@example.com",'
    b'"details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
)


class Auditor:
    """Keeps what is recorded; `full` is a journal that cannot write."""

    def __init__(self) -> None:
        self.chunks: list[dict[str, Any]] = []
        self.outcomes: list[tuple[str, Outcome]] = []
        self.full = False

    def chunk(self, decision: Any, direction: str, size: int, **more: Any) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.chunks.append({"of": decision.id, "direction": direction, "size": size, **more})

    def finish(self, decision: Any, outcome: Outcome) -> None:
        self.outcomes.append((decision.id, outcome))

    def abort(self, decision: Any, error: str) -> None:
        self.outcomes.append((decision.id, Outcome(status="aborted", error=error)))

    def data(self, channel: str) -> str:
        return "".join(str(one["data"]) for one in self.chunks if one.get("channel") == channel and one.get("data"))


def decision(id: str) -> Any:
    return SimpleNamespace(id=id, opened=OpenSession(None, b"", os.urandom(32)), started=0)  # type: ignore[arg-type]


class Bench:
    """A layer between two peers that are played by hand."""

    def __init__(
        self,
        carrier: Carrier = "websocket",
        subresource: str = "exec",
        protocol: str = "v5.channel.k8s.io",
        query: str = "",
        *,
        masks: bool = False,
        limit: int = 1 << 20,
        allow_port: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.auditor = Auditor()
        opening = read_opening(carrier, subresource, [protocol], query)
        self.audit = StreamAudit(
            self.auditor,  # type: ignore[arg-type]
            decision("main"),
            opening,
            protocol,
            masks=no_masks(b"k" * 32).with_detectors(["email"]) if masks else None,
            limit=limit,
        )
        client = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), timestamp_start=0)
        context = Context(client, Options())
        context.server = Server(address=("127.0.0.1", 3))
        self.client, self.server = context.client, context.server
        self.flow = HTTPFlow(client, context.server)
        self.conversation = Conversation(opening, protocol, self.audit)
        self.layer = StreamLayer(context, self.flow, self.conversation)
        self.to_client = self.to_server = b""
        self.closed: list[str] = []
        self.wakeups: list[commands.RequestWakeup] = []
        self._allow_port = allow_port
        self.client_ws = Connection(ConnectionType.CLIENT)
        self.server_ws = Connection(ConnectionType.SERVER)
        self.feed(events.Start())

    def feed(self, event: events.Event) -> None:
        queue = [event]
        for one in queue:
            for command in self.layer.handle_event(one):
                if isinstance(command, commands.SendData):
                    if command.connection is self.client:
                        self.to_client += command.data
                    else:
                        self.to_server += command.data
                elif isinstance(command, commands.CloseConnection):
                    self.closed.append("client" if command.connection is self.client else "server")
                elif isinstance(command, commands.RequestWakeup):
                    self.wakeups.append(command)
                elif isinstance(command, ForwardPortHook):
                    port = self.conversation.asked_port
                    if self._allow_port(port):
                        self.audit.allow_port(port, decision(f"port {port}"))
                    else:
                        self.conversation.port_refusal = f"port {port} is not for agents"
                    queue.append(events.HookCompleted(command))

    def from_client(self, data: bytes) -> None:
        self.feed(events.DataReceived(self.client, data))

    def from_server(self, data: bytes) -> None:
        self.feed(events.DataReceived(self.server, data))

    def client_says(self, *messages: bytes) -> None:
        for message in messages:
            self.from_client(self.client_ws.send(ws.BytesMessage(message)))

    def server_says(self, *messages: bytes) -> None:
        for message in messages:
            self.from_server(self.server_ws.send(ws.BytesMessage(message)))

    def wake(self) -> None:
        self.feed(events.Wakeup(self.wakeups.pop()))

    def client_hears(self) -> list[Any]:
        return _messages(self.client_ws, self.to_client)

    def server_hears(self) -> list[Any]:
        return _messages(self.server_ws, self.to_server)


def _messages(side: Connection, data: bytes) -> list[Any]:
    side.receive_data(data)
    found: list[Any] = []
    for event in side.events():
        if isinstance(event, ws.Message):
            found.append(bytes(event.data) if not isinstance(event.data, str) else event.data)
        elif isinstance(event, ws.CloseConnection):
            found.append((int(event.code), event.reason))
    return found


def test_an_exec_is_relayed_and_recorded_channel_by_channel() -> None:
    bench = Bench()
    bench.client_says(b"\x00in", b'\x04{"Width":80,"Height":24}', b"\xff\x00")
    bench.server_says(b"\x01out", b"\x02err", b"\x03" + SUCCESS)
    assert bench.server_hears() == [b"\x00in", b'\x04{"Width":80,"Height":24}\n', b"\xff\x00"]
    assert bench.client_hears() == [b"\x01out", b"\x02err", b"\x03" + SUCCESS]
    kept = [(one["channel"], one["data"]) for one in bench.auditor.chunks if one.get("data")]
    assert kept == [("stdin", "in"), ("resize", {"columns": 80, "rows": 24}), ("stdout", "out"), ("stderr", "err")]
    ((_, outcome),) = bench.auditor.outcomes
    assert (outcome.status, outcome.code, outcome.bytes) == ("ok", "0", 6)


def test_the_exit_status_is_the_outcomes_code_and_its_text_is_masked() -> None:
    bench = Bench(masks=True)
    bench.server_says(b"\x03" + FAILED)
    ((_, outcome),) = bench.auditor.outcomes
    assert (outcome.status, outcome.code) == ("error", "3")
    assert outcome.masked == {"email": 1}
    (told,) = bench.client_hears()
    assert b"ann@example.com" not in told
    assert json.loads(told[1:])["details"]["causes"][0]["message"] == "3"


def test_a_secret_split_over_messages_is_masked_on_both_outputs() -> None:
    bench = Bench(masks=True)
    bench.server_says(b"\x01mail ann@exa", b"\x02bob@", b"\x01mple.com now\n", b"\x02example.org\n", b"\x03" + SUCCESS)
    told = b"".join(bench.client_hears())
    assert b"ann@" not in told
    assert b"bob@" not in told
    assert b"mail " in told
    assert "ann@" not in bench.auditor.data("stdout")
    assert "bob@" not in bench.auditor.data("stderr")
    assert bench.auditor.outcomes[0][1].masked == {"email": 2}


def test_a_last_line_without_an_end_is_let_go_before_the_status() -> None:
    bench = Bench(masks=True)
    bench.server_says(b"\x01no newline", b"\x03" + SUCCESS)
    assert bench.client_hears() == [b"\x01no newline", b"\x03" + SUCCESS]


def test_a_prompt_on_a_terminal_is_let_go_after_a_moment() -> None:
    bench = Bench(masks=True, query="tty=true")
    bench.server_says(b"\x01$ ")
    assert bench.to_client == b""
    bench.wake()
    assert bench.client_hears() == [b"\x01$ "]
    assert bench.auditor.data("terminal") == "$ "


def test_what_is_typed_and_not_echoed_is_not_recorded() -> None:
    bench = Bench(query="tty=true")
    bench.server_says(b"\x01Kennwort: ")
    bench.client_says(b"\x00hunter2\r")
    bench.server_says(b"\x01\r\n$ ")
    bench.client_says(b"\x00ls\r")
    bench.server_says(b"\x01ls\r\nbin\r\n$ ")
    typed = [one for one in bench.auditor.chunks if one["direction"] == "to_upstream"]
    assert "hunter2" not in repr(typed)
    assert [one["data"] for one in typed if one.get("data") and one["channel"] == "terminal"] == ["\r", "ls\r"]
    assert [one["size"] for one in typed if "not echoed" in one["note"]] == [7]
    assert typed[0]["note"] == "typed 8"
    assert bench.server_hears() == [b"\x00hunter2\r", b"\x00ls\r"]


def test_beyond_the_bound_bytes_are_counted_and_hashed() -> None:
    bench = Bench(limit=4)
    bench.server_says(b"\x01abcdefgh", b"\x01more")
    first, second = bench.auditor.chunks
    assert (first["data"], first["size"], len(first["digest"])) == ("abcd", 8, 64)
    assert (second["data"], second["size"]) == (None, 4)
    assert bench.client_hears() == [b"\x01abcdefgh", b"\x01more"]


@pytest.mark.parametrize("junk", [b"\x07what", b"\x00x", b"", b"\x03" + b"x" * 70000, b"\x03[1]"])
def test_junk_from_the_server_ends_the_stream_with_a_reason(junk: bytes) -> None:
    bench = Bench()
    bench.server_says(junk)
    status, (code, reason) = bench.client_hears()
    assert json.loads(status[1:])["status"] == "Failure"
    assert "onrecord" in json.loads(status[1:])["message"]
    assert code == 1008
    assert reason.startswith("onrecord: ")
    assert sorted(bench.closed) == ["client", "server"]
    assert bench.auditor.outcomes[0][1].status == "aborted"
    bench.server_says(b"\x01late")
    assert bench.auditor.chunks == []


def test_bytes_that_are_no_websocket_end_the_stream() -> None:
    bench = Bench()
    bench.from_client(b"\x7f\x7f\x7fjunk")
    assert sorted(bench.closed) == ["client", "server"]
    assert bench.auditor.outcomes[0][1].status == "aborted"
    assert bench.server_hears() == [(1008, "")]


def test_nothing_is_delivered_that_cannot_be_recorded() -> None:
    bench = Bench()
    bench.auditor.full = True
    bench.server_says(b"\x01secret")
    assert not any(b"secret" in part for part in bench.client_hears() if isinstance(part, bytes))
    assert sorted(bench.closed) == ["client", "server"]


@pytest.mark.parametrize("step", ["chunk", "finish"])
def test_a_fault_of_our_own_lets_nothing_through(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(bench.auditor, step, fail)
    with pytest.raises(RuntimeError):
        bench.server_says(b"\x01secret" if step == "chunk" else b"\x03" + SUCCESS)
    assert bench.to_client == bench.to_server == b""
    assert bench.auditor.outcomes[0][1].status == "aborted"
    bench.server_says(b"\x01late")
    assert bench.to_client == b""


def test_a_client_that_leaves_closes_the_server_and_is_recorded() -> None:
    bench = Bench()
    bench.feed(events.ConnectionClosed(bench.client))
    assert sorted(bench.closed) == ["client", "server"]
    ((_, outcome),) = bench.auditor.outcomes
    assert outcome.status == "aborted"
    assert "closed by the client" in (outcome.error or "")


@pytest.mark.parametrize(("carrier", "protocol"), [("websocket", "v5.channel.k8s.io"), ("spdy", "v4.channel.k8s.io")])
def test_a_silent_stream_is_kept_alive_on_both_sides(carrier: Carrier, protocol: str) -> None:
    bench = Bench(carrier, protocol=protocol)
    for _ in range(2):
        bench.wake()
    if carrier == "spdy":
        assert bench.to_client == 2 * frames.control(frames.PING, struct.pack(">I", 0x7FFFFFFE))
        assert bench.to_server == 2 * frames.control(frames.PING, struct.pack(">I", 0x7FFFFFFD))
        bench.from_client(bench.to_client)
        bench.from_server(bench.to_server)
        assert len(bench.to_server) == len(bench.to_client) == 24, "the answers to our own pings go no further"
    else:
        assert bench.to_client == 2 * b"\x89\x00"
        assert len(bench.to_server) == 12  # masked
    assert bench.auditor.chunks == []


def test_a_text_message_is_read_as_its_bytes_and_goes_on_as_binary() -> None:
    bench = Bench()
    bench.from_client(bench.client_ws.send(ws.TextMessage("\x00é\n")))
    assert bench.server_hears() == ["\x00é\n".encode()]
    assert bench.auditor.data("stdin") == "é\n"


def test_a_ping_is_answered_here() -> None:
    bench = Bench()
    bench.from_client(bench.client_ws.send(ws.Ping(b"hello")))
    assert bench.to_server == b""
    assert bench.to_client == b"\x8a\x05hello"


def spdy_exec(bench: Bench) -> SpdyClient:
    client = SpdyClient()
    for number, kind in enumerate(("error", "stdin", "stdout", "stderr")):
        bench.from_client(client.open(2 * number + 1, streamtype=kind))
    return client


def test_an_exec_over_spdy_is_recorded_as_one_over_a_websocket() -> None:
    bench = Bench("spdy", protocol="v4.channel.k8s.io", masks=True)
    spdy_exec(bench)
    bench.from_client(frames.data_frames(3, b"in", ends=True))
    bench.from_server(frames.data_frames(5, b"ann@exam") + frames.data_frames(5, b"ple.com\n"))
    bench.from_server(frames.data_frames(1, FAILED[:20]) + frames.data_frames(1, FAILED[20:], ends=True))
    assert b"ann@" not in bench.to_client
    assert bench.auditor.data("stdin") == "in"
    assert bench.auditor.outcomes[0][1].code == "3"
    assert [frame for frame in frames.FrameReader().feed(bench.to_client) if isinstance(frame, frames.DataPart)][
        -1
    ].ends


def test_a_bad_spdy_frame_is_told_on_the_error_stream() -> None:
    bench = Bench("spdy", protocol="v4.channel.k8s.io")
    spdy_exec(bench)
    bench.from_server(frames.control(frames.HEADERS, struct.pack(">I", 1)))
    parts = [part for part in frames.FrameReader().feed(bench.to_client) if isinstance(part, frames.DataPart)]
    assert "HEADERS" in json.loads(parts[0].data)["message"]
    assert sorted(bench.closed) == ["client", "server"]


def forward(client: SpdyClient, port: int, number: int) -> bytes:
    error = client.open(4 * number + 1, streamtype="error", port=str(port), requestid=str(number))
    return error + client.open(4 * number + 3, streamtype="data", port=str(port), requestid=str(number))


@pytest.mark.parametrize(("carrier", "protocol"), [("spdy", "portforward.k8s.io"), ("websocket", TUNNEL)])
def test_a_forward_asks_once_for_each_port(carrier: Carrier, protocol: str) -> None:
    asked: list[int] = []

    def allow(port: int) -> bool:
        asked.append(port)
        return True

    bench = Bench(carrier, "portforward", protocol, allow_port=allow)
    client = SpdyClient()
    sent = forward(client, 80, 0) + forward(client, 80, 1) + forward(client, 5432, 2)
    sent += frames.data_frames(3, b"GET /")
    if carrier == "spdy":
        bench.from_client(sent)
        bench.from_server(frames.data_frames(3, b"200 OK"))
        assert b"200 OK" in bench.to_client
    else:
        bench.client_says(sent[:30], sent[30:])
        bench.server_says(frames.data_frames(3, b"200 OK"))
        assert b"200 OK" in b"".join(bench.client_hears())
    assert asked == [80, 5432]
    bench.feed(events.ConnectionClosed(bench.client))
    kept = [(one["of"], one["data"]) for one in bench.auditor.chunks if one.get("data")]
    assert kept == [("port 80", "GET /"), ("port 80", "200 OK")]
    outcomes = dict(bench.auditor.outcomes)
    assert outcomes["port 80"].bytes == 6
    assert outcomes["main"].code == "101"


def test_a_port_that_is_refused_is_answered_here_and_never_asked_upstream() -> None:
    bench = Bench("spdy", "portforward", "portforward.k8s.io", allow_port=lambda port: port != 22)
    client = SpdyClient()
    bench.from_client(forward(client, 22, 0) + frames.data_frames(3, b"SSH-2.0", ends=True) + forward(client, 80, 1))
    assert b"SSH-2.0" not in bench.to_server
    opened = [frame for frame in frames.FrameReader().feed(bench.to_server) if isinstance(frame, frames.Control)]
    assert len(opened) == 2
    assert b"port 22 is not for agents" in bench.to_client
    assert bench.closed == []


def test_where_masks_hold_nothing_of_a_tunnel_is_kept() -> None:
    bench = Bench("spdy", "portforward", "portforward.k8s.io", masks=True)
    bench.from_client(forward(SpdyClient(), 80, 0) + frames.data_frames(3, b"ann@example.com"))
    sent = [one for one in bench.auditor.chunks if one["size"]]
    assert [(one["data"], one["size"]) for one in sent] == [(None, 15)]
    assert len(sent[0]["digest"]) == 64
    assert b"ann@example.com" in bench.to_server


def test_a_forward_over_channels_asks_before_anything_flows() -> None:
    bench = Bench(
        "websocket", "portforward", "v4.channel.k8s.io", "ports=80&ports=22", allow_port=lambda port: port != 22
    )
    assert sorted(bench.closed) == ["client", "server"]
    assert bench.client_hears() == [(1008, "onrecord: port 22 is not for agents")]


def test_what_is_kept_of_a_tunnel_is_bounded_for_all_its_connections_together() -> None:
    bench = Bench("spdy", "portforward", "portforward.k8s.io", limit=10)
    client = SpdyClient()
    for number in range(5):
        bench.from_client(forward(client, 80, number) + frames.data_frames(4 * number + 3, b"abcd", ends=True))
        bench.from_server(frames.data_frames(4 * number + 3, b"", ends=True))
    kept = "".join(one["data"] for one in bench.auditor.chunks if one.get("data"))
    assert kept == "abcdabcdab"
    assert sum(one["size"] for one in bench.auditor.chunks) == 20
    assert len(bench.audit._channels) == 0
    assert len(bench.audit._streams) == 5, "the error streams are still open"
