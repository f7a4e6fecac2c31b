"""Masked answers through the real gateway: neither the agent nor the record sees what is masked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.addons.gateway_process import GatewayProcess, gateway_process
from tests.helpers import make_config

MAIL = b"qzxjkv@wvutsrq.example"
SECRETS = (b"wvutsrq", b"hushhush")
BODIES = {
    "/json": ("application/json", b'{"mail": "' + MAIL + b'", "secret": "hushhush", "ok": 1}'),
    "/escaped": ("application/json", b'{"mail": "qzxjkv\\u0040wvutsrq.example"}'),
    "/large": ("application/json", b'{"pad": "' + b"x" * 200_000 + b'", "mail": "' + MAIL + b'"}'),
    "/text": ("text/plain", b"write to " + MAIL + b"\n"),
    "/html": ("text/html", b"<p>qzxjkv&#64;wvutsrq.example</p>"),
    "/events": ("text/event-stream", b'data: {"secret": "hushhush"}\n\n'),
    "/image": ("image/png", b"\x89PNG " + MAIL),
    "/part": ("text/plain", MAIL),
    "/broken": ("application/json", b'{"mail": "' + MAIL),
    "/packed": ("text/plain", MAIL),
}
POLICY = """
from onrecord.policies import Allow


class Asks:
    def http(self, command):
        return Allow(mask=("ip",)) if command.path == "/text" else None


addons = [Asks()]
"""


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        kind, body = BODIES[path]
        self.send_response(206 if path == "/part" else 200)
        self.send_header("Content-Type", kind)
        self.send_header("X-Owner", MAIL.decode())
        self.send_header("Content-MD5", "abc")
        if path == "/packed":
            self.send_header("Content-Encoding", "br")
        if "chunked" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(0, len(body), 7):
                piece = body[i : i + 7]
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    folder: Path = tmp_path_factory.mktemp("masked")
    (folder / "asks.py").write_text(POLICY)
    (folder / "asks.py").chmod(0o600)
    table = {
        "type": "http",
        "hosts": ["masked.internal"],
        "upstream": f"http://127.0.0.1:{server.server_port}",
        "plaintext": True,
        "groups": ["agents"],
        "default": "allow",
    }
    setup = make_config(
        folder,
        resources={"masked": table},
        policies=[{"file": str(folder / "asks.py")}],
        masks=[{"detect": ["email"]}, {"json_paths": ["$..secret"], "strategy": "redact"}],
    )
    with gateway_process(setup) as running:
        yield running
    server.shutdown()
    server.server_close()
    thread.join(10)


def fetch(gateway: GatewayProcess, path: str, *more: str) -> tuple[int, bytes]:
    done = gateway.curl("-s", "-i", "--http1.1", *more, f"http://masked.internal{path}")
    return done.returncode, done.stdout.encode() if isinstance(done.stdout, str) else done.stdout


@pytest.mark.parametrize("path", ["/json", "/escaped", "/large", "/text", "/html", "/events"])
@pytest.mark.parametrize("framing", ["", "?chunked"])
def test_a_body_comes_masked(gateway: GatewayProcess, path: str, framing: str):
    _, out = fetch(gateway, path + framing)
    assert b" 200 " in out.split(b"\r\n")[0]
    assert not [secret for secret in SECRETS if secret in out]
    assert b"redacted" in out
    assert b"Content-MD5" not in out


@pytest.mark.parametrize("path", ["/image", "/part", "/packed", "/broken", "/broken?chunked"])
def test_a_body_that_cannot_be_searched_does_not_come(gateway: GatewayProcess, path: str):
    status, out = fetch(gateway, path)
    assert status != 0 or b" 50" in out.split(b"\r\n")[0] or b"0\r\n\r\n" not in out
    assert not [secret for secret in SECRETS if secret in out]


def test_a_range_is_not_asked_for(gateway: GatewayProcess):
    _, out = fetch(gateway, "/text", "-H", "Range: bytes=0-12")
    assert b" 200 " in out.split(b"\r\n")[0]


def test_what_was_masked_is_counted_and_nothing_of_it_is_on_record(gateway: GatewayProcess):
    fetch(gateway, "/json?counted")
    assert gateway.outcome("GET http://masked.internal/json?counted")["masked"]
    for path in (gateway.setup.state / "journal").glob("*.journal"):
        data = path.read_bytes()
        assert not [secret for secret in SECRETS if secret in data]


def test_an_address_that_the_agent_sends_is_not_on_record(gateway: GatewayProcess):
    fetch(gateway, "/json?mail=someone@wvutsrq.example")
    for path in (gateway.setup.state / "journal").glob("*.journal"):
        assert b"someone@wvutsrq" not in path.read_bytes()
