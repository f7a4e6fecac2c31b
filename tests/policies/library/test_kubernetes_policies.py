"""The library's policies for Kubernetes."""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies import Deny, Hold
from onrecord.policies.library.no_foreign_namespace_deletes import NoForeignNamespaceDeletes
from onrecord.policies.testing import answer, kubernetes

PRIVILEGED = {"spec": {"containers": [{"name": "c", "securityContext": {"privileged": True}}]}}


def said(policy: str, verb: str, resource: str, **more: Any) -> str:
    found = answer(f"library:{policy}", kubernetes(verb, resource, namespace=more.pop("namespace", "shop"), **more))
    return "nothing" if found is None else type(found).__name__.lower()


@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"])
def test_no_secrets_denies_every_verb(verb: str) -> None:
    assert said("no_secrets", verb, "secrets") == "deny"


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "login", "key": "p"}}}]}]},
        {"containers": [{"envFrom": [{"secretRef": {"name": "login"}}]}]},
        {"volumes": [{"name": "v", "secret": {"secretName": "login"}}]},
        {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "login"}}]}}]},
    ],
)
def test_no_secrets_denies_pods_that_would_show_one(spec: dict[str, Any]) -> None:
    assert said("no_secrets", "create", "pods", body={"spec": spec}) == "deny"
    template = {"spec": {"template": {"spec": spec}}}
    assert (
        said("no_secrets", "patch", "deployments", group="apps", name="x", body=template, patch_type="merge") == "deny"
    )


def test_no_secrets_denies_a_json_patch_into_a_reference() -> None:
    patch = [{"op": "add", "path": "/spec/volumes/0/secret/secretName", "value": "login"}]
    assert said("no_secrets", "patch", "pods", name="x", body=patch, patch_type="json") == "deny"


def test_no_secrets_leaves_the_rest_alone() -> None:
    assert said("no_secrets", "list", "pods") == "nothing"
    assert said("no_secrets", "create", "pods", body={"spec": {"containers": [{"name": "c"}]}}) == "nothing"
    assert said("no_secrets", "list", "secrets", group="example.com") == "nothing"


@pytest.mark.parametrize("patch_type", ["", "merge", "strategic", "apply"])
def test_no_privileged_pods_denies_them_in_writes_of_all_forms(patch_type: str) -> None:
    verb = "patch" if patch_type else "create"
    assert said("no_privileged_pods", verb, "pods", name="x", body=PRIVILEGED, patch_type=patch_type) == "deny"


def test_no_privileged_pods_denies_json_patches_that_set_or_may_set_it() -> None:
    for operation in (
        {"op": "add", "path": "/spec/hostNetwork", "value": True},
        {"op": "copy", "from": "/spec/a", "path": "/spec/b"},
        {"op": "burn", "path": "/x"},
    ):
        assert said("no_privileged_pods", "patch", "pods", name="x", body=[operation], patch_type="json") == "deny"


def test_no_privileged_pods_leaves_plain_pods_and_reads_alone() -> None:
    assert said("no_privileged_pods", "create", "pods", body={"spec": {"containers": [{"name": "c"}]}}) == "nothing"
    assert said("no_privileged_pods", "list", "pods") == "nothing"


def test_deletes_pass_in_ones_own_namespaces_only() -> None:
    policy = NoForeignNamespaceDeletes(["agent-*"])
    for verb in ("delete", "deletecollection"):
        assert policy.kubernetes(kubernetes(verb, "pods", namespace="agent-7")) is None
        assert isinstance(policy.kubernetes(kubernetes(verb, "pods", namespace="shop")), Deny)
        assert isinstance(policy.kubernetes(kubernetes(verb, "nodes", name="n1")), Deny)
        assert isinstance(policy.kubernetes(kubernetes(verb, "namespaces", namespace="agent-7", name="agent-7")), Deny)
    assert isinstance(policy.kubernetes(kubernetes("create", "pods/eviction", namespace="shop", name="x")), Deny)
    assert policy.kubernetes(kubernetes("create", "pods", namespace="shop")) is None


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"ownerReferences": [{"uid": "gone"}]}},
        [{"op": "add", "path": "/metadata/ownerReferences", "value": [{"uid": "gone"}]}],
        [{"op": "copy", "from": "/x", "path": "/metadata/ownerReferences/-"}],
        [{"op": "replace", "path": "/metadata", "value": {"ownerReferences": [{"uid": "gone"}]}}],
        [{"op": "replace", "path": "", "value": {"metadata": {"ownerReferences": [{"uid": "gone"}]}}}],
    ],
)
def test_an_owner_that_is_gone_is_a_delete_too(body: Any) -> None:
    policy = NoForeignNamespaceDeletes(["agent-*"])
    assert isinstance(policy.kubernetes(kubernetes("patch", "deployments", namespace="shop", body=body)), Deny)
    assert policy.kubernetes(kubernetes("patch", "deployments", namespace="agent-7", body=body)) is None
    plain = {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"metadata": {}}}}
    assert policy.kubernetes(kubernetes("patch", "deployments", namespace="shop", body=plain)) is None


def test_the_shipped_list_of_own_namespaces_denies_all_deletes() -> None:
    assert said("no_foreign_namespace_deletes", "delete", "pods", namespace="shop", name="x") == "deny"


@pytest.mark.parametrize("inner", ["exec", "attach", "portforward", "proxy", "ephemeralcontainers"])
@pytest.mark.parametrize("namespace", ["prod", "prod-eu", "shop-production", "kube-system"])
def test_nothing_reaches_into_a_pod_in_production(inner: str, namespace: str) -> None:
    assert said("no_exec_in_production", "create", f"pods/{inner}", namespace=namespace, name="x") == "deny"


def test_exec_elsewhere_and_logs_everywhere_are_left_alone() -> None:
    assert said("no_exec_in_production", "create", "pods/exec", namespace="staging", name="x") == "nothing"
    assert said("no_exec_in_production", "get", "pods/log", namespace="prod", name="x") == "nothing"
    assert said("no_exec_in_production", "get", "nodes/proxy", namespace="", name="n1") == "deny"


@pytest.mark.parametrize(
    ("resource", "body", "patch_type"),
    [
        ("deployments/scale", {"spec": {"replicas": 0}}, "merge"),
        ("deployments", {"spec": {"replicas": 0}}, "strategic"),
        ("statefulsets", {"spec": {"replicas": 0}}, "apply"),
        ("deployments", [{"op": "replace", "path": "/spec/replicas", "value": 0}], "json"),
    ],
)
def test_scaling_to_zero_waits_for_a_human(resource: str, body: Any, patch_type: str) -> None:
    command = kubernetes(
        "patch", resource, group="apps", namespace="shop", name="web", body=body, patch_type=patch_type
    )
    found = answer("library:hold_scale_to_zero", command)
    assert isinstance(found, Hold)
    assert "web in shop to zero" in found.reason


def test_other_scales_and_dry_runs_do_not_wait() -> None:
    body = {"spec": {"replicas": 2}}
    assert (
        said("hold_scale_to_zero", "patch", "deployments/scale", name="x", body=body, patch_type="merge") == "nothing"
    )
    zero = {"spec": {"replicas": 0}}
    dry = kubernetes("update", "deployments/scale", name="x", body=zero, dry_run=True)
    assert answer("library:hold_scale_to_zero", dry) is None
