"""What is asked of the API server: JSON, whatever the agent would take."""

from __future__ import annotations

import pytest

from onrecord.addons.kubernetes_api.accept import narrowed
from onrecord.addons.kubernetes_api.request import read_request

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
OPENAPI = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/api/v1/pods", "", "application/json"),
        ("/api/v1/pods", "*/*", "application/json"),
        ("/api/v1/pods", "application/vnd.kubernetes.protobuf", "application/json"),
        ("/api/v1/pods", "application/vnd.kubernetes.protobuf,application/json", "application/json"),
        ("/api/v1/pods", "application/cbor;q=0.9, application/yaml", "application/json"),
        ("/api/v1/pods", f"{TABLE},application/json", f"{TABLE},application/json"),
        ("/api/v1/pods", f"{TABLE.replace('json', 'cbor', 1)}", "application/json"),
        ("/api/v1/pods", TABLE, f"{TABLE},application/json"),
        ("/api/v1/pods", "application/json;stream=watch", "application/json"),
        ("/openapi/v2", OPENAPI, f"{OPENAPI},application/json"),
        ("/api/v1/pods", OPENAPI, "application/json"),
        ("/api/v1/namespaces/a/pods/b/log", "application/json, */*", "application/json,*/*;q=0.1"),
        ("/api/v1/namespaces/a/pods/b/log", "", "*/*"),
        ("/version", "application/vnd.kubernetes.protobuf", "*/*"),
        ("/api/v1/nodes/a/proxy/metrics", "text/html", "text/html"),
    ],
)
def test_only_what_can_be_read_is_asked_for(path: str, accept: str, expected: str) -> None:
    assert narrowed(read_request("GET", path), accept) == expected
