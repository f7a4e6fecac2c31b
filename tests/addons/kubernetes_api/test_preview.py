"""What a held write would change, asked of the API server without changing anything."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from onrecord.addons.kubernetes_api.credentials import ClusterCredential
from onrecord.addons.kubernetes_api.preview import Previews
from onrecord.policies.approvals import Preview
from onrecord.policies.config import KubernetesResource, load_config
from onrecord.policies.model import KubeCommand
from onrecord.policies.secrets import Secrets
from onrecord.policies.testing import kubernetes
from onrecord.scripts.parts.kube_api import KubeApi
from tests.addons.kubernetes_api.cluster import HOST, TOKEN, kube_resource
from tests.helpers import make_config

WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {"replicas": 2},
}


def preview(tmp_path: Any, api: KubeApi, command: KubeCommand, **resource: Any) -> Preview:
    setup = make_config(tmp_path, resources={"prod": kube_resource(api, **resource)}, env={"CLUSTER_TOKEN": TOKEN})
    config = load_config(setup.path).resources["prod"]
    assert isinstance(config, KubernetesResource)
    secrets = Secrets(env={"CLUSTER_TOKEN": TOKEN})
    return asyncio.run(Previews(config, ClusterCredential(config, secrets), secrets, HOST).of(command))


def command(verb: str, path: str, method: str, **more: Any) -> KubeCommand:
    found = kubernetes(verb, more.pop("resource", "deployments"), namespace="shop", **more)
    return msgspec.structs.replace(found, path=path, method=method)


def test_a_patch_is_shown_as_the_difference_that_it_makes(tmp_path: Any) -> None:
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        api.add(WEB)
        path = "/apis/apps/v1/namespaces/shop/deployments/web"
        body = {"spec": {"replicas": 0}}
        found = preview(
            tmp_path,
            api,
            command("patch", path, "PATCH", group="apps", name="web", body=body, patch_type="merge"),
            impersonate=True,
        )
        assert found.kind == "diff"
        assert "-  replicas: 2" in found.text
        assert "+  replicas: 0" in found.text
        assert api.store.get(("apps", "deployments", "shop", "web"))["spec"]["replicas"] == 2
        assert {entry.user for entry in api.audit} == {"onrecord:agent"}
        assert all(entry.id.startswith("preview-") for entry in api.audit)


def test_a_delete_shows_what_would_go_and_a_create_what_would_come(tmp_path: Any) -> None:
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        api.add(WEB)
        path = "/apis/apps/v1/namespaces/shop/deployments"
        gone = preview(tmp_path, api, command("delete", path + "/web", "DELETE", group="apps", name="web"))
        assert "-  replicas: 2" in gone.text
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s"},
            "stringData": {"p": "hunter2-secret"},
        }
        path = "/api/v1/namespaces/shop/secrets"
        made = preview(tmp_path, api, command("create", path, "POST", resource="secrets", name="s", body=secret))
        assert "+kind: Secret" in made.text
        assert "hunter2" not in made.text
        assert "aHVudGVyMi1" not in made.text
        assert ("", "secrets", "shop", "s") not in api.store.objects


def test_what_cannot_be_told_has_a_reason(tmp_path: Any) -> None:
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        path = "/apis/apps/v1/namespaces/shop/deployments/absent"
        body = {"spec": {"replicas": 0}}
        absent = command("patch", path, "PATCH", group="apps", name="absent", body=body, patch_type="merge")
        found = preview(tmp_path, api, absent)
        assert found.kind == "none"
        assert "404" in found.reason
        for other in (kubernetes("list", "pods"), kubernetes("create", "pods/eviction", name="x")):
            assert preview(tmp_path, api, other).kind == "none"
        api.tokens.clear()
        api.tokens.add("another")
        assert "401" in preview(tmp_path, api, absent).reason


@pytest.mark.parametrize(
    ("answer", "is_asked"),
    [
        ((200, {"kind": "APIService", "spec": {"service": None}}), True),
        ((200, {"kind": "APIService", "spec": {"service": {"name": "elsewhere"}}}), False),
        ((403, {"kind": "Status"}), False),
    ],
)
def test_a_server_behind_the_api_is_not_asked_for_a_dry_run(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, Any], is_asked: bool
) -> None:
    asked: list[str] = []

    async def ask(_self: Any, _client: Any, _command: Any, method: str, body: Any = None, path: str = "") -> Any:
        asked.append(f"{method} {path}".strip())
        return answer if path else (201, body)

    monkeypatch.setattr(Previews, "_ask", ask)
    path = "/apis/shop.example.com/v1/namespaces/shop/orders"
    create = command("create", path, "POST", group="shop.example.com", resource="orders", body={"metadata": {}})
    create = msgspec.structs.replace(create, version="v1")
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        found = preview(tmp_path, api, create)
    assert asked[0] == "GET /apis/apiregistration.k8s.io/v1/apiservices/v1.shop.example.com"
    assert (asked[1:], found.kind) == ((["POST"], "diff") if is_asked else ([], "none"))
