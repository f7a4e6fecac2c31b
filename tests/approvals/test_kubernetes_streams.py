"""exec and port-forward that wait for a human, and a kill that ends an open one, with the real kubectl."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onrecord.scripts.admin_client import AdminClient
from onrecord.scripts.parts.kube_api import KubeApi
from onrecord.scripts.parts.kube_streams import Streams
from tests.addons.kubernetes_api.cluster import HOST, KUBECTL, TOKEN, kube_resource
from tests.addons.kubernetes_api.streams.test_kubectl_streams import POD, Echo, ask
from tests.helpers import Gateway, free_port, make_config, running_gateway, wait_until

POLICY = """
from onrecord.policies import Hold


class Holds:
    def kubernetes(self, command):
        if command.argv[:1] == ("touch",):
            return Hold(approvers="dba", reason="a file in a pod")
        if command.subresource == "portforward" and command.body == {"port": 7}:
            return Hold(approvers="dba", reason="a tunnel to port 7")
        return None


addons = [Holds()]
"""


@pytest.fixture
def streams(tmp_path: Path) -> Streams:
    (tmp_path / "pod").mkdir()
    return Streams(tmp_path / "pod")


@pytest.fixture
def gateway(streams: Streams, tmp_path: Path) -> Iterator[Gateway]:
    policy = tmp_path / "holds.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        api.streams = streams
        api.add(POD)
        setup = make_config(
            tmp_path,
            resources={"prod": kube_resource(api)},
            policies=[{"file": str(policy)}],
            gateway={"admin": f"127.0.0.1:{free_port()}", "postgres": None},
            tables={"admin": {"roles": {"operator": ["ops"]}}},
            env={"CLUSTER_TOKEN": TOKEN},
        )
        with running_gateway(setup) as running:
            yield running


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[AdminClient]:
    token = gateway.setup.mint("alice", groups=("dba", "ops"), human=True)
    with AdminClient(f"http://127.0.0.1:{gateway.setup.admin_port}", token) as client:
        yield client


def kubectl(gateway: Gateway, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    cluster = {
        "server": f"https://{HOST}",
        "proxy-url": gateway.proxy(gateway.setup.mint("devin", run="run-1")),
        "certificate-authority": str(gateway.proxy_ca),
    }
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "prod",
        "clusters": [{"name": "prod", "cluster": cluster}],
        "users": [{"name": "agent", "user": {"token": "placeholder"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "agent", "namespace": "shop"}}],
    }
    path.write_text(json.dumps(document))
    return subprocess.Popen(
        [KUBECTL, "--kubeconfig", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )


def pending(admin: AdminClient) -> dict[str, Any]:
    (found,) = wait_until(lambda: admin.approvals(pending=True), timeout=60, what="the approval")
    return dict(found)


def test_an_exec_runs_when_it_is_approved_and_not_before(
    gateway: Gateway, admin: AdminClient, streams: Streams, tmp_path: Path
) -> None:
    client = kubectl(gateway, tmp_path, "exec", "web", "--", "touch", "made")
    waiting = pending(admin)
    assert waiting["detail"]["argv"] == ["touch", "made"]
    assert streams.open == 0
    assert not (streams.folder / "made").exists()
    admin.decide(waiting["id"], "approve", "")
    out, _ = client.communicate(timeout=60)
    assert client.returncode == 0, out
    assert (streams.folder / "made").exists()


def test_a_refused_exec_is_told_so_by_kubectl(
    gateway: Gateway, admin: AdminClient, streams: Streams, tmp_path: Path
) -> None:
    client = kubectl(gateway, tmp_path, "exec", "web", "--", "touch", "made")
    admin.decide(pending(admin)["id"], "deny", "not today")
    out, _ = client.communicate(timeout=60)
    assert client.returncode != 0
    assert "not today" in out
    assert not (streams.folder / "made").exists()


def test_a_port_of_a_forward_waits_for_its_approval(
    gateway: Gateway, admin: AdminClient, streams: Streams, tmp_path: Path
) -> None:
    echo = Echo()
    streams.ports[7] = echo.port
    client = kubectl(gateway, tmp_path, "port-forward", "pod/web", ":7")
    try:
        assert client.stdout is not None
        match = re.search(r"127\.0\.0\.1:(\d+)", client.stdout.readline())
        assert match
        with socket.create_connection(("127.0.0.1", int(match[1])), timeout=60) as tunnel:
            tunnel.sendall(b"hello")
            waiting = pending(admin)
            assert waiting["detail"]["body"] == {"port": 7}
            admin.decide(waiting["id"], "approve", "")
            tunnel.settimeout(60)
            assert tunnel.recv(100) == b"HELLO"
        assert ask(int(match[1]), b"again") == b"AGAIN", "one approval, one tunnel"
    finally:
        client.terminate()
        client.communicate(timeout=60)
        echo.close()


def test_a_kill_ends_an_open_exec_and_its_process(
    gateway: Gateway, admin: AdminClient, streams: Streams, tmp_path: Path
) -> None:
    client = kubectl(gateway, tmp_path, "exec", "web", "--", "sh", "-c", "echo begun; sleep 1000")
    assert client.stdout is not None
    assert client.stdout.readline() == "begun\n"
    assert streams.open == 1
    admin.kill("identity", "devin", "leaked")
    client.communicate(timeout=60)
    assert client.returncode != 0
    wait_until(lambda: streams.open == 0, timeout=60, what="the end upstream")

    def outcome() -> dict[str, Any]:
        lines = [
            json.loads(line) for line in gateway.onrecord("log", "--json", "--kind", "kubernetes").stdout.splitlines()
        ]
        found = [line["outcome"] for line in lines if "sleep 1000" in line["text"]]
        return found[-1] or {} if found else {}

    ended = wait_until(outcome, timeout=60, what="the outcome")
    assert ended["status"] == "aborted"
    assert "leaked" in ended["error"]
