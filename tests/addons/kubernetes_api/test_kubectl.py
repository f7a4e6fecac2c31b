"""The real kubectl through the gateway: what it prints, what the API server saw, what stands on record."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.addons.kubernetes_api.cluster import TOKEN, Cluster, cluster

POLICY = """
from onrecord.policies import Deny


class Rules:
    def kubernetes(self, command):
        if command.verb == "delete" and command.resource == "deployments":
            return Deny("deployments are not deleted by agents", hint="scale it down")
        return None


addons = [Rules()]
"""
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1", "env": [{"name": "MODE", "value": "live"}]}]},
        },
    },
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("kubectl"), policies=[POLICY], resource={"impersonate": True}) as parts:
        yield parts


def test_get_prints_the_table_and_is_a_list_on_record(shared: Cluster) -> None:
    shared.api.add({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "shop"}})
    assert "web-0" in shared.run("get", "pods")
    command = shared.commands()[-1]
    assert command["text"] == "kubectl get pods -n shop"
    assert (command["detail"]["verb"], command["detail"]["resource"], command["detail"]["namespace"]) == (
        "list",
        "pods",
        "shop",
    )
    assert command["action"] == "read"


def test_the_cluster_sees_the_gateways_token_and_the_agents_name(shared: Cluster) -> None:
    shared.run("get", "pods")
    entry = shared.api.audit[-1]
    headers = dict(entry.headers)
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert (entry.user, entry.groups) == ("onrecord:agent-7", ("onrecord:agents",))
    assert {name for name, _ in entry.extra} >= {"onrecord-run", "onrecord-session"}
    assert "agents-own-token" not in json.dumps(entry.headers)
    assert TOKEN not in json.dumps(shared.commands())


def test_apply_create_patch_scale_and_delete(shared: Cluster) -> None:
    text = json.dumps(DEPLOYMENT)
    assert "created" in shared.run("apply", "-f", "-", input=text)
    assert "unchanged" in shared.run("apply", "-f", "-", input=text)
    assert "serverside-applied" in shared.run("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)
    assert "patched" in shared.run("patch", "deployment", "web", "-p", '{"spec":{"replicas":3}}')
    assert "scaled" in shared.run("scale", "deployment/web", "--replicas=4")
    assert shared.api.store.get(("apps", "deployments", "shop", "web"))["spec"]["replicas"] == 4
    denied = shared.kubectl("delete", "deployment", "web")
    assert denied.returncode == 1
    assert "Error from server (Forbidden)" in denied.stderr
    assert "deployments are not deleted by agents (scale it down) [record " in denied.stderr
    assert ("apps", "deployments", "shop", "web") in shared.api.store.objects
    shared.check_oracle()
