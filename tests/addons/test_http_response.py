"""Answers of upstreams that misbehave: nothing of the gateway's comes back, nothing is taken for what it is not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from onrecord.recordings.frames import Kind
from tests.addons.gateway_process import GatewayProcess, gateway_process, read_answer
from tests.addons.raw_upstream import RawUpstream
from tests.helpers import make_config

KEY = "raw-upstream-key-0815"
HOST = b"Host: raw.internal\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

ANSWERS: dict[bytes, list[bytes]] = {
    b"/interim": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", OK],
    b"/interim-in-pieces": [
        b"HTTP/1.1 1",
        b"03 Early Hints\r\nLi",
        b"nk: </a>\r\n\r",
        b"\nHTTP/1.1 10",
        b"2 P\r\n\r\n" + OK,
    ],
    b"/many-interim": [b"HTTP/1.1 102 Processing\r\n\r\n" * 5000 + OK],
    b"/reason": [b"HTTP/1.1 200 " + KEY.encode() + b"\r\nContent-Length: 2\r\n\r\nok"],
    b"/both": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    b"/two-lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\nok"],
    b"/switch": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\nraw"],
    b"/huge-head": [b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 200_000],
    b"/more": [OK + b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked"],
    b"/trailers": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Key: " + KEY.encode() + b"\r\n\r\n"
    ],
    b"/cut": [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok"],
    b"/cut-chunked": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nok"],
    b"/junk": [b"\x00\x01 what is this\r\n\r\n"],
    b"/nothing": [],
    b"/redirect": [
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data\r\nContent-Length: 0\r\n\r\n"
    ],
}
CUT = {b"/cut", b"/cut-chunked", b"/junk", b"/nothing", b"/huge-head"}


def answer(head: bytes, client: socket.socket) -> bool:
    path = head.split(b" ")[1]
    for part in ANSWERS[path]:
        client.sendall(part)
    return path not in CUT


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, RawUpstream]]:
    upstream = RawUpstream(answer)
    setup = make_config(
        tmp_path_factory.mktemp("raw"),
        resources={"raw": upstream.resource(headers={"X-Key": "env:RAW_KEY"})},
        env={"RAW_KEY": KEY},
    )
    with upstream.running(), gateway_process(setup) as gateway:
        yield gateway, upstream


def ask(gateway: GatewayProcess, path: str) -> tuple[int, bytes]:
    return gateway.ask(b"GET %s HTTP/1.1\r\n%s\r\n" % (path.encode(), HOST), "raw.internal:443")


@pytest.mark.parametrize("path", ["/interim", "/interim-in-pieces", "/many-interim"])
def test_interim_answers_are_dropped_and_the_answer_follows(
    stage: tuple[GatewayProcess, RawUpstream], path: str
) -> None:
    status, data = ask(stage[0], path)
    assert (status, data[-2:]) == (200, b"ok")
    assert b" 10" not in data
    assert stage[0].outcome(f"GET https://raw.internal{path}")["code"] == "200"


@pytest.mark.parametrize("path", ["/reason", "/trailers"])
def test_the_gateways_credential_comes_back_in_no_part_of_an_answer(
    stage: tuple[GatewayProcess, RawUpstream], path: str
) -> None:
    status, data = ask(stage[0], path)
    assert status == 200
    assert KEY.encode() not in data
    outcome = stage[0].outcome(f"GET https://raw.internal{path}")
    assert outcome["status"] == "ok"
    assert KEY not in json.dumps(outcome)


@pytest.mark.parametrize("path", ["/both", "/two-lengths", "/switch", "/huge-head", "/junk", "/nothing"])
def test_an_answer_with_two_readings_or_none_is_not_delivered(
    stage: tuple[GatewayProcess, RawUpstream], path: str
) -> None:
    status, data = ask(stage[0], path)
    assert status in (0, 502)
    assert b"raw" not in data.partition(b"\r\n\r\n")[2].replace(b"raw.internal", b"")
    assert stage[0].outcome(f"GET https://raw.internal{path}")["status"] == "aborted"


@pytest.mark.parametrize("path", ["/cut", "/cut-chunked"])
def test_an_answer_that_is_cut_is_never_delivered_as_a_whole_one(
    stage: tuple[GatewayProcess, RawUpstream], path: str
) -> None:
    status, data = ask(stage[0], path)
    assert status in (0, 502) or not data.endswith(b"0\r\n\r\n")
    assert stage[0].outcome(f"GET https://raw.internal{path}")["status"] == "aborted"


def test_an_answer_nobody_asked_for_is_not_taken_for_the_next(stage: tuple[GatewayProcess, RawUpstream]) -> None:
    with stage[0].tunnel("raw.internal:443") as client:
        for path in (b"/more", b"/interim"):
            client.sendall(b"GET %s HTTP/1.1\r\n%s\r\n" % (path, HOST))
            status, data = read_answer(client)
            assert b"unasked" not in data
            if status == 0:
                break
    assert stage[0].curl("https://raw.internal/interim").stdout == "ok"
    assert all(b"unasked" not in json.dumps(r.payload).encode() for r in stage[0].records(Kind.OUTCOME))


def test_a_redirect_is_passed_on_and_never_followed(stage: tuple[GatewayProcess, RawUpstream]) -> None:
    gateway, upstream = stage
    asked, commands = len(upstream.heads), len(gateway.commands())
    status, data = ask(gateway, "/redirect")
    assert status == 302
    assert b"Location: http://169.254.169.254/latest/meta-data\r\n" in data
    assert (len(upstream.heads), len(gateway.commands())) == (asked + 1, commands + 1)
