"""A real kube-apiserver with etcd and a stub kubelet, for the opt-in tier: scripts/setup-kube-apiserver builds it.

`with RealCluster(program, folder) as cluster:` listening on 127.0.0.1:`port`. There is no scheduler and no controller:
`add_pod` puts a running pod on the stub's node. `entries` reads the API server's own audit log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import h11

from onrecord.scripts.parts.certs import Authority
from onrecord.scripts.parts.https_api import HttpsApi, Received
from onrecord.scripts.parts.kube_streams import Streams
from onrecord.scripts.parts.ports import free_ports

NODE = "stub"
TOKEN = "gateway-token-for-the-real-cluster"  # noqa: S105  of a part
START = 60.0  # seconds
_USES = {"exec": "exec", "attach": "attach", "portForward": "portforward"}
_FLAGS = {"input": "stdin", "output": "stdout", "error": "stderr", "port": "ports"}
AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules: [{level: Metadata}]
"""


class Kubelet(HttpsApi):
    """The kubelet's server as far as streams and logs need it; pods are processes, as in kube_streams.py."""

    def __init__(self, streams: Streams) -> None:
        super().__init__("kubelet.internal")
        self.streams = streams
        self.logs: dict[str, list[str]] = {}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        if not isinstance(event, h11.Request):
            return
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
        request = Received(event.method.decode(), event.target.decode("latin-1"), headers, b"")
        self.requests.append(request)
        what, *parts = request.path.strip("/").split("/")
        if what in _USES:
            fields = parse_qsl(urlsplit(request.target).query, keep_blank_values=True)
            query = urlencode([(_FLAGS.get(name, name), value) for name, value in fields])
            await self.streams(self, Received(request.method, f"/{_USES[what]}?{query}", headers, b""), reader, writer)
        elif what == "containerLogs":
            await self._log("/".join(parts[:2]), request, writer)
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async def _log(self, pod: str, request: Received, writer: asyncio.StreamWriter) -> None:
        follow = ("follow", "true") in parse_qsl(urlsplit(request.target).query)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        sent = 0
        until = time.monotonic() + 60
        while True:
            lines = self.logs.get(pod, [])
            for line in lines[sent:]:
                data = line.encode() + b"\n"
                writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            sent = len(lines)
            await writer.drain()
            if not follow or time.monotonic() > until:
                break
            await asyncio.sleep(0.05)
        writer.write(b"0\r\n\r\n")
        await writer.drain()


class RealCluster:
    """`program` is the kube-apiserver; `folder` holds all of its state."""

    host = "127.0.0.1"

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        (folder / "pod").mkdir(parents=True)
        self.streams = Streams(folder / "pod")
        self.kubelet = Kubelet(self.streams)
        self.authority = Authority(folder / "pki", "onrecord real cluster")
        self.ca = self.authority.cert
        self.names = ("prod.k8s.internal",)
        self.port, self._etcd, self._peer = free_ports(3)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def entries(self) -> list[dict[str, Any]]:
        """The audit log, but for what the API server asks itself."""
        lines = (self._folder / "audit.log").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in found if not entry["user"]["username"].startswith("system:apiserver")]

    def ask(self, method: str, path: str, body: Any = None, media: str = "application/json") -> Any:
        """One request as the cluster's administrator; not in `entries`. Raises urllib's HTTPError."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Bearer admin-token", "Content-Type": media},
        )
        context = ssl.create_default_context(cafile=str(self.ca))
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")

    def add_pod(self, namespace: str, name: str) -> None:
        """A pod that runs on the stub's node."""
        pods = f"/api/v1/namespaces/{namespace}/pods"
        containers = [{"name": "app", "image": "nginx:1", "stdin": True}]
        spec = {"nodeName": NODE, "containers": containers, "automountServiceAccountToken": False}
        pod = self.ask("POST", pods, {"metadata": {"name": name}, "spec": spec})
        running = [
            {"name": "app", "ready": True, "restartCount": 0, "image": "", "imageID": "", "state": {"running": {}}}
        ]
        pod["status"] = {"phase": "Running", "containerStatuses": running}
        self.ask("PUT", f"{pods}/{name}/status", pod)

    def _start(self) -> None:
        self._stack.enter_context(self.kubelet)
        url = f"http://127.0.0.1:{self._etcd}"
        peer = f"http://127.0.0.1:{self._peer}"
        self._run(
            "etcd", "--data-dir", str(self._folder / "etcd"), "--listen-client-urls", url,
            "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"default={peer}",
        )  # fmt: skip
        pair = self.authority.issue("kubernetes", *self.names, "localhost", "127.0.0.1", file="apiserver")
        signing = self.authority.issue("service-accounts")
        tokens = self._folder / "tokens.csv"
        tokens.write_text(
            f'{TOKEN},onrecord-gateway,1,"system:masters"\nadmin-token,system:apiserver-admin,2,"system:masters"\n'
        )
        tokens.chmod(0o600)
        policy = self._folder / "audit-policy.yaml"
        policy.write_text(AUDIT_POLICY)
        self._run(
            str(self._program), "--etcd-servers", url, "--bind-address", "127.0.0.1", "--secure-port", str(self.port),
            "--tls-cert-file", str(pair.cert), "--tls-private-key-file", str(pair.key),
            "--token-auth-file", str(tokens), "--authorization-mode", "RBAC",
            "--audit-policy-file", str(policy), "--audit-log-path", str(self._folder / "audit.log"),
            "--service-account-issuer", "https://127.0.0.1", "--service-account-key-file", str(signing.cert),
            "--service-account-signing-key-file", str(signing.key), "--api-audiences", "api",
            "--service-cluster-ip-range", "10.0.0.0/24", "--disable-admission-plugins", "ServiceAccount",
            "--kubelet-preferred-address-types", "InternalIP", "--cert-dir", str(self._folder / "cert"),
            "--advertise-address", "127.0.0.1", "--endpoint-reconciler-type", "none",
        )  # fmt: skip
        self._wait()
        node = self.ask("POST", "/api/v1/nodes", {"metadata": {"name": NODE}})
        node["status"] = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.kubelet.port}},
        }
        self.ask("PUT", f"/api/v1/nodes/{NODE}/status", node)

    def _run(self, *command: str) -> None:
        name = Path(command[0]).name
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder)

        self._processes.append(process)

        def end() -> None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)

        self._stack.callback(end)

    def _wait(self) -> None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and all(process.poll() is None for process in self._processes):
            with contextlib.suppress(OSError, ValueError):
                self.ask("GET", "/api/v1/namespaces/default")
                return
            time.sleep(0.3)
        log = (self._folder / "kube-apiserver.log").read_text(errors="replace")
        raise TimeoutError(f"the API server does not answer:\n{log[-3000:]}")
