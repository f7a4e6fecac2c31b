"""The kubectl line of a request, and the Status of a refusal."""

from __future__ import annotations

import json

import pytest

from onrecord.addons.kubernetes_api.request import read_request
from onrecord.addons.kubernetes_api.status import status
from onrecord.addons.kubernetes_api.text import kubectl_line


@pytest.mark.parametrize(
    ("method", "target", "more", "expected"),
    [
        ("GET", "/api/v1/pods", {}, "kubectl get pods"),
        ("GET", "/api/v1/namespaces/shop/pods/web", {}, "kubectl get pods/web -n shop"),
        ("GET", "/api/v1/namespaces/shop/pods?labelSelector=app%3Dweb&watch=1", {},
         "kubectl get pods -n shop --watch -l app=web"),
        ("GET", "/api/v1/namespaces/shop/pods/web/log?follow=true&container=main", {},
         "kubectl logs web -n shop -c main --follow"),
        ("POST", "/apis/apps/v1/namespaces/shop/deployments", {"name": "web"},
         "kubectl create deployments/web -n shop"),
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web/scale", {"patch_type": "merge"},
         "kubectl patch deployments/web -n shop --subresource=scale --type=merge"),
        ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/web?dryRun=All", {"patch_type": "apply"},
         "kubectl apply --server-side deployments/web -n shop --dry-run=server"),
        ("DELETE", "/api/v1/namespaces/shop/pods", {}, "kubectl delete pods --all -n shop"),
        ("DELETE", "/api/v1/namespaces/shop", {}, "kubectl delete namespaces/shop"),
        ("GET", "/apis/example.com/v1/widgets", {}, "kubectl get widgets.example.com"),
        ("GET", "/version", {}, "kubectl get --raw /version"),
        ("POST", "/api/v1/namespaces/shop/pods/web/exec", {"argv": ("sh", "-c", "rm -rf /x")},
         "kubectl exec web -n shop -- sh -c 'rm -rf /x'"),
    ],
)  # fmt: skip
def test_a_request_reads_as_its_kubectl_line(method: str, target: str, more: dict[str, str], expected: str) -> None:
    assert kubectl_line(read_request(method, target), **more) == expected  # type: ignore[arg-type]


def test_a_status_says_who_refused_why_and_what_to_do() -> None:
    response = status(403, policy="guard", reason="no", hint="ask", record="01a2")
    document = json.loads(response.content or b"")
    assert (document["kind"], document["status"], document["reason"], document["code"]) == (
        "Status",
        "Failure",
        "Forbidden",
        403,
    )
    assert document["message"] == "guard: no (ask) [record 01a2]"
    assert {cause["reason"] for cause in document["details"]["causes"]} == {"Policy", "Hint", "Record"}
    assert response.headers["content-length"] == str(len(response.content or b""))
    assert status(403, policy="guard", reason="no", head=True).content == b""
