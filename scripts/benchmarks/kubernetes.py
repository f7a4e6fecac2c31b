"""Kubernetes through nothing, stock mitmdump and onrecord: a long list with masks, the delay of watch events, memory.

A list of 5,000 pods (about 10 MB of JSON, one in twenty with something to mask) fetched by curl; watch events stamped
where they are made and read by a client of this process; 200 watches open at once. The API server is the project's own
small one.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h11

from onrecord.scripts.benchmarks.processes import descendants
from onrecord.scripts.benchmarks.report import Result, in_turns, progress
from onrecord.scripts.benchmarks.servers import mitmdump
from onrecord.scripts.parts.certs import Authority
from onrecord.scripts.parts.gateway import make_config, running_gateway
from onrecord.scripts.parts.https_api import Headers, send
from onrecord.scripts.parts.kube_api import KubeApi
from onrecord.scripts.parts.ports import free_ports
from onrecord.scripts.parts.postgres import PartError

NAME = "prod.k8s.internal"
PODS, WATCHES, EVENTS = 5000, 200, 200
LIST = "/api/v1/namespaces/many/pods"
WATCH = "/api/v1/namespaces/shop/configmaps?watch=true&resourceVersion=999999999"
MIB = 1024 * 1024
_LETTERS = str.maketrans("0123456789", "ghijklmnop")  # a stamp of digits could be a payment card
_DIGITS = bytes.maketrans(b"ghijklmnop", b"0123456789")


class ListApi(KubeApi):
    """The small API server, with one long list that it has ready."""

    document = b""

    async def _one(self, request: Any, http: Any, reader: Any, writer: Any) -> bool:
        if not request.path.startswith(LIST):
            return await super()._one(request, http, reader, writer)
        headers: Headers = [("content-type", "application/json"), ("content-length", str(len(self.document)))]
        await send(http, writer, h11.Response(status_code=200, headers=headers))
        for start in range(0, len(self.document), 65536):
            await send(http, writer, h11.Data(data=self.document[start : start + 65536]))
        await send(http, writer, h11.EndOfMessage())
        return False


def measure(rounds: int, seconds: float) -> Result:
    """All in one run; `seconds` is not used."""
    del seconds
    with tempfile.TemporaryDirectory(prefix="onrecord-bench-") as temp, contextlib.ExitStack() as stack:
        folder = Path(temp)
        (stock_port,) = free_ports(1)
        api = ListApi(NAME, authority=Authority(folder / "ca"))
        api.document = pods()
        stack.enter_context(api)
        stack.enter_context(mitmdump(folder, stock_port, api.ca))
        setup = make_config(
            folder,
            gateway={"postgres": None},
            resources={
                "prod": {
                    "type": "kubernetes",
                    "hosts": [NAME],
                    "upstream": f"https://127.0.0.1:{api.port}",
                    "ca": f"file:{api.ca}",
                    "token": "env:CLUSTER_TOKEN",
                    "groups": ["agents"],
                    "default": "allow",
                }
            },
            env={"CLUSTER_TOKEN": "cluster-token-" + "5e1d0c9a7b" * 90},
            masks=[{"detect": ["email", "payment_card", "jwt"]}],
        )
        gateway = stack.enter_context(running_gateway(setup))
        token = setup.mint("bench")
        stock_ca = folder / "mitmproxy" / "mitmproxy-ca-cert.pem"
        ways = {
            "direct": Way(api.port, api.ca),
            "mitmdump (stock)": Way(api.port, stock_ca, stock_port, host="127.0.0.1"),
            "onrecord": Way(443, gateway.proxy_ca, setup.http_port, token),
        }
        masked = ways["onrecord"].fetch(LIST)
        if b"@example.com" in masked or masked.count(b"[redacted]") != PODS // 20:
            raise PartError("the list was not masked")
        lists = in_turns({name: way.seconds for name, way in ways.items()}, rounds, say=f"{PODS:,} pods,")
        live = {name: way for name, way in ways.items() if name != "mitmdump (stock)"}  # it buffers: no event comes
        delays = in_turns({name: delay(api, way) for name, way in live.items()}, rounds, say="watch events,")
        watched = memory(gateway.process.pid, ways["onrecord"])
    result = Result(
        f"Kubernetes: {PODS:,} pods ({len(api.document) / 1e6:.1f} MB), watches",
        ["list s", "/ stock", "watch event p50 ms", f"{WATCHES} watches, MiB more"],
    )
    for name in ways:
        result.rows[name] = {
            "list s": lists[name],
            "/ stock": lists[name] / lists["mitmdump (stock)"],
            "watch event p50 ms": delays.get(name, "never"),
            f"{WATCHES} watches, MiB more": watched if name == "onrecord" else "",
        }
    result.notes = [
        "bars: a masked list at most 2.0 x stock, a watch event under 5 ms at p50, 200 watches under 150 MB",
        "onrecord: identity, masks (email, payment_card, jwt), whole answers in the journal before they pass",
    ]
    return result


def pods() -> bytes:
    """A PodList of about 2 kB a pod."""
    items = []
    for number in range(PODS):
        name = f"web-{number:05d}-6d4cf56db6-x7k2p"
        applied = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}}}
        value = f"owner{number}@example.com" if number % 20 == 0 else "the team that runs it"
        container = {
            "name": "main",
            "image": "registry.internal/shop/web:1.27.3",
            "env": [{"name": "MODE", "value": "live"}, {"name": "OWNER", "value": value}],
            "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
            "volumeMounts": [{"name": "kube-api-access-2wq9c", "mountPath": "/var/run/secrets", "readOnly": True}],
        }
        metadata = {
            "name": name,
            "namespace": "many",
            "uid": str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128, version=4)),
            "resourceVersion": str(100000 + number),
            "creationTimestamp": "2026-11-22T18:35:14Z",
            "labels": {"app": "web", "pod-template-hash": "6d4cf56db6", "tier": "front"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied) + "\n"},
            "managedFields": [
                {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                 "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}}}
            ],
        }  # fmt: skip
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": "2026-11-22T18:35:20Z"}
            for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ]
        status = {"phase": "Running", "conditions": conditions, "podIP": "10.4.0.7", "qosClass": "Burstable"}
        items.append(
            {"metadata": metadata, "spec": {"containers": [container], "nodeName": "node-17"}, "status": status}
        )
    document = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "200000"}, "items": items}
    return json.dumps(document, separators=(",", ":")).encode()


class Way:
    """How the API server is reached: by itself, or through a proxy."""

    def __init__(self, port: int, ca: Path, proxy: int = 0, token: str = "", *, host: str = NAME) -> None:
        self.port, self.ca, self.proxy, self.token = port, ca, proxy, token
        self.host = host

    def _curl(self, *arguments: str) -> bytes:
        command = ["curl", "-sS", "--fail", "--http1.1", "-m", "60", "--cacert", str(self.ca), *arguments]
        if self.proxy:
            login = f"bench:{self.token}@" if self.token else ""
            command += ["--suppress-connect-headers", "-x", f"http://{login}127.0.0.1:{self.proxy}"]
        else:
            command += ["--resolve", f"{NAME}:{self.port}:127.0.0.1"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise PartError(f"curl: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def fetch(self, path: str) -> bytes:
        """A body."""
        return self._curl(f"https://{self.host}:{self.port}{path}")

    def seconds(self) -> float:
        """How long the list takes."""
        url = f"https://{self.host}:{self.port}{LIST}"
        return float(self._curl("-o", "/dev/null", "-w", "%{time_total}", url))

    @contextlib.contextmanager
    def watching(self) -> Iterator[ssl.SSLSocket]:
        """An open watch; its head has been read."""
        raw = socket.create_connection(("127.0.0.1", self.proxy or self.port), timeout=30)
        with contextlib.ExitStack() as stack:
            stack.callback(raw.close)
            if self.proxy:
                where = f"{self.host}:{self.port}"
                login = f"Proxy-Authorization: Bearer {self.token}\r\n" if self.token else ""
                raw.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{login}\r\n".encode())
                _head(raw)
            context = ssl.create_default_context(cafile=str(self.ca))
            context.check_hostname = False
            client = stack.enter_context(context.wrap_socket(raw, server_hostname=self.host))
            authority = NAME if self.port == 443 else f"{self.host}:{self.port}"
            client.sendall(f"GET {WATCH} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            _head(client)
            yield client


def _head(client: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(1)
        if not part:
            raise PartError(f"no answer: {data[:200]!r}")
        data += part
    if b" 200 " not in data.split(b"\r\n")[0] + b" ":
        raise PartError(data.decode("latin-1"))


def delay(api: ListApi, way: Way) -> Callable[[], float]:
    """The median of how long events are on their way, in ms."""

    def measured() -> float:
        taken: list[float] = []
        with way.watching() as client:
            name = f"e{time.monotonic_ns()}"
            arrived = threading.Event()

            def read() -> None:
                held = b""
                while len(taken) < EVENTS:
                    held += client.recv(65536)
                    now = time.monotonic_ns()
                    while b'"stamp":"' in held and b"}}" in held.split(b'"stamp":"', 1)[1]:
                        text, _, held = held.split(b'"stamp":"', 1)[1].partition(b'"')
                        taken.append((now - int(text.translate(_DIGITS))) / 1e6)
                        arrived.set()

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            for number in range(EVENTS):
                arrived.clear()
                stamp = {"stamp": str(time.monotonic_ns()).translate(_LETTERS)}
                api.add(
                    {"apiVersion": "v1", "kind": "ConfigMap",
                     "metadata": {"name": f"{name}-{number}", "namespace": "shop"}, "data": stamp}
                )  # fmt: skip
                if not arrived.wait(10):
                    raise PartError("an event did not arrive")
            reader.join(10)
        return statistics.median(taken)

    return measured


def memory(pid: int, way: Way) -> float:
    """MiB that all processes of the gateway take more with the watches open."""

    def taken() -> float:
        total = 0
        for one in (pid, *descendants(pid)):
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{one}/status").read_text().splitlines()
                total += next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0) * 1024
        return total / MIB

    before = taken()
    with contextlib.ExitStack() as stack:
        for number in range(WATCHES):
            if number % 50 == 0:
                progress(f"{number} watches")
            stack.enter_context(way.watching())
        progress("")
        return taken() - before
