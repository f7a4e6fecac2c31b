"""WebSocket messages of a server under masks: masked, or held back with a reason that is on record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.gateway_process import GatewayProcess, gateway_process
from tests.addons.test_strict_dispatch import frame, open_websocket, read_frame
from tests.helpers import http_resource, make_config


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("masked-sockets")
    with HttpsApi("billing.internal") as api:
        setup = make_config(
            folder,
            resources={"billing": http_resource(api)},
            masks=[{"detect": ["email"]}, {"json_paths": ["$..secret"], "strategy": "redact"}],
        )
        with gateway_process(setup) as running:
            yield running


def test_a_message_comes_masked_by_path_and_by_what_it_spells(gateway: GatewayProcess):
    with open_websocket(gateway) as client:
        client.sendall(frame(b'{"secret": "hush", "n": 1}'))
        assert read_frame(client) == (1, b'{"secret":"[redacted]","n":1}')
        client.sendall(frame(b"7 qzxjkv\\u0040wvutsrq.example"))
        assert read_frame(client) == (1, b"7 [redacted]")


@pytest.mark.parametrize(
    ("opcode", "message"),
    [
        (1, b'42["event",{"secret":"hush"}]'),
        (1, b'{"a":1}\x1e{"secret":"hush"}\x1e'),
        (1, b'{"secret":"hush"'),
        (2, b"\x06secret\x04hush"),
        (2, b"\xff\xfe"),
    ],
)
def test_a_message_that_cannot_be_masked_is_held_back_natively_and_on_record(
    gateway: GatewayProcess, opcode: int, message: bytes
):
    with open_websocket(gateway) as client:
        client.sendall(frame(message, opcode=opcode))
        code, data = read_frame(client)
    assert code == 8
    assert data[:2] == (1008).to_bytes(2, "big")
    assert b"held back" in data
    outcome = gateway.outcome("GET https://billing.internal/ws")
    assert outcome["status"] == "aborted"
    assert "held back" in outcome["error"]
    last = [r.id for r in gateway.records(Kind.COMMAND) if r.payload["detail"]["method"] == "GET"][-1]
    assert not [r for r in gateway.records(Kind.CHUNK) if r.command == last]
