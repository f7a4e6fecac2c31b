"""The kubeconfig that `onrecord env` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onrecord.policies.config import load_config
from onrecord.scripts.agent_kube import kube_environment
from tests.addons.kubernetes_api.cluster import TOKEN, cluster
from tests.helpers import make_config

RESOURCE = {"type": "kubernetes", "hosts": ["prod.k8s.internal"], "groups": ["agents"]}


def test_it_names_each_cluster_and_holds_no_secret(tmp_path: Path) -> None:
    other = {**RESOURCE, "hosts": ["*.k8s.example.com", "rancher.internal"], "prefix": "/k8s/clusters/c-abc"}
    setup = make_config(tmp_path, resources={"prod": RESOURCE, "other": other})
    setup.state.mkdir(exist_ok=True)
    config = load_config(setup.path)
    variables = kube_environment(config, tmp_path / "ca.pem")
    document = json.loads(Path(variables["KUBECONFIG"]).read_text())
    assert [one["cluster"]["server"] for one in document["clusters"]] == [
        "https://prod.k8s.internal",
        "https://rancher.internal/k8s/clusters/c-abc",
    ]
    assert document["current-context"] == "prod"
    assert {one["name"] for one in document["contexts"]} == {"prod", "other"}
    assert "proxy-url" not in json.dumps(document)


def test_without_a_cluster_there_is_none(tmp_path: Path) -> None:
    setup = make_config(tmp_path, resources={"api": {"type": "http", "hosts": ["a.internal"], "groups": ["a"]}})
    assert kube_environment(load_config(setup.path), tmp_path / "ca.pem") == {}


def test_kubectl_works_with_what_env_prints(tmp_path: Path) -> None:
    from onrecord.scripts.environment import agent_environment

    with cluster(tmp_path) as parts:
        parts.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "namespace": "shop"}})
        config = load_config(parts.gateway.setup.path)
        variables = agent_environment(config, parts.gateway.token)
        assert "seen" in parts.run("get", "configmaps", "-n", "shop", env=variables)
        assert dict(parts.api.audit[-1].headers)["authorization"] == f"Bearer {TOKEN}"
        assert parts.gateway.token not in Path(variables["KUBECONFIG"]).read_text()


@pytest.mark.parametrize("hosts", [["*.k8s.example.com"]])
def test_a_cluster_of_wildcards_only_is_left_out(tmp_path: Path, hosts: list[str]) -> None:
    setup = make_config(tmp_path, resources={"prod": {**RESOURCE, "hosts": hosts}})
    assert kube_environment(load_config(setup.path), tmp_path / "ca.pem") == {}
