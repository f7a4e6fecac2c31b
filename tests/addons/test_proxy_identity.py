"""Who is on a connection: tokens by Basic, Bearer, per request; what is refused, and that it is recorded."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.proxy_identity import CredentialError, read_credentials
from onrecord.recordings.frames import Kind
from tests.addons.conftest import Scene
from tests.addons.gateway_process import read_answer, read_head
from tests.helpers import wait_until


def ask_plain(scene: Scene, client: socket.socket, login: str, path: str = "/echo") -> tuple[int, bytes]:
    client.sendall(f"GET http://plain.internal{path} HTTP/1.1\r\nHost: plain.internal\r\n{login}\r\n".encode())
    return read_answer(client)


def bearer(token: str) -> str:
    return f"Proxy-Authorization: Bearer {token}\r\n"


def test_without_a_token_the_challenge_is_basic_and_the_refusal_is_recorded(scene: Scene) -> None:
    before = len(scene.gateway.refusals())
    with scene.gateway.open() as client:
        client.sendall(b"CONNECT billing.internal:443 HTTP/1.1\r\nHost: billing.internal:443\r\n\r\n")
        status, answer = read_answer(client)
        assert status == 407
        assert b'proxy-authenticate: Basic realm="onrecord"' in answer
        # git and others try again on the same connection
        client.sendall(
            b"CONNECT billing.internal:443 HTTP/1.1\r\nHost: billing.internal:443\r\n"
            + bearer(scene.gateway.token).encode()
            + b"\r\n"
        )
        assert b" 200 " in read_head(client)
    assert scene.gateway.refusals()[before]["what"] == "onrecord:identity"


@pytest.mark.parametrize(
    "login",
    [
        "Proxy-Authorization: Bearer not-a-token\r\n",
        "Proxy-Authorization: Basic !!!\r\n",
        "Proxy-Authorization: Digest x\r\n",
        "Proxy-Authorization: Basic " + base64.b64encode(b"user-only").decode() + "\r\n",
        "Proxy-Authorization: Bearer " + "a" * 60_000 + "\r\n",
    ],
)
def test_a_bad_token_reads_generic_and_is_recorded_in_detail(scene: Scene, login: str) -> None:
    before = len(scene.gateway.refusals())
    with scene.gateway.open() as client:
        client.sendall(b"CONNECT billing.internal:443 HTTP/1.1\r\nHost: x\r\n" + login.encode() + b"\r\n")
        status, answer = read_answer(client)
    assert status == 407
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert problem["reason"] == "the token was not accepted"
    refusal = scene.gateway.refusals()[before]
    assert refusal["detail"]
    assert "not-a-token" not in json.dumps(refusal)


def test_basic_carries_the_token_as_password_split_at_the_first_colon() -> None:
    pair = base64.b64encode(b"someone:a:b:c")
    assert read_credentials(b"Basic " + pair) == ("someone", "a:b:c")
    assert read_credentials(b"bearer  abc") == ("", "abc")


@given(st.binary(max_size=200))
def test_any_credentials_give_a_token_or_a_credential_error(value: bytes) -> None:
    with contextlib.suppress(CredentialError):
        assert read_credentials(value)[1]


def test_plain_http_carries_the_token_with_each_request(scene: Scene) -> None:
    with scene.gateway.open() as client:
        assert ask_plain(scene, client, "")[0] == 407
        assert ask_plain(scene, client, bearer(scene.gateway.token))[0] == 200
        assert ask_plain(scene, client, "")[0] == 407  # the connection is known, this request brings nothing
    assert len(scene.api.requests) == 1
    assert scene.api.requests[0].header("proxy-authorization") is None


def test_a_second_identity_on_one_connection_is_refused(scene: Scene) -> None:
    other = scene.gateway.setup.mint("agent-8")
    with scene.gateway.open() as client:
        assert ask_plain(scene, client, bearer(scene.gateway.token))[0] == 200
        assert ask_plain(scene, client, bearer(other))[0] == 403
    with scene.gateway.tunnel() as tunnel:
        tunnel.sendall(f"GET /echo HTTP/1.1\r\nHost: billing.internal\r\n{bearer(other)}\r\n".encode())
        assert read_answer(tunnel)[0] == 403
        tunnel.sendall(f"GET /echo HTTP/1.1\r\nHost: billing.internal\r\n{bearer(scene.gateway.token)}\r\n".encode())
        assert read_answer(tunnel)[0] == 200
    assert len(scene.api.requests) == 2
    assert scene.api.requests[-1].header("proxy-authorization") is None


def test_a_fresh_token_of_the_same_agent_begins_a_new_session(scene: Scene) -> None:
    fresh = scene.gateway.setup.mint()
    before = len(scene.gateway.records(Kind.SESSION))
    with scene.gateway.open() as client:
        assert ask_plain(scene, client, bearer(scene.gateway.token))[0] == 200
        assert ask_plain(scene, client, bearer(fresh))[0] == 200
    assert len(scene.gateway.records(Kind.SESSION)) == before + 2


def test_a_connection_ends_when_its_token_expires(scene: Scene) -> None:
    token = scene.gateway.setup.mint(ttl=2.0)
    client, head = scene.gateway.connect("billing.internal:443", token)
    with client:
        assert b" 200 " in head
        client.settimeout(20)
        assert client.recv(1) == b""
    ends = wait_until(
        lambda: [r for r in scene.gateway.records(Kind.SESSION_END) if "expired" in r.payload["reason"]], timeout=10
    )
    assert ends
    started = time.monotonic()
    again, head = scene.gateway.connect("billing.internal:443", token)
    again.close()
    assert head[9:12] in (b"407", b"403")  # within the issuer's leeway the session is what is refused
    assert time.monotonic() - started < 10


def test_groups_decide_who_may_reach_a_resource(scene: Scene) -> None:
    client, head = scene.gateway.connect("second.internal:443")
    with client:
        assert head.startswith(b"HTTP/1.1 403")
    allowed = scene.gateway.setup.mint("agent-9", groups=["others"])
    client, head = scene.gateway.connect("second.internal:443", allowed)
    with client:
        assert head.startswith(b"HTTP/1.1 200")
