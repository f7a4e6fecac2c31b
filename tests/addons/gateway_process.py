"""A real gateway for tests: a recorder and a `mitmdump` worker, raw clients, and what stands in the journal."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onrecord.recordings.datapath import state_paths
from onrecord.recordings.frames import FILE_HEADER_SIZE, Kind, decode_frames, id_text, read_file_header
from onrecord.recordings.process import SUPERVISED
from tests.helpers import Setup, stop, wait_until


@dataclass
class Record:
    """One journal record: its kind, ids, and decoded payload."""

    kind: Kind
    id: str
    command: str
    payload: dict[str, Any]


@dataclass
class GatewayProcess:
    """A running worker and its recorder."""

    setup: Setup
    worker: subprocess.Popen[bytes]
    recorder: subprocess.Popen[bytes]
    log: Path
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def ca(self) -> Path:
        return self.setup.state / "ca" / "mitmproxy-ca-cert.pem"

    @property
    def token(self) -> str:
        return self.tokens.setdefault("agent-7", self.setup.mint())

    def proxy(self, token: str | None = None) -> str:
        return f"http://agent:{token or self.token}@127.0.0.1:{self.setup.http_port}"

    def curl(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """curl through the gateway; with `-i` the CONNECT's head is left out."""
        command = ["curl", "-sS", "-m", "20", "--suppress-connect-headers", "-x", self.proxy(token)]
        return subprocess.run(
            [*command, "--cacert", str(self.ca), *arguments], capture_output=True, text=True, timeout=30
        )

    def open(self) -> socket.socket:
        """A bare connection to the proxy."""
        return socket.create_connection(("127.0.0.1", self.setup.http_port), timeout=10)

    def connect(self, authority: str, token: str | None = None, extra: str = "") -> tuple[socket.socket, bytes]:
        """The connection and the head of the answer to CONNECT."""
        client = self.open()
        login = f"Proxy-Authorization: Bearer {token or self.token}\r\n"
        try:
            client.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}{extra}\r\n".encode())
            return client, read_head(client)
        except OSError:
            client.close()
            raise

    def tunnel(
        self, authority: str = "billing.internal:443", *, sni: str | None = "", alpn: str = "http/1.1"
    ) -> ssl.SSLSocket:
        """TLS inside a CONNECT; `sni` empty: the authority's own name."""
        client, head = self.connect(authority)
        if not head.startswith(b"HTTP/1.1 200"):
            client.close()
            raise ConnectionError(head.decode("latin-1"))
        context = ssl.create_default_context(cafile=str(self.ca))
        context.check_hostname = False
        context.set_alpn_protocols([alpn])
        try:
            return context.wrap_socket(client, server_hostname=authority.rpartition(":")[0] if sni == "" else sni)
        except OSError:
            client.close()
            raise

    def ask(self, raw: bytes, authority: str = "billing.internal:443") -> tuple[int, bytes]:
        """Status and all bytes of the answer to one raw request inside a tunnel; status 0 where it was just closed."""
        with self.tunnel(authority) as client:
            client.sendall(raw)
            return read_answer(client)

    def records(self, kind: Kind | None = None) -> list[Record]:
        """What the worker's journals hold, in order."""
        found: list[Record] = []
        for path in sorted((self.setup.state / "journal").glob("gateway-*.journal")):
            data = path.read_bytes()
            frames = decode_frames(data[FILE_HEADER_SIZE:], read_file_header(data))
            found += [Record(f.kind, id_text(f.id), id_text(f.command), json.loads(f.payload)) for f in frames]
        return [record for record in found if kind is None or record.kind is kind]

    def commands(self) -> list[dict[str, Any]]:
        return [record.payload for record in self.records(Kind.COMMAND)]

    def refusals(self) -> list[dict[str, Any]]:
        return [record.payload for record in self.records(Kind.REFUSAL)]

    def outcome(self, text: str) -> dict[str, Any]:
        """The outcome of the last command with this text, once it is there."""

        def find() -> dict[str, Any] | None:
            records = self.records()
            ids = [r.command for r in records if r.kind is Kind.COMMAND and r.payload["text"] == text]
            outcomes = [r for r in records if r.kind is Kind.OUTCOME and ids and r.command == ids[-1]]
            return outcomes[-1].payload if outcomes else None

        return wait_until(find, timeout=10, what=f"the outcome of {text}") or {}

    def output(self) -> str:
        return self.log.read_text(errors="replace")


def read_head(client: socket.socket) -> bytes:
    """Up to the end of a response head."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(65536)
        if not part:
            break
        data += part
    return data


def read_answer(client: socket.socket) -> tuple[int, bytes]:
    """Status and bytes of one response with a content-length (or up to the end of the connection)."""
    data = b""
    with contextlib.suppress(OSError):
        data = read_head(client)
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        wanted = int(lengths[0].split(b":")[1]) if lengths else 1 << 30
        while len(body) < wanted and (part := client.recv(65536)):
            body += part
            data += part
    status = int(data[9:12]) if data.startswith(b"HTTP/") else 0
    return status, data


@contextlib.contextmanager
def gateway_process(
    setup: Setup, *, script: Path | None = None, command: tuple[str, ...] = (), workers: int = 1
) -> Iterator[GatewayProcess]:
    """Recorder and worker, ready; both stopped at the end. `script`: `mitmdump -s SCRIPT`; `command`: that instead."""
    for path in state_paths(setup.state):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = setup.path.parent / "gateway.log"
    environment = {**os.environ, **setup.env, SUPERVISED: str(os.getpid())}
    python = [sys.executable, "-m"]
    with log.open("ab") as out, contextlib.ExitStack() as stack:

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
            stack.callback(stop, process)
            return process

        recorder = start(*python, "onrecord.recordings.recorder", str(setup.path))
        if command:
            worker = start(*command)
        elif script is not None:
            mitmdump = str(Path(sys.executable).parent / "mitmdump")
            worker = start(mitmdump, "-s", str(script), "--set", f"onrecord_config={setup.path}")
        else:
            worker = start(*python, "onrecord.addons.worker", str(setup.path))
        for index in range(1, workers):
            start(*python, "onrecord.addons.worker", str(setup.path), "--index", str(index))
        gateway = GatewayProcess(setup, worker, recorder, log)

        def listens() -> bool:
            if worker.poll() is not None:
                raise AssertionError(f"the gateway ended with {worker.returncode}:\n{gateway.output()}")
            with contextlib.suppress(OSError), gateway.open():
                return True
            return False

        wait_until(listens, what="the gateway")
        yield gateway
