"""Requests through a real gateway: what reaches the upstream, what the agent reads, what stands on record."""

from __future__ import annotations

import json
import time

import h2.connection
import h2.events
import pytest

from onrecord.recordings.frames import Kind
from tests.addons.conftest import SECRET, Scene
from tests.addons.gateway_process import read_answer, read_head

HOST = b"Host: billing.internal\r\n"


def test_a_request_is_recorded_with_identity_decision_and_answer(scene: Scene) -> None:
    answer = scene.gateway.curl("https://billing.internal/v1/invoices?page=2")
    assert json.loads(answer.stdout)["invoices"]
    command = scene.gateway.commands()[-1]
    assert command["text"] == "GET https://billing.internal/v1/invoices?page=2"
    assert command["action"] == "read"
    assert command["verdict"]["type"] == "allow"
    assert command["detail"]["query"] == [["page", "2"]]
    session = scene.gateway.records(Kind.SESSION)[-1].payload
    assert (session["identity"]["subject"], session["login"]) == ("agent-7", "agent")
    outcome = scene.gateway.outcome(command["text"])
    assert (outcome["status"], outcome["code"]) == ("ok", "200")
    assert "inv_0001" in outcome["sample"]["body"]


def test_the_gateways_credential_replaces_the_agents_and_never_comes_back(scene: Scene) -> None:
    answer = scene.gateway.curl("-H", "Authorization: Bearer mine", "https://billing.internal/echo")
    assert scene.api.requests[-1].header("authorization") == SECRET
    assert "upstream-secret" not in answer.stdout
    assert "mine" not in json.dumps(scene.gateway.commands()[-1])
    assert scene.gateway.token not in "".join(value for _, value in scene.api.requests[-1].headers)
    assert scene.api.requests[-1].header("proxy-authorization") is None


def test_a_denied_request_reads_as_problem_json_and_reaches_nobody(scene: Scene) -> None:
    answer = scene.gateway.curl("-i", "-X", "DELETE", "https://billing.internal/v1/invoices/inv_0001")
    head, _, body = answer.stdout.partition("\n\n")
    problem = json.loads(body)
    assert " 403" in head.splitlines()[0]
    assert "application/problem+json" in head
    assert problem["policy"] == "rules"
    assert problem["reason"] == "nothing is deleted by agents"
    assert problem["hint"] == "open a ticket"
    assert problem["record"] == scene.gateway.records(Kind.COMMAND)[-1].id
    assert scene.api.requests == []
    assert scene.gateway.outcome("DELETE https://billing.internal/v1/invoices/inv_0001")["status"] == "refused"


def test_policies_read_bodies_also_compressed_ones(scene: Scene) -> None:
    import gzip

    for body, coding in ((b"forbidden", b""), (gzip.compress(b"forbidden"), b"Content-Encoding: gzip\r\n")):
        raw = b"POST /echo HTTP/1.1\r\n" + HOST + coding + b"Content-Length: %d\r\n\r\n" % len(body) + body
        status, answer = scene.gateway.ask(raw)
        assert status == 403
        assert b"that word" in answer
    assert scene.api.requests == []


def test_a_body_over_the_bound_is_unknown_and_denied_by_default(scene: Scene) -> None:
    body = b"x" * 100_000
    sized = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = (
        b"POST /echo HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"186a0\r\n"
        + body
        + b"\r\n0\r\n\r\n"
    )
    for raw in (sized, chunked):
        status, _ = scene.gateway.ask(raw)
        assert status == 403
        assert scene.gateway.commands()[-1]["action"] == "unknown"
    assert scene.api.requests == []


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_a_body_over_the_bound_streams_where_unknown_is_allowed(scene: Scene, framing: str) -> None:
    body = b"x" * 200_000
    head = b"POST /v1/refunds HTTP/1.1\r\nHost: large.internal\r\n"
    if framing == "sized":
        raw = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    else:
        raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"30d40\r\n" + body + b"\r\n0\r\n\r\n"
    status, _ = scene.gateway.ask(raw, "large.internal:443")
    assert status == 400  # the API: not JSON
    assert scene.api.requests[-1].body == body
    last = scene.gateway.records(Kind.COMMAND)[-1]
    chunks = [r.payload for r in scene.gateway.records(Kind.CHUNK) if r.command == last.id]
    assert sum(chunk["size"] for chunk in chunks if chunk["direction"] == "to_upstream") == len(body)


def test_a_large_answer_is_recorded_in_chunks_up_to_the_bound_and_hashed_beyond(scene: Scene) -> None:
    answer = scene.gateway.curl(
        "-o", "/dev/null", "-w", "%{size_download}", "https://billing.internal/big?bytes=300000"
    )
    assert answer.stdout == "300000"
    outcome = scene.gateway.outcome("GET https://billing.internal/big?bytes=300000")
    assert (outcome["status"], outcome["size"]) == ("ok", 300_000)
    assert outcome["digest"]


def test_server_sent_events_arrive_one_by_one(scene: Scene) -> None:
    with scene.gateway.tunnel() as client:
        client.sendall(b"GET /sse?events=3&gap=0.4 HTTP/1.1\r\n" + HOST + b"\r\n")
        started = time.monotonic()
        head = read_head(client)
        while b'"event": 0' not in head:
            head += client.recv(65536)
        first = time.monotonic() - started
        while b'"event": 2' not in head:
            head += client.recv(65536)
        assert first < time.monotonic() - started  # the first did not wait for the last
        assert b'"event": 2' not in head[: head.index(b'"event": 0') + 20]
    assert scene.gateway.outcome("GET https://billing.internal/sse?events=3&gap=0.4")["status"] in ("ok", "aborted")


def test_a_hundred_requests_on_one_connection_use_one_upstream_connection(scene: Scene) -> None:
    before = scene.api.connections
    with scene.gateway.tunnel() as client:
        for _ in range(100):
            client.sendall(b"GET /v1/invoices HTTP/1.1\r\n" + HOST + b"\r\n")
            status, _ = read_answer(client)
            assert status == 200
    assert scene.api.connections == before + 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: second.internal\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: billing.internal:8443\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nHost: second.internal\r\n", 400),
        (b"GET https://second.internal/ HTTP/1.1\r\nHost: billing.internal\r\n", 421),
        (b"GET / HTTP/1.1\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: billing.internal\r\n", 405),
        (b"get / HTTP/1.1\r\nHost: billing.internal\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: billing.internal\r\nX-HTTP-Method-Override: DELETE\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: billing.internal\r\nX_HTTP_Method_Override: DELETE\r\n", 400),
        (b"POST /?_method=DELETE HTTP/1.1\r\nHost: billing.internal\r\nContent-Length: 0\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nX-Original-URL: /admin\r\n", 400),
        (b"GET /public/../admin HTTP/1.1\r\nHost: billing.internal\r\n", 400),
        (b"GET /public/%2e%2e/admin HTTP/1.1\r\nHost: billing.internal\r\n", 400),
        (b"GET /public/..%2fadmin HTTP/1.1\r\nHost: billing.internal\r\n", 400),
        (b"GET /public;/../admin HTTP/1.1\r\nHost: billing.internal\r\n", 400),
        (b"GET /%252e%252e/admin HTTP/1.1\r\nHost: billing.internal\r\n", 400),
        (b"GET /a%00b HTTP/1.1\r\nHost: billing.internal\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: billing.internal\r\n", 400),
        (b"GET /%61dmin HTTP/1.1\r\nHost: billing.internal\r\n", 403),
        (b"GET //admin HTTP/1.1\r\nHost: billing.internal\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nX-A: b\r\n folded\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nX-A: a\x00b\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nX-A: a\rb: c\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nConnection: authorization\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nExpect: something\r\n", 417),
        (b"GET / HTTP/1.1\r\nHost: billing.internal\r\nX-Big: " + b"a" * 70_000 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: billing.internal\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: billing.internal\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400),
        (b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n", 400),
    ],
)
def test_a_request_with_two_readings_is_refused_before_it_leaves(scene: Scene, lines: bytes, status: int) -> None:
    found, answer = scene.gateway.ask(lines + b"\r\n")
    assert found in (status, 0 if lines.startswith(b"CONNECT") else status), answer[:300]
    assert scene.api.requests == []


def test_h2c_spoofed_callers_and_hop_by_hop_fields_are_stripped(scene: Scene) -> None:
    fields = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings, X-Mine\r\nHTTP2-Settings: AAMAAABk\r\nX-Mine: 1\r\n"
    spoofs = b"X-Forwarded-For: 10.0.0.1\r\nForwarded: for=1.2.3.4\r\nX_Forwarded_Host: evil\r\n"
    status, _ = scene.gateway.ask(b"GET /echo HTTP/1.1\r\n" + HOST + fields + spoofs + b"\r\n")
    assert status == 200
    names = {name for name, _ in scene.api.requests[-1].headers}
    assert not names & {"upgrade", "http2-settings", "x-mine", "x-forwarded-for", "forwarded", "x_forwarded_host"}


def test_an_early_refusal_does_not_wait_for_the_body(scene: Scene) -> None:
    with scene.gateway.tunnel() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: second.internal\r\nContent-Length: 1000000000\r\n\r\nstart")
        status, answer = read_answer(client)
    assert status == 421
    assert b"problem+json" in answer


def test_the_next_request_after_a_refusal_works_on_the_same_connection(scene: Scene) -> None:
    with scene.gateway.tunnel() as client:
        client.sendall(b"DELETE /v1/invoices HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc")
        assert read_answer(client)[0] == 403
        client.sendall(b"GET /v1/invoices HTTP/1.1\r\n" + HOST + b"\r\n")
        assert read_answer(client)[0] == 200
        client.sendall(b"HEAD /admin HTTP/1.1\r\n" + HOST + b"\r\n")
        assert b" 403 " in read_head(client).splitlines()[0]
        client.sendall(b"GET /v1/invoices HTTP/1.1\r\n" + HOST + b"\r\n")
        assert read_answer(client)[0] == 200


def test_graphql_is_read_by_its_operations(scene: Scene) -> None:
    cases = {
        '{"query": "query A { me { name } }"}': "read",
        '{"query": "mutation { drop }"}': "write",
        '{"extensions": {"persistedQuery": {}}}': "unknown",
        '[{"jsonrpc": "2.0", "method": "a"}]': "unknown",
    }
    for body, action in cases.items():
        scene.gateway.curl("-d", body, "-H", "Content-Type: application/json", "https://billing.internal/graphql")
        assert scene.gateway.commands()[-1]["action"] == action, body


def test_credentials_in_headers_and_queries_are_not_on_record(scene: Scene) -> None:
    secrets = ["-H", "X-Api-Key: s3cr3t-abc", "-H", "Cookie: sid=s3cr3t-abc"]
    scene.gateway.curl(*secrets, "https://billing.internal/echo?access_token=s3cr3t-abc&page=1")
    command = scene.gateway.commands()[-1]
    assert "s3cr3t-abc" not in json.dumps(command)
    assert command["text"].endswith("?access_token=[redacted]&page=1")
    assert scene.api.requests[-1].target.endswith("access_token=s3cr3t-abc&page=1")


def test_an_http2_body_without_a_length_is_framed_for_an_http1_upstream(scene: Scene) -> None:
    for size in (10, 200_000):  # buffered, and streamed
        body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n".ljust(size, b"x")
        with scene.gateway.tunnel("large.internal:443", alpn="h2") as tls:
            assert tls.selected_alpn_protocol() == "h2"
            http = h2.connection.H2Connection()
            http.initiate_connection()
            fields = [(":method", "POST"), (":scheme", "https"), (":authority", "large.internal"), (":path", "/echo")]
            http.send_headers(1, fields)
            left, ended = body, False
            while not ended:
                window = min(http.local_flow_control_window(1), http.max_outbound_frame_size, len(left))
                if left and window:
                    http.send_data(1, left[:window], end_stream=len(left) == window)
                    left = left[window:]
                tls.sendall(http.data_to_send())
                if left and window:
                    continue
                for event in http.receive_data(tls.recv(65536)):
                    if isinstance(event, h2.events.DataReceived):
                        http.acknowledge_received_data(event.flow_controlled_length, 1)
                    ended = ended or isinstance(event, h2.events.StreamEnded)
    assert [(r.path, len(r.body)) for r in scene.api.requests] == [("/echo", 35), ("/echo", 200_000)]
