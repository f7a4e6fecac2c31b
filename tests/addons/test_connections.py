"""CONNECT, tunnels and limits, with raw sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.scripts.parts.certs import Authority, CertPair
from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.conftest import Scene
from tests.addons.gateway_process import gateway_process, read_answer, read_head
from tests.helpers import http_resource, make_config, wait_until


@pytest.mark.parametrize(
    "authority",
    [
        "other.internal:443",
        "billing.internal:22",
        "169.254.169.254:80",
        "127.0.0.1:443",
        "[::1]:443",
        "2130706433:443",
        "0x7f.1:443",
        "0177.0.0.1:443",
        "[::ffff:127.0.0.1]:443",
        "localhost:443",
    ],
)
def test_a_connect_to_what_is_no_resource_is_refused_and_recorded(scene: Scene, authority: str) -> None:
    before = len(scene.gateway.refusals())
    client, head = scene.gateway.connect(authority)
    client.close()
    assert head[9:12] in (b"403", b"400"), head
    assert len(scene.gateway.refusals()) == before + 1
    assert scene.api.requests == []


def test_names_are_the_same_in_any_spelling(scene: Scene) -> None:
    for authority in ("BILLING.internal:443", "billing.internal.:443"):
        with scene.gateway.tunnel(authority, sni="billing.internal") as client:
            client.sendall(b"GET /echo HTTP/1.1\r\nHost: Billing.Internal\r\n\r\n")
            assert read_answer(client)[0] == 200


def test_the_server_name_in_tls_must_be_the_connects(scene: Scene) -> None:
    for sni in ("second.internal", None):
        with scene.gateway.tunnel(sni=sni) as client:
            client.sendall(b"GET /echo HTTP/1.1\r\nHost: billing.internal\r\n\r\n")
            assert read_answer(client)[0] == 421
    assert scene.api.requests == []


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9\r\n", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"EHLO x\r\n", b"\x16\x03"]
)
def test_a_raw_tunnel_is_closed(scene: Scene, data: bytes) -> None:
    client, head = scene.gateway.connect("billing.internal:443")
    with client:
        assert b" 200 " in head
        client.settimeout(20)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    assert scene.api.requests == []


def test_plain_http_inside_a_tunnel_only_where_the_resource_is_plain(scene: Scene) -> None:
    for host, status in (("billing.internal", 403), ("plain.internal", 200)):
        client, _ = scene.gateway.connect(f"{host}:80")
        with client:
            client.sendall(f"GET /echo HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert read_answer(client)[0] == status
    assert len(scene.api.requests) == 1


def test_junk_on_the_listener_harms_nobody(scene: Scene) -> None:
    for junk in (
        b"\x00" * 1000,
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"A" * 200_000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        with scene.gateway.open() as client, contextlib.suppress(OSError):
            client.sendall(junk)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
    assert scene.gateway.curl("https://billing.internal/echo").returncode == 0


def test_a_head_that_never_ends_is_cut_off(scene: Scene) -> None:
    with scene.gateway.tunnel() as client, contextlib.suppress(OSError):
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: billing.internal\r\n")
        for _ in range(200):
            client.sendall(b"X-A: " + b"a" * 1000 + b"\r\n")
        status, _ = read_answer(client)
        assert status in (431, 0)
    assert scene.api.requests == []


def test_a_request_after_a_pipelined_flood_is_not_served(scene: Scene) -> None:
    with scene.gateway.tunnel() as client, contextlib.suppress(OSError):
        client.sendall(b"GET /slow?seconds=1 HTTP/1.1\r\nHost: billing.internal\r\n\r\n")
        for _ in range(64):
            client.sendall(b"x" * 16_384)
        client.settimeout(10)
        while client.recv(65536):
            pass
    assert len(scene.api.requests) <= 1


def test_slow_heads_and_floods_meet_limits(tmp_path: Path) -> None:
    with HttpsApi("billing.internal") as api:
        setup = make_config(
            tmp_path,
            resources={"billing": http_resource(api)},
            gateway={"handshake_timeout": "0.5s", "max_connections": 5},
        )
        with gateway_process(setup) as gateway:
            idle = [gateway.open() for _ in range(8)]
            for client in idle:
                client.settimeout(10)
                with contextlib.suppress(OSError):
                    assert client.recv(1) == b""  # too many, or silent for too long
                client.close()
            wait_until(lambda: gateway.curl("https://billing.internal/echo").returncode == 0, timeout=10)
            slow = gateway.tunnel()
            slow.settimeout(10)
            with contextlib.suppress(OSError):
                slow.sendall(b"GET /echo HTTP/1.1\r\n")
                assert slow.recv(1) == b""
            slow.close()
        assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("junk", "inside"),
    [
        (b"\x00" * 100 + b"\r\n\r\n", False),
        (b"GET / FTP/1.1\r\nHost: a\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nX-A: " + b"a" * 200_000, False),
        (b"\x00" * 100 + b"\r\n\r\n", True),
        (b"POST /echo HTTP/1.1\r\nHost: billing.internal\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", True),
        (b"POST /echo HTTP/1.1\r\nHost: billing.internal\r\nTransfer-Encoding: xchunked\r\n\r\n", True),
        (b"GET /echo HTTP/1.1\r\nHost: billing.internal\r\nX-A : b\r\n\r\n", True),
    ],
)
def test_bytes_that_make_no_request_are_on_record(scene: Scene, junk: bytes, inside: bool) -> None:
    before = len(scene.gateway.refusals())
    with scene.gateway.tunnel() if inside else scene.gateway.open() as client, contextlib.suppress(OSError):
        client.sendall(junk)
        while client.recv(65536):
            pass
    found = wait_until(lambda: scene.gateway.refusals()[before:], timeout=10)
    assert found[0]["what"] == "onrecord:protocol"
    assert found[0].get("identity", {}).get("subject") == ("agent-7" if inside else None)
    assert scene.api.requests == []


def test_http2_that_breaks_the_protocol_is_on_record(scene: Scene) -> None:
    before = len(scene.gateway.refusals())
    with scene.gateway.tunnel(alpn="h2") as client, contextlib.suppress(OSError):
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\xff" * 100)
        while client.recv(65536):
            pass
    assert wait_until(lambda: scene.gateway.refusals()[before:], timeout=10)[0]["identity"]["subject"] == "agent-7"


@pytest.mark.parametrize(
    "frame",
    [b"\0\0\x08\x06\0\0\0\0\0abcdefgh", b"\0\0\0\x04\0\0\0\0\0", b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\0\x01"],
    ids=["ping", "settings", "priority"],
)
def test_a_flood_of_control_frames_ends_the_connection(scene: Scene, frame: bytes) -> None:
    with scene.gateway.tunnel(alpn="h2") as client, contextlib.suppress(OSError):
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + frame * 20_000)
        client.settimeout(20)
        while client.recv(65536):
            pass
    last = wait_until(
        lambda: [r for r in scene.gateway.refusals() if "control frames" in r.get("detail", "")], timeout=20
    )
    assert last[-1]["identity"]["subject"] == "agent-7"


def test_a_client_that_does_not_trust_the_gateway_is_on_record(scene: Scene) -> None:
    before = len(scene.gateway.refusals())
    client, _ = scene.gateway.connect("billing.internal:443")
    with client, pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(client, server_hostname="billing.internal")
    found = wait_until(lambda: scene.gateway.refusals()[before:], timeout=10)
    assert found[0]["reason"] == "a TLS handshake that failed"


def test_who_has_no_token_may_not_stay_and_slow_bodies_are_cut_off(tmp_path: Path) -> None:
    with HttpsApi("billing.internal") as api:
        setup = make_config(tmp_path, resources={"billing": http_resource(api)}, gateway={"handshake_timeout": "0.3s"})
        with gateway_process(setup) as gateway:
            for request in (b"GET http://billing.internal/ HTTP/1.1", b"CONNECT billing.internal:443 HTTP/1.1"):
                with gateway.open() as stranger:
                    stranger.sendall(request + b"\r\nHost: billing.internal\r\n\r\n")
                    status, _ = read_answer(stranger)
                    assert status == 407
                    with contextlib.suppress(OSError):
                        assert stranger.recv(1) == b""
            head = b"POST /echo HTTP/1.1\r\nHost: billing.internal\r\n"
            with gateway.tunnel() as slow, contextlib.suppress(OSError):
                slow.sendall(head + b"Content-Length: 100\r\n\r\n1")
                assert slow.recv(1) == b""
            with gateway.tunnel() as gone:
                gone.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n1")
            reasons = [refusal["reason"] for refusal in gateway.refusals()]
            assert "no complete request body in time" in reasons
            assert wait_until(lambda: any("not come whole" in r["reason"] for r in gateway.refusals()), timeout=10)
        assert api.requests == []


def test_with_egress_allowed_only_public_addresses_are_reached_and_all_is_recorded(tmp_path: Path) -> None:
    with HttpsApi("billing.internal") as api:
        setup = make_config(tmp_path, resources={"billing": http_resource(api)}, gateway={"egress": "allow"})
        with gateway_process(setup) as gateway:
            for host in (
                "127.0.0.1",
                "169.254.169.254",
                "10.0.0.1",
                "[::1]",
                "[fd00:ec2::254]",
                "100.64.0.1",
                "0.0.0.0",  # noqa: S104
            ):
                client, head = gateway.connect(f"{host}:{api.port}")
                with client:
                    assert b" 200 " in head  # which address it is shows when a request is let go
                    client.sendall(f"GET / HTTP/1.1\r\nHost: {host}:{api.port}\r\n\r\n".encode())
                    status, answer = read_answer(client)
                    assert status in (403, 502), answer
            client, _ = gateway.connect(f"127.0.0.1:{setup.http_port}")
            with client:
                client.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{setup.http_port}\r\n\r\n".encode())
                assert b"gateway itself" in read_answer(client)[1]
            assert api.requests == []
            sessions = [r.payload["resource"] for r in gateway.records() if r.kind.name == "SESSION"]
            assert set(sessions) == {"egress"}
            assert gateway.commands()[0]["text"].startswith("GET http://127.0.0.1")


def test_an_upstream_whose_certificate_is_wrong_gets_nothing(tmp_path: Path) -> None:
    names = Authority(tmp_path / "ca", "names")
    with HttpsApi("billing.internal") as api, tls_server(names.issue("elsewhere.internal")) as (port, heard):
        setup = make_config(
            tmp_path,
            resources={
                "untrusted": http_resource(api, hosts=["untrusted.internal"], ca=f"file:{names.cert}"),
                "misnamed": http_resource(
                    api, hosts=["misnamed.internal"], upstream=f"https://127.0.0.1:{port}", ca=f"file:{names.cert}"
                ),
                "named": http_resource(
                    api, hosts=["elsewhere.internal"], upstream=f"https://127.0.0.1:{port}", ca=f"file:{names.cert}"
                ),
            },
        )
        with gateway_process(setup) as gateway:
            for host in ("untrusted.internal", "misnamed.internal"):
                answer = gateway.curl("-i", f"https://{host}/echo")
                assert " 502" in answer.stdout
                assert "application/problem+json" in answer.stdout
                assert gateway.outcome(f"GET https://{host}/echo")["status"] == "aborted"
            assert heard == []
            gateway.curl("https://elsewhere.internal/named")
            assert heard[0].startswith(b"GET /named")
        assert api.requests == []


@contextlib.contextmanager
def tls_server(pair: CertPair) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server that keeps what it hears and hangs up: its port, and that list."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                with contextlib.suppress(OSError):
                    client, _ = listener.accept()
                    client.settimeout(5)
                    with client, context.wrap_socket(client, server_side=True) as tls:
                        if data := tls.recv(65536):
                            heard.append(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], heard
        finally:
            stopping.set()
            thread.join()


def test_a_client_certificate_is_shown_to_the_upstream(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "clients")
    pair = authority.issue("gateway", file="client", client=True)
    with HttpsApi("billing.internal", client_ca=authority.cert) as api:
        setup = make_config(
            tmp_path,
            resources={
                "billing": http_resource(api, client_cert=f"file:{pair.cert}", client_key=f"file:{pair.key}"),
                "bare": http_resource(api, hosts=["bare.internal"]),
            },
        )
        with gateway_process(setup) as gateway:
            assert json.loads(gateway.curl("https://billing.internal/echo").stdout)["method"] == "GET"
            gateway.curl("https://bare.internal/echo")
        assert len(api.requests) == 1


def test_what_an_agent_reads_is_signed_by_the_gateways_own_ca(scene: Scene) -> None:
    client, _ = scene.gateway.connect("billing.internal:443")
    with client:
        strict = ssl.create_default_context(cafile=str(scene.gateway.ca))
        with strict.wrap_socket(client, server_hostname="billing.internal") as tunnel:
            assert tunnel.version() in ("TLSv1.2", "TLSv1.3")
    assert (scene.gateway.setup.state / "ca").stat().st_mode & 0o077 == 0


def test_an_origin_form_request_to_the_proxy_itself_needs_a_token(scene: Scene) -> None:
    with scene.gateway.open() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: mitm.it\r\n\r\n")
        assert b" 407 " in read_head(client)
