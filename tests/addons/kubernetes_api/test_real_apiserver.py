"""The opt-in tier: kubectl, new and old, through the gateway to a real kube-apiserver with its own audit log."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.real_cluster import TOKEN, RealCluster
from tests.addons.gateway_process import gateway_process
from tests.addons.kubernetes_api.cluster import KUBECTL, OLD, Cluster
from tests.addons.kubernetes_api.streams.test_kubectl_streams import Echo, Terminal, ask, channel, forwarding
from tests.helpers import make_config, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[3]
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
        },
    },
}
POLICY = """
from onrecord.policies import Deny


class Rules:
    def kubernetes(self, command):
        if command.verb == "delete" and command.resource == "namespaces":
            return Deny("namespaces are not deleted by agents")
        return None


addons = [Rules()]
"""


@dataclasses.dataclass
class Real:
    parts: Cluster
    cluster: RealCluster

    def client(self, version: str) -> Cluster:
        return dataclasses.replace(self.parts, program=KUBECTL if version == "1.37" else OLD)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    done = subprocess.run([str(ROOT / "scripts/setup-kube-apiserver")], capture_output=True, text=True, check=True)
    folder = tmp_path_factory.mktemp("real")
    policy = folder / "policy.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    with RealCluster(Path(done.stdout.strip()) / "kube-apiserver", folder / "cluster") as cluster:
        cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
        cluster.add_pod("shop", "web")
        resource = {
            "type": "kubernetes",
            "hosts": list(cluster.names),
            "upstream": f"https://127.0.0.1:{cluster.port}",
            "ca": f"file:{cluster.ca}",
            "token": "env:CLUSTER_TOKEN",
            "groups": ["agents"],
            "default": "allow",
            "admin": "allow",
            "impersonate": True,
        }
        setup = make_config(
            folder,
            resources={"prod": resource},
            policies=[{"file": str(policy)}],
            gateway={"postgres": None},
            env={"CLUSTER_TOKEN": TOKEN},
        )
        # What the cluster's administrator grants to the agents' group: the API server decides on the impersonated user.
        grant = {
            "metadata": {"name": "agents"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "onrecord:agents"}],
        }
        cluster.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", grant)
        with gateway_process(setup) as gateway:
            yield Real(Cluster(gateway, cluster, folder), cluster)  # type: ignore[arg-type]  # what `Cluster` asks of it


@pytest.fixture(params=["1.37", "1.20"])
def kubectl(request: pytest.FixtureRequest, real: Real) -> Cluster:
    return real.client(request.param)


def test_create_apply_patch_scale_and_delete(kubectl: Cluster) -> None:
    text = json.dumps(DEPLOYMENT)
    assert "created" in kubectl.run("apply", "-f", "-", input=text)
    assert "unchanged" in kubectl.run("apply", "-f", "-", input=text)
    assert "serverside-applied" in kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)
    assert "patched" in kubectl.run("patch", "deployment", "web", "-p", '{"spec":{"replicas":3}}')
    assert "scaled" in kubectl.run("scale", "deployment/web", "--replicas=4")
    assert kubectl.run("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "4"
    assert "web" in kubectl.run("describe", "deployment", "web")
    assert "KIND" in kubectl.run("explain", "deployment.spec").upper()
    assert "yes" in kubectl.run("auth", "can-i", "create", "pods")
    assert "deployments" in kubectl.run("api-resources")
    assert "deleted" in kubectl.run("delete", "deployment", "web")


def test_a_denied_command_never_reaches_the_cluster(kubectl: Cluster, real: Real) -> None:
    done = kubectl.kubectl("delete", "namespace", "shop", "--wait=false")
    assert "namespaces are not deleted by agents" in done.stderr
    assert "Active" in kubectl.run("get", "namespace", "shop")


def test_the_cluster_knows_the_agent_by_name(kubectl: Cluster, real: Real) -> None:
    kubectl.run("get", "pods")
    entry = wait_until(
        lambda: [one for one in real.cluster.entries() if one["verb"] == "list"], timeout=30, what="the audit log"
    )[-1]
    assert entry["user"]["username"] == "onrecord-gateway"
    assert entry["impersonatedUser"]["username"] == "onrecord:agent-7"


def test_a_failed_patch_shows_nothing_of_the_live_object(kubectl: Cluster, real: Real) -> None:
    value = "VE9QU0VDUkVULUE="
    secret = {"metadata": {"name": f"quoted-{kubectl.program == OLD}".lower()}, "data": {"a": value}}
    real.cluster.ask("POST", "/api/v1/namespaces/shop/secrets", secret)
    name = secret["metadata"]["name"]
    for patch in ({"data": {"b": "!!!!"}}, {"data": {"b": 5}}, {"type": 5}, {"kind": "ConfigMap"}):
        done = kubectl.kubectl("patch", "secret", name, "--type=merge", "-p", json.dumps(patch), "-v=8")
        assert done.returncode != 0
        assert "[redacted]" in done.stderr
        assert value not in done.stdout + done.stderr
    container = {"name": "w", "image": "x", "env": [{"name": "DB_PASSWORD", "value": "hunter2-of-env"}]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"metadata": {"name": name}, "spec": {"template": template}}
    real.cluster.ask("POST", "/apis/batch/v1/namespaces/shop/jobs", job)
    relabel: dict[str, Any] = {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}
    patches: list[tuple[str, dict[str, Any]]] = [("strategic", relabel), ("merge", {"spec": {"parallelism": "x"}})]
    for kind, change in patches:
        done = kubectl.kubectl("patch", "job", name, f"--type={kind}", "-p", json.dumps(change))
        assert "[redacted]" in done.stderr
        assert "hunter2-of-env" not in done.stdout + done.stderr
    kept = json.dumps([record.payload for record in kubectl.gateway.records()])
    assert value not in kept
    assert "hunter2-of-env" not in kept


def test_logs_and_follow(kubectl: Cluster, real: Real) -> None:
    real.cluster.kubelet.logs["shop/web"] = ["first line"]
    assert kubectl.run("logs", "web") == "first line\n"
    follower = subprocess.Popen(
        [kubectl.program, "logs", "-f", "web"], stdout=subprocess.PIPE, text=True, env=kubectl.environment()
    )
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "first line\n"
        real.cluster.kubelet.logs["shop/web"].append("second line")
        assert follower.stdout.readline() == "second line\n"
    finally:
        follower.kill()
        follower.communicate(timeout=30)


def test_a_watch_tells_of_changes(kubectl: Cluster, real: Real) -> None:
    name = f"watched-{kubectl.program.count('1.20')}"
    watcher = subprocess.Popen(
        [kubectl.program, "get", "configmaps", "-w", "-o", "name"],
        stdout=subprocess.PIPE,
        text=True,
        env=kubectl.environment(),
    )
    try:
        kubectl.run("create", "configmap", name, "--from-literal=a=b")
        assert watcher.stdout is not None
        while name not in watcher.stdout.readline():
            pass
    finally:
        watcher.kill()
        watcher.communicate(timeout=30)
        kubectl.run("delete", "configmap", name)


def test_exec_cp_and_attach(kubectl: Cluster, tmp_path: Path) -> None:
    done = kubectl.kubectl("exec", "-i", "web", "--", "sh", "-c", "cat; echo wrong >&2; exit 3", input="hello\n")
    assert (done.returncode, done.stdout) == (3, "hello\n"), done.stderr
    text = "kubectl exec web -n shop -c app -i -- sh -c 'cat; echo wrong >&2; exit 3'"
    assert kubectl.gateway.outcome(text)["code"] == "3"
    assert channel(kubectl, text, "stderr") == "wrong\n"
    content = os.urandom(300_000)
    (tmp_path / "there").write_bytes(content)
    kubectl.run("cp", str(tmp_path / "there"), "web:there")
    kubectl.run("cp", "web:there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == content
    assert "attached" in kubectl.kubectl("attach", "-i", "web", input="typed\n").stdout


def test_a_terminal(kubectl: Cluster) -> None:
    shell = Terminal(kubectl, "exec", "-it", "web", "--", "sh", columns=91, rows=27)
    shell.expect(r"\$ ")
    shell.type("while test \"$(stty size)\" = '0 0'; do sleep 0.1; done; stty size; exit 5\r")
    shell.expect("27 91")
    assert shell.end() == 5


def test_port_forward(kubectl: Cluster, real: Real) -> None:
    echo = Echo()
    real.cluster.streams.ports[7] = echo.port
    with forwarding(kubectl, 7) as (port, _):
        assert ask(port, b"hello") == b"HELLO"
    echo.close()
    assert kubectl.gateway.outcome("kubectl port-forward web -n shop 7")["bytes"] >= 5


def test_the_audit_log_of_the_cluster_and_the_records_agree(real: Real) -> None:
    """Each entry has its record, by id, and no record of what was let through lacks an entry."""

    def allowed() -> dict[str, Any]:
        return {
            r.id: r.payload["text"]
            for r in real.parts.gateway.records(Kind.COMMAND)
            if r.payload["kind"] == "kubernetes"
            and r.payload["verdict"]["type"] == "allow"
            and list(r.payload["detail"].get("body") or {}) != ["port"]
        }

    def entries() -> dict[str, Any]:
        return {entry["auditID"]: entry["requestURI"] for entry in real.cluster.entries()}

    with contextlib.suppress(TimeoutError):
        wait_until(lambda: allowed().keys() == entries().keys(), timeout=90, what="the audit log")
    records, log = allowed(), entries()
    assert [uri for id, uri in log.items() if id not in records] == []
    assert [text for id, text in records.items() if id not in log] == []
    assert len(log) > 100
