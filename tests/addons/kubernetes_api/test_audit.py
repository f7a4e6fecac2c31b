"""Single requests through the gateway: refusals, credentials, negotiation, masks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from onrecord.scripts.parts.kube_api import KubeApi
from tests.addons.kubernetes_api.cluster import HOST, TOKEN, Cluster, cluster
from tests.helpers import wait_until

POLICY = """
from onrecord.policies import Deny


class Rules:
    def kubernetes(self, command):
        if isinstance(command.body, dict) and command.body.get("metadata", {}).get("name") == "forbidden":
            return Deny("that name is not for agents")
        if command.impersonation:
            return Deny("agents do not act as others")
        return None


addons = [Rules()]
"""
BASE = f"https://{HOST}"
JSON = ("-H", "Content-Type: application/json")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    masks = [{"detect": ["email"]}]
    with cluster(tmp_path_factory.mktemp("audit"), policies=[POLICY], masks=masks) as parts:
        yield parts


def ask(parts: Cluster, path: str, *arguments: str) -> tuple[int, str]:
    answer = parts.gateway.curl("-o", "-", "-w", "\n%{http_code}", *arguments, BASE + path)
    body, _, code = answer.stdout.rpartition("\n")
    return int(code), body


def test_a_denied_write_is_a_status_with_policy_hint_and_record(shared: Cluster) -> None:
    before = len(shared.api.audit)
    body = json.dumps({"kind": "ConfigMap", "metadata": {"name": "forbidden"}})
    code, text = ask(shared, "/api/v1/namespaces/shop/configmaps", *JSON, "-d", body)
    status = json.loads(text)
    assert (code, status["kind"], status["reason"], status["code"]) == (403, "Status", "Forbidden", 403)
    assert "that name is not for agents" in status["message"]
    causes = {cause["reason"]: cause["message"] for cause in status["details"]["causes"]}
    assert causes["Policy"] == "policy_0"
    assert causes["Record"] in status["message"]
    assert len(shared.api.audit) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("/api/v1/namespaces/shop/../kube-system/secrets", "--path-as-is"),
        ("/api/v1//pods",),
        ("/api/v1/namespaces/shop%2Fpods",),
        ("/api/v1/pods?watch=true&watch=false",),
        ("/API/v1/pods",),
        ("/api/v1/namespaces/shop/configmaps", "-d", '{"a":1,"a":2}', *JSON),
        ("/api/v1/namespaces/shop/configmaps", "-d", "a: 1", *JSON),
        ("/api/v1/namespaces/shop/configmaps", "-d", "{}", "-H", "Content-Type: application/cbor"),
        ("/api/v1/namespaces/shop/configmaps", "-d", "{}", *JSON, "-H", "Content-Encoding: gzip"),
        ("/api/v1/namespaces/shop/configmaps/x", "-X", "PATCH", "-d", "{}", *JSON),
        ("/api/v1/pods", "-X", "OPTIONS"),
        ("/api/v1/pods", "-X", "GET", "-d", "{}", *JSON),
    ],
)
def test_what_the_api_server_might_read_otherwise_is_a_status_and_reaches_nobody(
    shared: Cluster, arguments: tuple[str, ...]
) -> None:
    before, refused = len(shared.api.audit), len(shared.gateway.refusals()) + len(shared.commands())
    code, text = ask(shared, arguments[0], *arguments[1:])
    assert code in (400, 403, 404, 405, 415)
    assert json.loads(text)["kind"] == "Status"
    assert len(shared.api.audit) == before
    assert len(shared.gateway.refusals()) + len(shared.commands()) == refused + 1


def test_a_values_copy_or_test_in_a_secret_is_refused(shared: Cluster) -> None:
    path = "/api/v1/namespaces/post/secrets/one"
    kind = ("-H", "Content-Type: application/json-patch+json")
    for operation in (
        {"op": "copy", "from": "/data/p", "path": "/metadata/labels/x"},
        {"op": "test", "path": "/data/p", "value": "aHVudGVyMg=="},
    ):
        code, text = ask(shared, path, "-X", "PATCH", "-d", json.dumps([operation]), *kind)
        assert code == 403
        assert "aHVudGVyMg==" not in json.dumps(shared.commands()[-1])
    assert "would show them" in text


def test_a_body_over_the_bound_is_unknown_and_denied(shared: Cluster) -> None:
    before = len(shared.api.audit)
    large = shared.folder / "large.json"
    large.write_text(json.dumps({"kind": "Pod", "spec": {"hostNetwork": True}, "pad": "x" * 1_200_000}))
    code, text = ask(shared, "/api/v1/namespaces/post/pods", *JSON, "-d", f"@{large}")
    assert code == 403
    assert "onrecord:" in text
    assert shared.commands()[-1]["action"] == "unknown"
    code, _ = ask(shared, "/api/v1/namespaces/post/pods", "-X", "GET", *JSON, "-d", f"@{large}")
    assert code == 400
    assert len(shared.api.audit) == before


@pytest.mark.parametrize(
    ("path", "arguments", "action"),
    [
        ("/api/v1/nodes/n1/proxy/pods", (), "admin"),
        ("/api/v1/namespaces/shop/pods/web/proxy/metrics", (), "admin"),
        ("/api/v1/namespaces/shop/services/web/proxy/", (), "admin"),
        ("/api/v1/namespaces/shop/serviceaccounts/bot/token", ("-d", "{}", *JSON), "admin"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", ("-d", "{}", *JSON), "admin"),
        ("/logs/kube-apiserver.log", (), "admin"),
        ("/custom", (), "unknown"),
        ("/apis/subresources.example.com/v1/namespaces/a/machines/b/portforward/22/tcp", (), "unknown"),
    ],
)
def test_admin_and_unknown_are_denied_unless_the_resource_allows_them(
    shared: Cluster, path: str, arguments: tuple[str, ...], action: str
) -> None:
    before = len(shared.api.audit)
    code, text = ask(shared, path, *arguments)
    assert code == 403
    assert f"onrecord:{action}" in json.loads(text)["message"]
    assert shared.commands()[-1]["action"] == action
    assert len(shared.api.audit) == before


def test_acting_as_another_is_seen_by_policies(shared: Cluster) -> None:
    code, text = ask(shared, "/api/v1/pods", "-H", "Impersonate_User: root")
    assert code == 403
    assert "act as others" in text


def test_the_answer_is_json_whatever_the_agent_asks_for(shared: Cluster) -> None:
    for accept in ("application/vnd.kubernetes.protobuf", "application/cbor", "application/yaml", "*/*"):
        code, text = ask(shared, "/api/v1/namespaces", "-H", f"Accept: {accept}", "-H", "Accept-Encoding: gzip")
        assert code == 200
        assert json.loads(text)["kind"] == "NamespaceList"
        sent = dict(shared.api.audit[-1].headers)
        assert sent["accept"] == "application/json"
        assert sent["accept-encoding"] == "identity"


def test_an_answer_of_a_type_that_was_not_asked_for_is_not_delivered(tmp_path: Path) -> None:
    class Stubborn(KubeApi):
        async def _json(self, http, writer, request, code, content):
            import h11

            from onrecord.scripts.parts.https_api import send

            headers = [("content-type", "application/vnd.kubernetes.protobuf"), ("content-length", "8")]
            data = h11.Data(data=b"k8s\x00leak")
            await send(http, writer, h11.Response(status_code=200, headers=headers), data, h11.EndOfMessage())

    with cluster(tmp_path, api=Stubborn(HOST, tokens=[TOKEN])) as parts:
        code, text = ask(parts, "/api/v1/namespaces/shop/secrets/x")
        assert code >= 500
        assert "leak" not in text


def test_masks_hold_in_objects_lists_tables_and_logs(shared: Cluster) -> None:
    shared.api.add(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "mail", "namespace": "post", "annotations": {"message": "alice@example.com"}},
            "data": {"to": "alice@example.com", "yaml": "to: alice@example.com\n"},
        }
    )
    shared.api.add({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talks", "namespace": "post"}})
    shared.api.write_log("post", "talks", "mail to alice@example.com")
    for path, accept in (
        ("/api/v1/namespaces/post/configmaps/mail", "application/json"),
        ("/api/v1/namespaces/post/configmaps", "application/json"),
        ("/api/v1/namespaces/post/configmaps", "application/json;as=Table;v=v1;g=meta.k8s.io"),
        ("/api/v1/namespaces/post/pods/talks/log", "*/*"),
    ):
        code, text = ask(shared, path, "-H", f"Accept: {accept}")
        assert code == 200
        assert "alice" not in text
        assert "[redacted]" in text
    assert "alice@example.com" not in json.dumps([record.payload for record in shared.gateway.records()])


def test_a_masked_object_is_not_written_back(shared: Cluster) -> None:
    shared.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "back", "namespace": "post"},
                    "data": {"to": "bob@example.com"}})  # fmt: skip
    _, text = ask(shared, "/api/v1/namespaces/post/configmaps/back")
    code, refusal = ask(shared, "/api/v1/namespaces/post/configmaps/back", "-X", "PUT", "-d", text, *JSON)
    assert code == 403
    assert "masked values" in refusal
    assert shared.api.store.get(("", "configmaps", "post", "back"))["data"]["to"] == "bob@example.com"


def test_a_token_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first-cluster-token-1\n")
    path.chmod(0o600)
    api = KubeApi(HOST, tokens=["first-cluster-token-1", "second-cluster-token-2"])
    with cluster(tmp_path, resource={"token": f"file:{path}"}, api=api) as parts:
        assert ask(parts, "/version")[0] == 200
        assert dict(api.audit[-1].headers)["authorization"] == "Bearer first-cluster-token-1"
        fresh = tmp_path / "fresh"
        fresh.write_text("second-cluster-token-2\n")
        fresh.chmod(0o600)
        fresh.replace(path)

        def is_second() -> bool:
            ask(parts, "/version")
            return dict(api.audit[-1].headers)["authorization"] == "Bearer second-cluster-token-2"

        wait_until(is_second, what="the second token")


def test_a_credential_plugin_gives_the_token_and_is_asked_again_when_it_expires(tmp_path: Path) -> None:
    program = tmp_path / "plugin"
    count = tmp_path / "count"
    credential = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"%s}}'
    past = ',"expirationTimestamp":"2020-01-01T00:00:00Z"'
    program.write_text(
        f"#!/bin/sh\necho x >> {count}\n[ \"$REGION\" = eu ] || exit 1\nprintf '%s' '{credential % (TOKEN, past)}'\n"
    )
    program.chmod(0o700)
    resource = {"exec": [str(program)], "exec_env": {"REGION": "eu"}}
    with _with_plugin(tmp_path, resource) as parts:
        for _ in range(2):
            assert ask(parts, "/version")[0] == 200
        assert dict(parts.api.audit[-1].headers)["authorization"] == f"Bearer {TOKEN}"
        assert len(count.read_text().split()) == 2


def _with_plugin(tmp_path: Path, resource: Mapping[str, Any]) -> contextlib.AbstractContextManager[Cluster]:

    from tests.addons.gateway_process import gateway_process
    from tests.addons.kubernetes_api.cluster import kube_resource
    from tests.helpers import make_config

    @contextlib.contextmanager
    def running() -> Iterator[Cluster]:
        with KubeApi(HOST, tokens=[TOKEN]) as api:
            table = kube_resource(api, **resource)
            del table["token"]
            setup = make_config(tmp_path, resources={"prod": table}, gateway={"postgres": None})
            with gateway_process(setup) as gateway:
                yield Cluster(gateway, api, tmp_path)

    return running()


def test_a_plugin_that_fails_lets_nothing_through(tmp_path: Path) -> None:
    program = tmp_path / "plugin"
    program.write_text("#!/bin/sh\necho secret-on-stderr >&2\nexit 3\n")
    program.chmod(0o700)
    with _with_plugin(tmp_path, {"exec": [str(program)]}) as parts:
        code, text = ask(parts, "/version")
        assert code == 502
        assert json.loads(text)["kind"] == "Status"
        assert parts.api.audit == []
        assert "secret-on-stderr" not in parts.gateway.output()


def test_a_cluster_below_a_path_is_reached_below_it_and_nowhere_else(tmp_path: Path) -> None:
    prefix = "/k8s/clusters/c-abc"
    api = KubeApi(HOST, tokens=[TOKEN], prefix=prefix)
    with cluster(tmp_path, resource={"prefix": prefix}, api=api) as parts:
        assert ask(parts, prefix + "/api/v1/namespaces")[0] == 200
        assert api.audit[-1].uri == prefix + "/api/v1/namespaces"
        assert ask(parts, "/api/v1/namespaces")[0] == 404
        assert ask(parts, "/k8s/clusters/c-other/api/v1/namespaces")[0] == 404
        assert len(api.audit) == 1


def test_a_dry_run_of_a_delete_is_what_its_body_says(shared: Cluster) -> None:
    path = "/api/v1/namespaces/post/configmaps/none"
    before = len(shared.api.audit)
    code, text = ask(shared, path + "?dryRun=All", "-X", "DELETE", "-d", "{}", *JSON)
    assert (code, "does not read it" in text) == (400, True)
    assert len(shared.api.audit) == before
    for query, body, dry in (("?dryRun=All", None, True), ("", {"dryRun": ["All"]}, True), ("", {}, False)):
        data = () if body is None else ("-d", json.dumps(body), *JSON)
        ask(shared, path + query, "-X", "DELETE", *data)
        command = shared.commands()[-1]
        assert command["detail"]["dry_run"] is dry
        assert command["text"].endswith("--dry-run=server") is dry


def test_a_variables_value_is_not_shown_by_another_name(shared: Cluster) -> None:
    path = "/apis/apps/v1/namespaces/post/deployments/web"
    kind = ("-H", "Content-Type: application/json-patch+json")
    at = "/spec/template/spec/containers/0/env/0"
    before = len(shared.api.audit)
    for operation in (
        {"op": "replace", "path": f"{at}/name", "value": "HARMLESS"},
        {"op": "copy", "from": "/spec/template/spec/containers/0/image", "path": f"{at}/name"},
        {"op": "copy", "from": f"{at}/value", "path": "/metadata/annotations/x"},
        {"op": "test", "path": f"{at}/value", "value": "guess"},
        {"op": "test", "path": at, "value": {"name": "DB_PASSWORD", "value": "guess"}},
    ):
        code, text = ask(shared, path, "-X", "PATCH", "-d", json.dumps([operation]), *kind)
        assert code == 403
        assert ("would show it" in text) is (operation["op"] != "copy")  # which is admin as well
    assert len(shared.api.audit) == before
    operations: list[dict[str, Any]] = [
        {"op": "replace", "path": "/spec/template/spec/containers/0/name", "value": "web"},
        {"op": "add", "path": f"{at[:-1]}-", "value": {"name": "DB_PASSWORD", "value": "own"}},
        {"op": "test", "path": "/metadata/name", "value": "web"},
    ]
    for operation in operations:
        ask(shared, path, "-X", "PATCH", "-d", json.dumps([operation]), *kind)
    assert len(shared.api.audit) == before + len(operations)


def test_a_patch_that_fails_is_not_answered_with_the_live_object(shared: Cluster) -> None:
    container = {"name": "w", "env": [{"name": "DB_PASSWORD", "value": "hunter2-of-env"}]}
    shared.api.add({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "quoted", "namespace": "post"},
                    "data": {"p": "aHVudGVyMi12ZXJ5"}})  # fmt: skip
    shared.api.add({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "quoted", "namespace": "post"},
                    "spec": {"containers": [container]}})  # fmt: skip
    kind = ("-H", "Content-Type: application/merge-patch+json")
    for resource in ("secrets", "pods"):
        patch = json.dumps({"metadata": {"labels": 5}})
        code, text = ask(shared, f"/api/v1/namespaces/post/{resource}/quoted", "-X", "PATCH", "-d", patch, *kind)
        assert code == 422
        assert json.loads(text)["message"].endswith("Invalid value: [redacted]")
    kept = json.dumps([record.payload for record in shared.gateway.records()])
    assert "aHVudGVyMi12ZXJ5" not in kept
    assert "hunter2-of-env" not in kept


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        ("secrets", {"type": {}}),
        ("secrets", {"metadata": {"labels": {"a": {}}}, "data": {"p": "aHVudGVyMg=="}}),
        ("configmaps", {"items": [{"kind": "ConfigMap", "metadata": {"name": {}}}]}),
        ("configmaps", {"items": [{"kind": "Secret", "type": {}}]}),
    ],
)
def test_values_of_a_kind_that_nobody_expects_are_decided_on(shared: Cluster, resource: str, body: Any) -> None:
    before = len(shared.commands())
    code, text = ask(shared, f"/api/v1/namespaces/post/{resource}", *JSON, "-d", json.dumps(body))
    assert code != 503, text
    assert len(shared.commands()) == before + 1


def test_shown_secrets_are_delivered_and_never_on_record(tmp_path: Path) -> None:
    with cluster(tmp_path, resource={"secrets": "show"}) as parts:
        parts.api.add({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"},
                       "data": {"p": "aHVudGVyMi12ZXJ5LXNlY3JldA=="}})  # fmt: skip
        code, text = ask(parts, "/api/v1/namespaces/shop/secrets/s")
        assert (code, json.loads(text)["data"]["p"]) == (200, "aHVudGVyMi12ZXJ5LXNlY3JldA==")
        outcome = wait_until(lambda: parts.gateway.outcome("kubectl get secrets/s -n shop"), what="the outcome")
        assert outcome["digest"]
        assert "aHVudGVyMi12" not in json.dumps([record.payload for record in parts.gateway.records()])


def test_the_gateways_token_never_comes_back(shared: Cluster) -> None:
    shared.api.write_log("post", "talks", f"Authorization: Bearer {TOKEN}")
    shared.api.store.objects.setdefault(("", "pods", "post", "talks"), {"metadata": {"name": "talks"}})
    _, text = ask(shared, "/api/v1/namespaces/post/pods/talks/log")
    assert "Authorization: Bearer" in text
    assert TOKEN not in text
