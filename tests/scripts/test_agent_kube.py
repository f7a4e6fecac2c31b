"""The kubeconfig that `onrecord env` writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from onrecord.policies.config import load_config
from onrecord.recordings.frames import Kind
from onrecord.scripts.agent_kube import kube_environment
from onrecord.scripts.parts.certs import Authority
from tests.addons.kubernetes_api.cluster import KUBECTL, OLD, TOKEN, cluster
from tests.helpers import free_port, make_config

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


@pytest.mark.parametrize("program", [KUBECTL, OLD])
def test_a_cluster_with_a_listener_of_its_own_is_reached_straight(tmp_path: Path, program: str) -> None:
    from onrecord.scripts.environment import agent_environment

    listen = f"127.0.0.1:{free_port()}"
    with cluster(tmp_path, resource={"listen": listen}) as parts:
        parts.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "namespace": "shop"}})
        variables = agent_environment(load_config(parts.gateway.setup.path), parts.gateway.token)
        (named,) = json.loads(Path(variables["KUBECONFIG"]).read_text())["clusters"]
        assert named["cluster"]["server"] == f"https://{listen}"
        assert "proxy-url" not in named["cluster"]
        assert variables["NO_PROXY"] == variables["no_proxy"] == listen
        parts.program = program
        for chosen in (variables, without_proxies(variables)):
            assert "seen" in parts.run("get", "configmaps", "-n", "shop", env=chosen)
        script = tmp_path / "client.py"
        script.write_text(
            "from kubernetes import client, config\n"
            "config.load_kube_config()\n"
            "print([one.metadata.name for one in client.CoreV1Api().list_namespaced_config_map('shop').items])\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(script)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**parts.environment(), **variables},
        )
        assert done.stdout == "['seen']\n", done.stderr
        assert not parts.gateway.refusals()


def test_a_listener_with_a_certificate_of_its_own_is_named_and_trusted_by_it(tmp_path: Path) -> None:
    from onrecord.scripts.environment import agent_environment

    authority = Authority(tmp_path / "authority")
    pair = authority.issue("gateway.example.com", "localhost")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(pair.cert.read_bytes() + authority.cert.read_bytes())
    port = free_port()
    tls = {"tls": {"cert": str(chain), "key": str(pair.key)}}
    with cluster(tmp_path, resource={"listen": f"localhost:{port}"}, gateway=tls) as parts:
        variables = agent_environment(load_config(parts.gateway.setup.path), parts.gateway.token)
        (named,) = json.loads(Path(variables["KUBECONFIG"]).read_text())["clusters"]
        assert named["cluster"]["server"] == f"https://localhost:{port}"
        assert "items" in parts.run("get", "configmaps", "-n", "shop", "-o", "json", env=variables)
