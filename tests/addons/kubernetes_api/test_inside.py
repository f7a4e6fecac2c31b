"""Who asks, said inside of the tunnel: the proxy's URL holds no credential, the Bearer token is the agent's own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.kubernetes_api.cluster import HOST, TOKEN, Cluster, cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("inside"), resource={"impersonate": True}) as parts:
        parts.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "namespace": "shop"}})
        yield parts


def curl(parts: Cluster, *arguments: str, token: str = "") -> tuple[int, str]:
    import subprocess

    proxy = f"http://127.0.0.1:{parts.gateway.setup.http_port}"
    login = ["-H", f"Authorization: Bearer {token}"] if token else []
    done = subprocess.run(
        ["curl", "-sS", "-m", "20", "-x", proxy, "--cacert", str(parts.gateway.ca), "-o", "-", "-w", "\n%{http_code}",
         *login, *arguments],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    body, _, code = done.stdout.rpartition("\n")
    return int(code or 0), body


def test_kubectl_says_who_it_is_with_its_own_token(shared: Cluster) -> None:
    path = str(shared.kubeconfig(inside=True))
    assert "seen" in shared.run("--kubeconfig", path, "get", "configmaps")
    assert shared.api.audit[-1].user == "onrecord:agent-7"
    assert dict(shared.api.audit[-1].headers)["authorization"] == f"Bearer {TOKEN}"
    assert shared.gateway.records(Kind.SESSION)[-1].payload["identity"]["subject"] == "agent-7"
    sent = json.dumps([entry.headers for entry in shared.api.audit])
    assert shared.gateway.token not in sent


def test_without_a_token_or_with_a_bad_one_nothing_passes(shared: Cluster) -> None:
    before = len(shared.api.audit)
    for token in ("", "not.a.token", TOKEN):
        code, body = curl(shared, f"https://{HOST}/api/v1/pods", token=token)
        assert code == 401
        assert json.loads(body)["reason"] == "Unauthorized"
    assert len(shared.api.audit) == before
    assert shared.gateway.refusals()[-1]["what"] == "onrecord:identity"


def test_another_groups_token_does_not_reach_the_cluster(shared: Cluster) -> None:
    before = len(shared.api.audit)
    token = shared.gateway.setup.mint("stranger", groups=["others"])
    code, body = curl(shared, f"https://{HOST}/api/v1/pods", token=token)
    assert code == 403
    assert "in no group" in body
    assert len(shared.api.audit) == before


def test_each_request_of_a_connection_is_checked_and_a_second_identity_is_refused(shared: Cluster) -> None:
    url = f"https://{HOST}/api/v1/namespaces/shop/configmaps"
    second = shared.gateway.setup.mint("agent-8")
    before = len(shared.api.audit)
    first = ["-H", f"Authorization: Bearer {shared.gateway.token}", url, "-o", "/dev/null"]
    for other in (["-H", f"Authorization: Bearer {second}"], []):
        curl(shared, "--http1.1", *first, "--next", "--http1.1", "-sS", "-o", "-", "-w", "\n%{http_code}",
             "-x", f"http://127.0.0.1:{shared.gateway.setup.http_port}", "--cacert", str(shared.gateway.ca),
             *other, url)  # fmt: skip
    assert len(shared.api.audit) == before + 2
    reasons = json.dumps(shared.gateway.refusals()[-2:])
    assert "a second identity on one connection" in reasons


def test_only_clusters_are_reached_without_a_proxy_credential(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.addons.gateway_process import gateway_process
    from tests.helpers import http_resource, make_config

    with HttpsApi("billing.internal") as api:
        setup = make_config(tmp_path_factory.mktemp("http"), resources={"billing": http_resource(api)})
        with gateway_process(setup) as gateway, gateway.open() as client:
            client.sendall(b"CONNECT billing.internal:443 HTTP/1.1\r\nHost: billing.internal:443\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 407")
