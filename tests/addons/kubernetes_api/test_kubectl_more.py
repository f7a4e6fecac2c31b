"""More of kubectl: what operators type less often, each with its verb, action, verdict and record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.addons.kubernetes_api.cluster import KUBECTL, Cluster, cluster
from tests.addons.kubernetes_api.test_kubectl_verbs import POD, deployment


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("more")) as parts:
        parts.program = KUBECTL
        parts.api.add(POD)
        parts.api.add({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}})
        yield parts


@pytest.fixture
def kube(shared: Cluster) -> Iterator[Cluster]:
    """Afterwards each request that reached the API server has its record, and none lacks one."""
    yield shared
    shared.check_oracle()


def last(kube: Cluster, verb: str, resource: str, subresource: str = "") -> dict[str, Any]:
    return next(
        one
        for one in reversed(kube.commands())
        if (one["detail"]["verb"], one["detail"]["resource"], one["detail"].get("subresource", ""))
        == (verb, resource, subresource)
    )


@pytest.mark.parametrize(("profile", "action"), [("restricted", "write"), ("general", "admin"), ("sysadmin", "admin")])
def test_a_debug_container_is_seen_and_one_with_capabilities_is_denied(
    kube: Cluster, profile: str, action: str
) -> None:
    spec: dict[str, Any] = {**POD["spec"], "securityContext": {}}  # type: ignore[dict-item]  # a real server sets it
    kube.api.add({**POD, "metadata": {"name": f"debugged-{profile}", "namespace": "shop"}, "spec": spec})
    done = kube.kubectl(
        "debug", f"debugged-{profile}", "--image=busybox:1", f"--profile={profile}", "--attach=false"
    )  # fmt: skip
    command = last(kube, "patch", "pods", "ephemeralcontainers")
    assert command["action"] == action
    assert "busybox:1" in json.dumps(command["detail"]["body"])
    assert command["verdict"]["type"] == ("allow" if action == "write" else "deny")
    assert ("onrecord:admin" in done.stderr) is (action == "admin"), done.stderr


@pytest.mark.parametrize("profile", ["legacy", "general", "sysadmin"])
def test_debugging_a_node_is_an_admins_business(kube: Cluster, profile: str) -> None:
    done = kube.kubectl("debug", "node/n1", "--image=busybox:1", f"--profile={profile}", "--attach=false")
    assert done.returncode == 1
    assert "onrecord:admin" in done.stderr
    assert last(kube, "create", "pods")["action"] == "admin"


def test_who_am_i_is_a_read(kube: Cluster) -> None:
    assert "gateway" in kube.run("auth", "whoami")
    assert last(kube, "create", "selfsubjectreviews")["action"] == "read"


def test_annotate_label_expose_and_set_image_are_writes(kube: Cluster) -> None:
    kube.api.add(deployment("dressed"))
    kube.run("annotate", "deployment", "dressed", "note=one")
    kube.run("label", "deployment", "dressed", "tier=front")
    kube.run("set", "image", "deployment/dressed", "main=nginx:2")
    assert last(kube, "patch", "deployments")["action"] == "write"
    kube.run("expose", "deployment", "dressed", "--port=80")
    assert last(kube, "create", "services")["detail"]["name"] == "dressed"


def test_replace_by_force_is_a_delete_and_a_create(kube: Cluster) -> None:
    made = deployment("forced")
    kube.api.add(made)
    kube.run("replace", "--force", "-f", "-", "--validate=false", "--grace-period=0", input=json.dumps(made))
    assert last(kube, "delete", "deployments")["detail"]["name"] == "forced"
    assert last(kube, "create", "deployments")["detail"]["name"] == "forced"


def test_rollout_restart_and_status(kube: Cluster) -> None:
    kube.api.add(deployment("rolled"))
    kube.run("rollout", "restart", "deployment/rolled")
    assert "restartedAt" in json.dumps(last(kube, "patch", "deployments")["detail"]["body"])
    assert "successfully rolled out" in kube.run("rollout", "status", "deployment/rolled")


def test_wait_is_a_list_and_a_watch(kube: Cluster) -> None:
    kube.api.add(deployment("awaited"))
    kube.kubectl("wait", "pod/web-0", "--for=jsonpath={.metadata.name}=web-0", "--timeout=20s")
    assert {one["detail"]["verb"] for one in kube.commands()[-3:]} & {"get", "list", "watch"}


def test_apply_of_a_kustomization_with_prune_deletes_what_is_gone(kube: Cluster, tmp_path: Path) -> None:
    one, two = (deployment(name) for name in ("kept", "dropped"))
    for made in (one, two):
        made["metadata"]["labels"]["set"] = "mine"
    for made in (one, two):
        (tmp_path / f"{made['metadata']['name']}.yaml").write_text(json.dumps(made))
    for names in (["kept.yaml", "dropped.yaml"], ["kept.yaml"]):
        (tmp_path / "kustomization.yaml").write_text(json.dumps({"resources": names}))
        kube.run(
            "apply", "-k", str(tmp_path), "--prune", "-l", "set=mine", "--prune-allowlist=apps/v1/Deployment",
            "--validate=false", "--wait=false",
        )  # fmt: skip
    assert last(kube, "delete", "deployments")["detail"]["name"] == "dropped"
    assert ("apps", "deployments", "shop", "kept") in kube.api.store.objects
    assert ("apps", "deployments", "shop", "dropped") not in kube.api.store.objects


def test_delete_says_what_becomes_of_dependents(kube: Cluster) -> None:
    kube.api.add(deployment("orphaning"))
    kube.run("delete", "deployment", "orphaning", "--cascade=orphan", "--wait=false")
    assert last(kube, "delete", "deployments")["detail"]["body"]["propagationPolicy"] == "Orphan"


def test_server_side_apply_by_force_is_a_patch_with_its_manager(kube: Cluster) -> None:
    text = json.dumps(deployment("owned"))
    kube.run("apply", "--server-side", "--force-conflicts", "--field-manager=agent", "-f", "-", input=text)
    command = last(kube, "patch", "deployments")
    assert command["detail"]["field_manager"] == "agent"
    assert command["action"] == "write"


def test_approving_a_certificate_is_an_admins_business(kube: Cluster) -> None:
    request = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "csr"}}
    kube.api.add({**request, "spec": {"request": "", "signerName": "kubernetes.io/kube-apiserver-client"}})
    done = kube.kubectl("certificate", "approve", "csr")
    assert done.returncode == 1
    assert "onrecord:admin" in done.stderr
    assert last(kube, "update", "certificatesigningrequests", "approval")["action"] == "admin"


def test_events_are_a_list(kube: Cluster) -> None:
    kube.kubectl("events")
    assert last(kube, "list", "events")["action"] == "read"


def test_drain_cordons_the_node_and_evicts_its_pods(kube: Cluster) -> None:
    labels = {"app": "drained"}
    metadata = {"name": "drained", "namespace": "shop", "labels": labels}
    kube.api.add({**POD, "metadata": metadata, "spec": {**POD["spec"], "nodeName": "n1"}})  # type: ignore[dict-item]
    kube.run("drain", "n1", "--force", "--pod-selector=app=drained", "--grace-period=0", "--timeout=30s")
    assert last(kube, "patch", "nodes")["action"] == "write"
    command = last(kube, "create", "pods", "eviction")
    assert (command["detail"]["name"], command["action"]) == ("drained", "write")
    kube.run("uncordon", "n1")
