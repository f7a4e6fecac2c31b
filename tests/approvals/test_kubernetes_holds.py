"""A write that waits for a human: kubectl waits with it, the approver sees what it would change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.scripts.admin_client import AdminClient
from onrecord.scripts.parts.kube_api import KubeApi
from tests.addons.kubernetes_api.cluster import HOST, TOKEN, kube_resource
from tests.approvals.test_kubernetes_streams import kubectl, pending
from tests.helpers import Gateway, free_port, make_config, running_gateway, wait_until

WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"replicas": 3},
}


@pytest.fixture
def api() -> Iterator[KubeApi]:
    with KubeApi(HOST, tokens=[TOKEN]) as server:
        server.add(WEB)
        yield server


@pytest.fixture
def gateway(api: KubeApi, tmp_path: Path) -> Iterator[Gateway]:
    source = (Path(__file__).resolve().parents[2] / "policies/library/hold_scale_to_zero.py").read_text()
    policy = tmp_path / "hold_scale_to_zero.py"
    policy.write_text(source.replace('APPROVERS = ""', 'APPROVERS = "dba"'))
    policy.chmod(0o600)
    setup = make_config(
        tmp_path,
        resources={"prod": kube_resource(api, impersonate=True)},
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


def replicas(api: KubeApi) -> int:
    return int(api.store.get(("apps", "deployments", "shop", "web"))["spec"]["replicas"])


def test_a_scale_to_zero_waits_shows_its_difference_and_runs_when_it_is_approved(
    gateway: Gateway, admin: AdminClient, api: KubeApi, tmp_path: Path
) -> None:
    client = kubectl(gateway, tmp_path, "scale", "deployment/web", "--replicas=0")
    waiting = pending(admin)
    assert "web in shop to zero" in waiting["reason"]
    assert replicas(api) == 3

    def preview() -> str:
        return str((admin.approval(waiting["id"]).get("preview") or {}).get("text", ""))

    shown = wait_until(preview, what="the preview")
    assert "-  replicas: 3" in shown
    assert "+  replicas: 0" in shown
    assert replicas(api) == 3
    admin.decide(waiting["id"], "approve", "")
    out, _ = client.communicate(timeout=60)
    assert client.returncode == 0, out
    assert replicas(api) == 0


def test_a_refusal_is_a_status_with_who_and_why(
    gateway: Gateway, admin: AdminClient, api: KubeApi, tmp_path: Path
) -> None:
    client = kubectl(gateway, tmp_path, "scale", "deployment/web", "--replicas=0")
    admin.decide(pending(admin)["id"], "deny", "it is Friday")
    out, _ = client.communicate(timeout=60)
    assert client.returncode == 1
    assert "it is Friday" in out
    assert replicas(api) == 3


def test_a_client_that_leaves_does_not_scale_anything(
    gateway: Gateway, admin: AdminClient, api: KubeApi, tmp_path: Path
) -> None:
    client = kubectl(gateway, tmp_path, "scale", "deployment/web", "--replicas=0")
    waiting = pending(admin)
    client.kill()
    client.communicate()
    admin.decide(waiting["id"], "approve", "")
    wait_until(lambda: admin.approval(waiting["id"])["state"] != "pending", what="the end of the approval")
    assert replicas(api) == 3
