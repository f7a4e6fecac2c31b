"""The kubeconfig that `onrecord env` writes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from onrecord.policies.config import load_config
from onrecord.recordings.frames import Kind
from onrecord.scripts.agent_kube import kube_environment
from tests.addons.kubernetes_api.cluster import KUBECTL, OLD, TOKEN, cluster
from tests.helpers import make_config

RESOURCE = {"type": "kubernetes", "hosts": ["prod.k8s.internal"], "groups": ["agents"]}


def test_it_names_each_cluster_and_holds_no_secret(tmp_path: Path) -> None:
    other = {**RESOURCE, "hosts": ["*.k8s.example.com", "rancher.internal"], "prefix": "/k8s/clusters/c-abc"}
    setup = make_config(tmp_path, resources={"prod": RESOURCE, "other": other})
    setup.state.mkdir(exist_ok=True)
    config = load_config(setup.path)
    variables = kube_environment(config, tmp_path / "ca.pem", "http://127.0.0.1:8080", "agents-token")
    document = json.loads(Path(variables["KUBECONFIG"]).read_text())
    assert [one["cluster"]["server"] for one in document["clusters"]] == [
        "https://prod.k8s.internal",
        "https://rancher.internal/k8s/clusters/c-abc",
    ]
    assert document["current-context"] == "prod"
    assert {one["name"] for one in document["contexts"]} == {"prod", "other"}
    assert {one["cluster"]["proxy-url"] for one in document["clusters"]} == {"http://127.0.0.1:8080"}
    written = "".join(path.read_text() for path in (setup.state / "kube").iterdir())
    assert "agents-token" not in written
    assert variables["ONRECORD_KUBE_TOKEN"] == "agents-token"


def without_proxies(variables: dict[str, str]) -> dict[str, str]:
    """The way must lead over the kubeconfig alone."""
    return {name: value for name, value in variables.items() if "proxy" not in name.lower()}


def test_a_token_that_is_renewed_in_its_file_is_taken_from_there(tmp_path: Path) -> None:
    setup = make_config(tmp_path, resources={"prod": RESOURCE})
    setup.state.mkdir(exist_ok=True)
    kube_environment(load_config(setup.path), tmp_path / "ca.pem", "http://127.0.0.1:8080", "old")
    token = tmp_path / "token"
    plugin = str(setup.state / "kube" / "credential")
    for text, status in (("first.token-1", 0), ("second.token_2", 0), ('bad"token', 1), ("", 1)):
        token.write_text(text + "\n")
        done = subprocess.run([plugin], capture_output=True, text=True, env={"ONRECORD_TOKEN_FILE": str(token)})
        assert done.returncode == status
        assert bool(done.stdout) is not bool(status)
        if not status:
            assert json.loads(done.stdout)["status"]["token"] == text


def test_without_a_cluster_there_is_none(tmp_path: Path) -> None:
    setup = make_config(tmp_path, resources={"api": {"type": "http", "hosts": ["a.internal"], "groups": ["a"]}})
    assert kube_environment(load_config(setup.path), tmp_path / "ca.pem", "http://127.0.0.1:8080", "t") == {}


@pytest.mark.parametrize("program", [KUBECTL, OLD])
def test_kubectl_works_with_what_env_prints(tmp_path: Path, program: str) -> None:
    from onrecord.scripts.environment import agent_environment

    with cluster(tmp_path) as parts:
        parts.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "namespace": "shop"}})
        config = load_config(parts.gateway.setup.path)
        variables = agent_environment(config, parts.gateway.token)
        parts.program = program
        assert "seen" in parts.run("get", "configmaps", "-n", "shop", env=without_proxies(variables))
        assert parts.gateway.records(Kind.SESSION)[-1].payload["identity"]["subject"] == "agent-7"
        assert dict(parts.api.audit[-1].headers)["authorization"] == f"Bearer {TOKEN}"
        assert parts.gateway.token not in Path(variables["KUBECONFIG"]).read_text()


@pytest.mark.parametrize("hosts", [["*.k8s.example.com"]])
def test_a_cluster_of_wildcards_only_is_left_out(tmp_path: Path, hosts: list[str]) -> None:
    setup = make_config(tmp_path, resources={"prod": {**RESOURCE, "hosts": hosts}})
    assert kube_environment(load_config(setup.path), tmp_path / "ca.pem", "http://127.0.0.1:8080", "t") == {}
