"""WebSockets through a real gateway, frame by frame."""

from __future__ import annotations

import contextlib

import pytest

from onrecord.recordings.frames import Kind
from tests.addons.conftest import SECRET, Scene
from tests.addons.test_strict_dispatch import frame, open_websocket, read_frame
from tests.helpers import wait_until


def test_each_message_is_a_command_and_each_answer_a_chunk(scene: Scene) -> None:
    with open_websocket(scene.gateway) as client:
        client.sendall(frame(b"hello"))
        assert read_frame(client) == (1, b"hello")
        client.sendall(frame(b"\x00\xff", opcode=2))
        assert read_frame(client) == (2, b"\x00\xff")
        client.sendall(frame(b"\x03\xe8", opcode=8))
        assert read_frame(client)[0] == 8
    commands = [r for r in scene.gateway.records(Kind.COMMAND) if "/ws" in r.payload["text"]][-3:]
    assert [c.payload["detail"]["method"] for c in commands] == ["GET", "WEBSOCKET", "WEBSOCKET"]
    assert commands[1].payload["detail"]["body"] == "hello"
    chunks = [r.payload["data"] for r in scene.gateway.records(Kind.CHUNK) if r.command == commands[0].id]
    assert chunks == ["hello", {"base64": "AP8="}]
    outcome = scene.gateway.outcome("GET https://billing.internal/ws")
    assert (outcome["code"], outcome["bytes"]) == ("101", 7)


def test_a_fragmented_message_is_decided_as_a_whole_and_refused_natively(scene: Scene) -> None:
    with open_websocket(scene.gateway) as client:
        client.sendall(frame(b"for", final=False) + frame(b"bid", opcode=0, final=False) + frame(b"den", opcode=0))
        opcode, data = read_frame(client)
    assert opcode == 8
    assert data[:2] == (1008).to_bytes(2, "big")
    assert b"that word is not for agents" in data
    assert all(request.method != "WEBSOCKET" for request in scene.api.requests)


def test_pings_are_answered_by_the_gateway_and_carry_nothing_upstream(scene: Scene) -> None:
    with open_websocket(scene.gateway) as client:
        client.sendall(frame(b"exfiltrated", opcode=9))
        assert read_frame(client) == (10, b"exfiltrated")
        client.sendall(frame(b"exfiltrated", opcode=10))
        client.sendall(frame(b"on"))
        assert read_frame(client) == (1, b"on")
    assert [request.body for request in scene.api.requests if request.method == "WEBSOCKET"] == [b"on"]


def test_no_extension_is_negotiated(scene: Scene) -> None:
    with open_websocket(scene.gateway):
        pass
    assert scene.api.requests[0].header("sec-websocket-extensions") is None


@pytest.mark.parametrize("junk", [b"\xff" * 64, frame(b"x", opcode=3), b"\x81\x05hello"])
def test_frames_that_break_the_protocol_end_it(scene: Scene, junk: bytes) -> None:
    with open_websocket(scene.gateway) as client, contextlib.suppress(OSError):
        client.sendall(junk)
        while client.recv(1000):
            pass
    assert all(request.method != "WEBSOCKET" for request in scene.api.requests)
    wait_until(lambda: scene.gateway.outcome("GET https://billing.internal/ws"), timeout=10)


def test_messages_do_not_carry_the_gateways_credential(scene: Scene) -> None:
    secret = SECRET.removeprefix("Bearer ").encode()
    with open_websocket(scene.gateway) as client:
        client.sendall(frame(b"say " + secret[:9], final=False) + frame(secret[9:] + b"!", opcode=0))
        opcode, data = 0, b""
        while not data.endswith(b"!"):
            opcode, part = read_frame(client)
            data += part
    assert data == b"say " + b"*" * len(secret) + b"!", opcode
    chunks = [r.payload.get("data") for r in scene.gateway.records(Kind.CHUNK)]
    assert secret.decode() not in str(chunks)
