"""A cluster's own listener under `onrecord up` with two workers: holds, kills, masks, quotas, and its end."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onrecord.scripts.admin_client import AdminClient
from onrecord.scripts.parts.kube_api import KubeApi
from onrecord.scripts.parts.kube_streams import Streams
from tests.addons.gateway_process import read_head
from tests.addons.kubernetes_api.cluster import HOST, KUBECTL, TOKEN, kube_resource
from tests.addons.kubernetes_api.streams.test_kubectl_streams import POD
from tests.approvals.test_kubernetes_streams import POLICY, pending
from tests.helpers import Gateway, free_port, make_config, running_gateway, wait_until

COMMANDS = 300
CARD = "4111 1111 1111 1111"


def _is_whole(data: bytes) -> bool:
    """Whether an answer with a content-length is all there."""
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].partition(b":")[2])


@dataclass
class Stage:
    """A running gateway, its cluster, and an agent's way straight to the listener."""

    gateway: Gateway
    api: KubeApi
    streams: Streams
    folder: Path
    port: int

    def kubectl(self, subject: str, *arguments: str) -> subprocess.Popen[str]:
        token = self.gateway.setup.mint(subject, run=f"run-of-{subject}")
        path = self.folder / f"kubeconfig-{subject}"
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self.gateway.proxy_ca)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "prod",
            "clusters": [{"name": "prod", "cluster": cluster}],
            "users": [{"name": "agent", "user": {"token": token}}],
            "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "agent", "namespace": "shop"}}],
        }
        path.write_text(json.dumps(document))
        path.chmod(0o600)
        return subprocess.Popen(
            [KUBECTL, "--kubeconfig", str(path), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"HOME": str(self.folder), "PATH": "/usr/bin:/bin"},
        )

    def dial(self) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.gateway.proxy_ca))
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return context.wrap_socket(raw, server_hostname="127.0.0.1")

    def ask(self, client: ssl.SSLSocket, token: str) -> tuple[int, dict[str, Any]]:
        """Status and body of one answer."""
        client.sendall(f"GET /version HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        data = read_head(client)
        while not data.endswith(b"\r\n0\r\n\r\n") and not _is_whole(data):
            part = client.recv(65536)
            assert part, data
            data += part
        body = data.partition(b"\r\n\r\n")[2]
        return int(data[9:12]), dict(json.JSONDecoder().raw_decode(body[body.index(b"{") :].decode())[0])

    def lines(self) -> list[dict[str, Any]]:
        done = self.gateway.onrecord("log", "--json", "--kind", "kubernetes", "--limit", "1000")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def outcome(self, text: str) -> dict[str, Any]:
        def find() -> dict[str, Any]:
            found = [line["outcome"] for line in self.lines() if text in line["text"]]
            return found[-1] or {} if found else {}

        return dict(wait_until(find, timeout=60, what=f"the outcome of {text}"))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Stage]:
    (folder / "pod").mkdir()
    policy = folder / "holds.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    streams, port = Streams(folder / "pod"), free_port()
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        api.streams = streams
        api.add(POD)
        metadata = {"name": "seen", "namespace": "shop", "annotations": {"note": json.dumps({"card": CARD})}}
        api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"card": CARD}})
        setup = make_config(
            folder,
            resources={"prod": kube_resource(api, impersonate=True, listen=f"127.0.0.1:{port}")},
            policies=[{"file": str(policy)}],
            masks=[{"detect": ["payment_card"]}],
            quotas={"commands": COMMANDS},
            gateway={"admin": f"127.0.0.1:{free_port()}", "postgres": None, "workers": 2},
            tables={"admin": {"roles": {"operator": ["ops"]}}},
            env={"CLUSTER_TOKEN": TOKEN},
        )
        with running_gateway(setup) as gateway:
            yield Stage(gateway, api, streams, folder, port)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running(tmp_path_factory.mktemp("listener")) as made:
        yield made


@pytest.fixture
def admin(stage: Stage) -> Iterator[AdminClient]:
    token = stage.gateway.setup.mint("alice", groups=("dba", "ops"), human=True)
    with AdminClient(f"http://127.0.0.1:{stage.gateway.setup.admin_port}", token) as client:
        yield client


def test_a_held_exec_waits_and_runs_once_when_it_is_approved(stage: Stage, admin: AdminClient) -> None:
    client = stage.kubectl("held", "exec", "web", "--", "touch", "made")
    waiting = pending(admin)
    assert waiting["detail"]["argv"] == ["touch", "made"]
    assert not (stage.streams.folder / "made").exists()
    admin.decide(waiting["id"], "approve", "")
    out, _ = client.communicate(timeout=60)
    assert client.returncode == 0, out
    assert (stage.streams.folder / "made").exists()


def test_a_client_that_left_runs_nothing_when_its_exec_is_approved(stage: Stage, admin: AdminClient) -> None:
    client = stage.kubectl("leaving", "exec", "web", "--", "touch", "unmade")
    waiting = pending(admin)
    client.kill()
    client.communicate()
    ended = stage.outcome("touch unmade")
    assert ended["status"] in ("refused", "aborted")
    admin.decide(waiting["id"], "approve", "")
    assert not (stage.streams.folder / "unmade").exists()


def test_a_kill_ends_an_open_exec_and_a_watch_and_lets_nobody_in_again(stage: Stage, admin: AdminClient) -> None:
    client = stage.kubectl("leaky", "exec", "web", "--", "sh", "-c", "echo begun; sleep 1000")
    watch = stage.kubectl("leaky", "get", "configmaps", "-w", "-o", "name")
    assert client.stdout is not None
    assert watch.stdout is not None
    assert client.stdout.readline() == "begun\n"
    assert watch.stdout.readline() == "configmap/seen\n"
    wait_until(lambda: stage.api.open_watches == 1, timeout=60, what="the watch")
    admin.kill("identity", "leaky", "leaked")
    client.communicate(timeout=60)
    watch.communicate(timeout=60)
    assert client.returncode != 0
    wait_until(lambda: stage.streams.open == 0 and stage.api.open_watches == 0, timeout=60, what="the ends upstream")
    ended = stage.outcome("sleep 1000")
    assert ended["status"] == "aborted"
    assert "leaked" in ended["error"]
    before = len(stage.api.audit)
    again = stage.kubectl("leaky", "get", "configmaps")
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 1
    assert "leaked" in out
    assert len(stage.api.audit) == before


def test_masks_hold_in_objects_lists_watches_and_records(stage: Stage) -> None:
    for arguments in (("get", "configmap", "seen", "-o", "json"), ("get", "configmaps", "-o", "yaml")):
        client = stage.kubectl("reader", *arguments)
        out, _ = client.communicate(timeout=60)
        assert client.returncode == 0, out
        assert "4111" not in out
        assert "[redacted]" in out
    assert stage.outcome("configmaps/seen")["masked"] == {"payment_card": 2}
    lines = json.dumps(stage.lines())
    assert "4111 1111" not in lines
    assert TOKEN not in lines


def test_both_workers_serve_the_listener(stage: Stage) -> None:
    journals = stage.gateway.setup.state / "journal"

    def both() -> bool:
        with stage.dial() as client:
            token = stage.gateway.setup.mint("many")
            assert stage.ask(client, token)[0] == 200
        served = {path.name[:9] for path in journals.glob("gateway-*.journal") if b'"many"' in path.read_bytes()}
        return len(served) == 2

    wait_until(both, timeout=60, what="both workers to serve")


def test_a_quota_stops_one_identity_and_no_other(stage: Stage) -> None:
    token = stage.gateway.setup.mint("greedy")
    codes: list[int] = []
    with stage.dial() as client:
        for _ in range(10 * COMMANDS):  # what is used up comes back little by little
            code, answer = stage.ask(client, token)
            codes.append(code)
            if code != 200:
                break
    assert codes[0] == 200
    assert codes[-1] == 429
    assert answer["reason"] == "TooManyRequests"
    other = stage.kubectl("modest", "get", "configmaps")
    out, _ = other.communicate(timeout=60)
    assert other.returncode == 0, out


def test_the_end_of_the_gateway_ends_its_listener_and_every_record_is_whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(tmp_path_factory.mktemp("ending")) as stage:
        watch = stage.kubectl("staying", "get", "configmaps", "-w", "-o", "name")
        assert watch.stdout is not None
        assert watch.stdout.readline() == "configmap/seen\n"
        wait_until(lambda: stage.api.open_watches == 1, timeout=60, what="the watch")
        stage.gateway.process.terminate()
        assert stage.gateway.process.wait(60) == 0
        watch.communicate(timeout=60)
        wait_until(lambda: stage.api.open_watches == 0, timeout=60, what="the end upstream")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", stage.port), timeout=10).close()
        assert stage.outcome("kubectl get configmaps -n shop --watch")["status"] == "aborted"
        assert json.loads(stage.gateway.onrecord("verify", "--json").stdout)["ok"] is True
