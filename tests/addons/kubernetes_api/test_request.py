"""Paths and queries as the API server's RequestInfo reads them; what it might read otherwise is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.request import KubeRequestError, read_request

# method, target, (verb, group, version, namespace, resource, subresource, name)
READ = [
    ("GET", "/api/v1/namespaces", ("list", "", "v1", "", "namespaces", "", "")),
    ("GET", "/api/v1/namespaces/shop", ("get", "", "v1", "shop", "namespaces", "", "shop")),
    ("PUT", "/api/v1/namespaces/shop/finalize", ("update", "", "v1", "shop", "namespaces", "finalize", "shop")),
    ("PUT", "/api/v1/namespaces/shop/status", ("update", "", "v1", "shop", "namespaces", "status", "shop")),
    ("GET", "/api/v1/namespaces/shop/pods", ("list", "", "v1", "shop", "pods", "", "")),
    ("HEAD", "/api/v1/namespaces/shop/pods/web", ("get", "", "v1", "shop", "pods", "", "web")),
    ("POST", "/api/v1/namespaces/shop/pods", ("create", "", "v1", "shop", "pods", "", "")),
    ("PUT", "/api/v1/namespaces/shop/pods/web", ("update", "", "v1", "shop", "pods", "", "web")),
    ("PATCH", "/api/v1/namespaces/shop/pods/web", ("patch", "", "v1", "shop", "pods", "", "web")),
    ("DELETE", "/api/v1/namespaces/shop/pods/web", ("delete", "", "v1", "shop", "pods", "", "web")),
    ("DELETE", "/api/v1/namespaces/shop/pods", ("deletecollection", "", "v1", "shop", "pods", "", "")),
    ("GET", "/api/v1/pods?watch=true", ("watch", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/pods?watch=1&resourceVersion=5", ("watch", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/pods?watch=false", ("list", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/watch/namespaces/shop/pods", ("watch", "", "v1", "shop", "pods", "", "")),
    ("GET", "/api/v1/watch/namespaces/shop/pods/web", ("watch", "", "v1", "shop", "pods", "", "web")),
    ("GET", "/api/v1/watch/pods", ("watch", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dweb", ("list", "", "v1", "", "pods", "", "web")),
    ("GET", "/apis/apps/v1/namespaces/shop/deployments/web/scale",
     ("get", "apps", "v1", "shop", "deployments", "scale", "web")),
    ("GET", "/api/v1/namespaces/shop/pods/web/log?follow=true", ("get", "", "v1", "shop", "pods", "log", "web")),
    ("POST", "/api/v1/namespaces/shop/pods/web/exec?command=ls&command=-la&stdout=true",
     ("create", "", "v1", "shop", "pods", "exec", "web")),
    ("POST", "/api/v1/namespaces/shop/pods/web/eviction", ("create", "", "v1", "shop", "pods", "eviction", "web")),
    ("POST", "/api/v1/namespaces/shop/serviceaccounts/bot/token",
     ("create", "", "v1", "shop", "serviceaccounts", "token", "bot")),
    ("GET", "/api/v1/nodes/n1/proxy/pods/", ("get", "", "v1", "", "nodes", "proxy", "n1")),
    ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aadmin",
     ("get", "rbac.authorization.k8s.io", "v1", "", "clusterroles", "", "system:admin")),
    ("GET", "/apis/example.com/v1alpha1/namespaces/shop/widgets/a",
     ("get", "example.com", "v1alpha1", "shop", "widgets", "", "a")),
    ("GET", "/apis/apps/v1/watch/deployments", ("watch", "apps", "v1", "", "deployments", "", "")),
    ("GET", "/api/v1/namespaces/shop/namespaces", ("list", "", "v1", "shop", "namespaces", "", "")),
    ("PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval",
     ("update", "certificates.k8s.io", "v1", "", "certificatesigningrequests", "approval", "x")),
]  # fmt: skip

REFUSED = [
    ("GET", "/api/v1//pods"),
    ("GET", "//api/v1/pods"),
    ("GET", "/api/v1/pods/"),
    ("GET", "/api/v1/namespaces/shop/../kube-system/secrets"),
    ("GET", "/api/v1/./pods"),
    ("GET", "/api/v1/namespaces/shop%2Fsecrets"),
    ("GET", "/api/v1/namespaces/%2e%2e/secrets"),
    ("GET", "/api/v1/namespaces/shop/%73ecrets"),
    ("GET", "/api/v1/namespaces/shop/pods%2Fweb%2Fexec"),
    ("GET", "/api/v1/namespaces/shop/pods/web%252Fexec"),
    ("GET", "/api/v1/namespaces/shop/pods;x=1"),
    ("GET", "/api/v1/namespaces/shop/pods/a%5cb"),
    ("GET", "/api/v1/namespaces/shop/pods/a%00b"),
    ("GET", "/api/v1/namespaces/shop/pods/%zz"),
    ("GET", "/API/v1/pods"),
    ("GET", "/Apis/apps/v1/deployments"),
    ("GET", "/api/V1/pods"),
    ("GET", "/api/v1/Pods"),
    ("GET", "/api/v1/namespaces/Shop/pods"),
    ("GET", "/api/v1/namespaces/shop/pods/web/Exec"),
    ("GET", "/api/v1/namespaces/shop/SECRETS"),
    ("GET", "/apis/Apps/v1/deployments"),
    ("GET", "/api/v1/proxy/nodes/n1"),
    ("POST", "/api/v1/watch/pods"),
    ("GET", "/api/v1/watch"),
    ("GET", "/api/v1/namespaces/shop/pods/web/log/extra"),
    ("GET", "/api/v1/pods?watch=true&watch=false"),
    ("GET", "/api/v1/pods?watch=yes"),
    ("GET", "/api/v1/pods?watch="),
    ("GET", "/api/v1/pods?watch"),
    ("GET", "/api/v1/pods?Watch=true"),
    ("GET", "/api/v1/namespaces/shop/pods/web?watch=true"),
    ("DELETE", "/api/v1/namespaces/shop/pods?watch=true"),
    ("POST", "/api/v1/namespaces/shop/pods?dryRun=all"),
    ("POST", "/api/v1/namespaces/shop/pods?dryRun="),
    ("POST", "/api/v1/namespaces/shop/pods?dryRun=All&dryRun=None"),
    ("GET", "/api/v1/pods?dryRun=All"),
    ("POST", "/api/v1/namespaces/shop/pods/web/exec?command=id&dryRun=All"),
    ("POST", "/api/v1/namespaces/shop/pods/web/portforward?dryRun=All"),
    ("POST", "/api/v1/namespaces/shop/pods/web/attach?command=ls"),
    ("GET", "/api/v1/namespaces/shop/pods/web/exec?command=ls&ports=80"),
    ("GET", "/api/v1/namespaces/shop/pods?command=ls"),
    ("POST", "/api/v1/namespaces/shop/serviceaccounts/bot/token?dryRun=All"),
    ("POST", "/apis/authentication.k8s.io/v1/tokenreviews?dryRun=All"),
    ("POST", "/api/v1/namespaces/shop/pods?unheard=of"),
    ("GET", "/api/v1/pods?limit=1&limit=2"),
    ("GET", "/api/v1/pods?limit=1;watch=true"),
    ("GET", "/api/v1/pods?labelSelector=%ff"),
    ("GET", "/api/v1/pods?labelSelector=%zz"),
    ("POST", "/api/v1/namespaces/shop/pods/web"),
    ("PUT", "/api/v1/namespaces/shop/pods"),
    ("PATCH", "/api/v1/namespaces/shop/pods"),
    ("OPTIONS", "/api/v1/pods"),
    ("CONNECT", "/api/v1/pods"),
    ("get", "/api/v1/pods"),
    ("GET", "api/v1/pods"),
    ("GET", "/api/v1/namespaces/shop/pods/web\u200b"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target", "expected"), READ)
def test_a_request_is_read_as_the_api_server_reads_it(method, target, expected):
    found = read_request(method, target)
    assert (
        found.verb,
        found.group,
        found.version,
        found.namespace,
        found.resource,
        found.subresource,
        found.name,
    ) == expected


@pytest.mark.parametrize(("method", "target"), REFUSED)
def test_what_could_be_read_in_another_way_is_refused(method, target):
    with pytest.raises(KubeRequestError):
        read_request(method, target)


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "/healthz", "/livez/ping", "/readyz",
     "/openapi/v2", "/openapi/v3", "/openapi/v3/apis/apps/v1?hash=AB12", "/metrics",
     "/.well-known/openid-configuration"],
)  # fmt: skip
def test_discovery_and_health_are_known(path):
    assert read_request("GET", path).is_known_outside


@pytest.mark.parametrize("path", ["/logs", "/logs/kube-apiserver.log", "/debug/pprof/heap", "/configz", "/flagz"])
def test_what_shows_the_api_server_itself_is_marked(path):
    assert read_request("GET", path).is_of_the_server
    assert not read_request("GET", path).is_known_outside


@pytest.mark.parametrize(("method", "path"), [("GET", "/custom"), ("POST", "/healthz"), ("PUT", "/debug/flags/v")])
def test_what_is_not_known_outside_of_resources_is_not_called_so(method, path):
    assert not read_request(method, path).is_known_outside


def test_a_cluster_below_a_path_is_read_behind_it():
    prefix = "/k8s/clusters/c-abc"
    assert read_request("GET", prefix + "/api/v1/pods", prefix).resource == "pods"
    for path in ("/api/v1/pods", "/k8s/clusters/c-abcd/api/v1/pods", "/k8s/clusters/other/api/v1/pods"):
        with pytest.raises(KubeRequestError):
            read_request("GET", path, prefix)


def test_exec_keeps_every_word_of_its_command():
    target = "/api/v1/namespaces/a/pods/b/exec?command=sh&command=-c&command=rm+-rf+%2Fdata&container=main&stdin=true"
    found = read_request("POST", target)
    assert found.values("command") == ("sh", "-c", "rm -rf /data")
    assert found.value("container") == "main"
    assert found.flags == {"stdin"}


_PARTS = st.sampled_from(
    ["api", "apis", "v1", "apps", "namespaces", "shop", "pods", "secrets", "web", "exec", "proxy", "watch", "", ".",
     "..", "%2e", "%2F", "%41", ";", "log", "status", "A", "%", "\u00e9", "x" * 300]
)  # fmt: skip


@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PATCH"]),
    parts=st.lists(_PARTS, max_size=9),
    query=st.text(alphabet="watch=&%2true;1dryRunAl+", max_size=40),
)
def test_junk_raises_only_the_modules_error_and_what_is_read_names_its_path(method, parts, query):
    target = "/" + "/".join(parts) + "?" + query
    try:
        found = read_request(method, target)
    except KubeRequestError:
        return
    named = [part for part in (found.resource, found.subresource, found.name, found.namespace) if part]
    pieces = found.path.split("/")
    assert all(part in pieces or "metadata.name" in query for part in named)
    assert "%" not in found.path
    assert ".." not in pieces


@given(target=st.text(max_size=60), method=st.text(max_size=8))
def test_any_text_raises_only_the_modules_error(method, target):
    with contextlib.suppress(KubeRequestError):
        read_request(method, target)
