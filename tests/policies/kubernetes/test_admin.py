"""Which requests are admin, whatever kind carries the pod and whatever patch sets the field."""

from __future__ import annotations

import pytest

from onrecord.policies.kubernetes import admin_reasons, pod_dangers

SPEC = {"containers": [{"name": "c", "image": "i"}]}
DANGEROUS = [
    {"containers": [{"securityContext": {"privileged": True}}]},
    {"initContainers": [{"securityContext": {"privileged": True}}]},
    {"ephemeralContainers": [{"securityContext": {"privileged": True}}]},
    {"hostNetwork": True},
    {"hostPID": True},
    {"hostIPC": True},
    {"volumes": [{"name": "v", "hostPath": {"path": "/var/run/docker.sock"}}]},
    {"containers": [{"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
    {"containers": [{"securityContext": {"capabilities": {"add": ["ALL"]}}}]},
    {"containers": [{"securityContext": {"capabilities": {"add": ["CAP_NET_RAW"]}}}]},
    {"containers": [{"securityContext": {"procMount": "Unmasked"}}]},
    {"containers": [{"securityContext": {"seccompProfile": {"type": "Unconfined"}}}]},
    {"containers": [{"ports": [{"hostPort": 80}]}]},
    {"securityContext": {"windowsOptions": {"hostProcess": True}}},
    {"securityContext": {"seLinuxOptions": {"type": "spc_t"}}},
    {"securityContext": {"seLinuxOptions": {"user": "unconfined_u"}}},
    {"ho\u017ftNetwork": True},
    {"securityContext": {"sysctls": [{"name": "kernel.core_pattern", "value": "|/x"}]}},
]
WRAPPED = {
    "pods": lambda spec: {"spec": spec},
    "deployments": lambda spec: {"spec": {"template": {"spec": spec}}},
    "daemonsets": lambda spec: {"spec": {"template": {"spec": spec}}},
    "statefulsets": lambda spec: {"spec": {"template": {"spec": spec}}},
    "replicasets": lambda spec: {"spec": {"template": {"spec": spec}}},
    "replicationcontrollers": lambda spec: {"spec": {"template": {"spec": spec}}},
    "jobs": lambda spec: {"spec": {"template": {"spec": spec}}},
    "cronjobs": lambda spec: {"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}},
    "podtemplates": lambda spec: {"template": {"spec": spec}},
    "rollouts": lambda spec: {"spec": {"workload": [{"template": {"spec": spec}}]}},
    "lists": lambda spec: {"kind": "List", "items": [{"kind": "Pod", "spec": spec}]},
}


@pytest.mark.parametrize("resource", WRAPPED)
@pytest.mark.parametrize("spec", DANGEROUS)
def test_a_way_out_of_the_container_is_admin_in_every_kind(resource, spec):
    body = WRAPPED[resource](spec)
    assert admin_reasons("create", resource, body=body)
    assert admin_reasons("update", resource, name="x", body=body)
    for patch_type in ("merge", "strategic", "apply"):
        assert admin_reasons("patch", resource, name="x", body=body, patch_type=patch_type)


@pytest.mark.parametrize("resource", WRAPPED)
def test_a_plain_workload_is_not_admin(resource):
    body = WRAPPED[resource](SPEC)
    assert admin_reasons("create", resource, body=body) == ()
    assert admin_reasons("patch", resource, name="x", body=body, patch_type="merge") == ()


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/spec/template/spec/hostNetwork", "value": True},
        {"op": "replace", "path": "/spec/template/spec", "value": {"hostPID": True}},
        {"op": "add", "path": "/spec/template/spec/containers/0/securityContext/privileged", "value": True},
        {"op": "add", "path": "/spec/containers/0/securityContext/capabilities/add/-", "value": "SYS_ADMIN"},
        {"op": "add", "path": "/spec/template/spec/volumes/-", "value": {"name": "v", "hostPath": {"path": "/"}}},
        {"op": "add", "path": "/spec/template/spec/volumes/0/hostPath/path", "value": "/"},
        {"op": "replace", "path": "", "value": {"spec": {"hostIPC": True}}},
        {"op": "copy", "from": "/metadata/annotations/x", "path": "/spec/template/spec/hostNetwork"},
        {"op": "move", "from": "/spec/a", "path": "/spec/b"},
        {"op": "add", "path": "/spec/template/spec/HostNetwork", "value": True},
    ],
)  # fmt: skip
def test_a_json_patch_is_judged_by_what_it_could_set(operation):
    assert admin_reasons("patch", "deployments", name="x", body=[operation], patch_type="json")


@pytest.mark.parametrize("patch", ["x", {"op": "add"}, [{"op": "add"}], [{"op": "burn", "path": "/a"}], [1]])
def test_what_is_no_patch_is_admin_and_so_denied(patch):
    assert admin_reasons("patch", "deployments", name="x", body=patch, patch_type="json")


def test_a_json_patch_of_a_plain_field_is_not_admin():
    patch = [{"op": "replace", "path": "/spec/replicas", "value": 3}, {"op": "test", "path": "/a", "value": 1}]
    assert admin_reasons("patch", "deployments", name="x", body=patch, patch_type="json") == ()


@pytest.mark.parametrize(
    ("verb", "resource", "subresource"),
    [
        ("create", "serviceaccounts", "token"),
        ("create", "certificatesigningrequests", ""),
        ("update", "certificatesigningrequests", "approval"),
        ("update", "certificatesigningrequests", "status"),
        ("create", "roles", ""),
        ("patch", "clusterroles", ""),
        ("update", "rolebindings", ""),
        ("delete", "clusterrolebindings", ""),
        ("deletecollection", "rolebindings", ""),
        ("create", "mutatingwebhookconfigurations", ""),
        ("delete", "validatingwebhookconfigurations", ""),
        ("patch", "validatingadmissionpolicies", ""),
        ("create", "validatingadmissionpolicybindings", ""),
        ("create", "apiservices", ""),
        ("create", "tokenreviews", ""),
        ("get", "nodes", "proxy"),
        ("create", "nodes", "proxy"),
        ("get", "pods", "proxy"),
        ("get", "services", "proxy"),
        ("delete", "services", "proxy"),
    ],
)
def test_what_reaches_past_the_api_or_changes_rights_is_admin(verb, resource, subresource):
    assert admin_reasons(verb, resource, subresource, name="x", body={})


@pytest.mark.parametrize(
    "resource", ["roles", "certificatesigningrequests", "validatingwebhookconfigurations", "nodes"]
)
@pytest.mark.parametrize("verb", ["get", "list", "watch"])
def test_reading_them_is_not(verb, resource):
    assert admin_reasons(verb, resource) == ()


@pytest.mark.parametrize(
    ("resource", "body"),
    [
        ("secrets", {"type": "kubernetes.io/service-account-token"}),
        ("secrets", {"type": "bootstrap.kubernetes.io/token"}),
        ("namespaces", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
        ("namespaces", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}),
        ("customresourcedefinitions", {"spec": {"conversion": {"strategy": "Webhook", "webhook": {}}}}),
        ("customresourcedefinitions", {"spec": {"conversion": {"webhook": {"clientConfig": {"url": "https://x"}}}}}),
        ("bundles", {"spec": {"manifests": [{"apiVersion": "x/v1", "kind": "ClusterRoleBinding"}]}}),
        ("lists", {"kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret",
                                              "type": "kubernetes.io/service-account-token"}]}),
        ("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth"}}),
        ("persistentvolumes", {"spec": {"hostPath": {"path": "/"}}}),
    ],
)  # fmt: skip
def test_bodies_that_grant_or_mint_are_admin(resource, body):
    assert admin_reasons("create", resource, body=body)
    assert admin_reasons("patch", resource, name="x", body=body, patch_type="merge")


def test_a_map_of_identities_is_admin_by_its_name():
    assert admin_reasons("patch", "configmaps", namespace="kube-system", name="aws-auth", body={}, patch_type="merge")


def test_a_definition_whose_schema_describes_such_fields_is_not_admin():
    schema = {"properties": {"hostNetwork": {"type": "boolean"}, "privileged": {"type": "boolean"}}}
    body = {"spec": {"conversion": {"strategy": "None"}, "versions": [{"schema": {"openAPIV3Schema": schema}}]}}
    assert admin_reasons("create", "customresourcedefinitions", body=body) == ()


def test_a_write_whose_body_was_not_read_is_admin_too():
    assert admin_reasons("create", "pods", seen=False)
    assert admin_reasons("delete", "pods", seen=False) == ()


def test_harmless_settings_are_not_dangers():
    spec = {
        "hostNetwork": False,
        "volumes": [{"emptyDir": {}}],
        "containers": [
            {
                "securityContext": {
                    "privileged": False,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                    "seccompProfile": {"type": "RuntimeDefault"},
                    "procMount": "Default",
                },
                "ports": [{"containerPort": 80, "hostPort": 0}],
            }
        ],
    }
    assert pod_dangers(spec) == ()


@pytest.mark.parametrize("how", ["object", "merge", "json"])
def test_a_local_volume_is_a_path_of_the_host(how):
    operation = {"op": "replace", "path": "/spec/local/path", "value": "/"}
    body = [operation] if how == "json" else {"spec": {"local": {"path": "/"}}}
    reasons = admin_reasons("patch", "persistentvolumes", body=body, patch_type="" if how == "object" else how)
    assert reasons == ("a path of the host",)


def test_a_usual_selinux_type_is_none_of_its_own():
    assert pod_dangers({"seLinuxOptions": {"type": "container_t", "level": "s0:c1"}}) == ()


@pytest.mark.parametrize("subresource", ["", "status", "finalize"])
@pytest.mark.parametrize(
    ("verb", "body", "patch_type"),
    [
        ("patch", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}, "merge"),
        ("patch", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}, "merge"),
        ("patch", {"metadata": {"labels": None}}, "merge"),
        ("patch", {"metadata": None}, "merge"),
        ("patch", {"metadata": {"labels": {"$patch": "replace", "a": "b"}}}, "strategic"),
        ("patch", {"metadata": {"$retainKeys": ["name"], "name": "a"}}, "strategic"),
        ("patch", {"$patch": "replace", "metadata": {"name": "a"}}, "strategic"),
        ("patch", {"metadata": {"name": "a"}}, "apply"),
        ("patch", [{"op": "remove", "path": "/metadata/labels"}], "json"),
        ("patch", [{"op": "replace", "path": "/metadata", "value": {"name": "a"}}], "json"),
        ("patch", [{"op": "replace", "path": "", "value": {}}], "json"),
        ("patch", [{"op": "move", "from": "/metadata/labels", "path": "/metadata/annotations"}], "json"),
        ("update", {"metadata": {"name": "a", "labels": {"a": "b"}}}, ""),
    ],
)
def test_a_namespaces_pod_security_labels_change_by_no_other_door(subresource, verb, body, patch_type):
    reasons = admin_reasons(verb, "namespaces", subresource, name="a", body=body, patch_type=patch_type)
    assert any("which pods a namespace admits" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("verb", "body", "patch_type"),
    [
        ("create", {"metadata": {"name": "a"}}, ""),
        ("patch", {"metadata": {"labels": {"team": "shop", "old": None}}}, "merge"),
        ("patch", {"metadata": {"annotations": {"a": "b"}}}, "strategic"),
        ("patch", [{"op": "add", "path": "/metadata/labels/team", "value": "shop"}], "json"),
        ("delete", None, ""),
    ],
)
def test_other_labels_of_a_namespace_are_a_plain_write(verb, body, patch_type):
    assert admin_reasons(verb, "namespaces", name="a", body=body, patch_type=patch_type) == ()


@pytest.mark.parametrize(
    ("verb", "name", "body"),
    [
        ("create", "", {"metadata": {"name": "aws-auth"}, "data": {}}),
        ("delete", "aws-auth", None),
        ("deletecollection", "", None),
    ],
)
def test_a_map_of_identities_is_found_without_its_kind_and_in_a_collection(verb, name, body):
    assert admin_reasons(verb, "configmaps", namespace="kube-system", name=name, body=body)
    assert not admin_reasons(verb, "configmaps", namespace="shop", name=name, body=body)


@pytest.mark.parametrize("resource", WRAPPED)
def test_code_in_kube_system_is_admin_for_it_runs_as_who_may_do_all(resource):
    body = WRAPPED[resource]({**SPEC, "serviceAccountName": "clusterrole-aggregation-controller"})
    reasons = admin_reasons("create", resource, namespace="kube-system", body=body)
    assert any("kube-system" in reason for reason in reasons)
    assert admin_reasons("create", resource, namespace="shop", body=body) == ()


def test_an_image_in_kube_system_is_code_and_a_restart_is_none():
    image = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "x"}]
    assert admin_reasons("patch", "deployments", namespace="kube-system", name="d", body=image, patch_type="json")
    restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}}
    assert not admin_reasons(
        "patch", "deployments", namespace="kube-system", name="d", body=restart, patch_type="strategic"
    )


def test_addresses_of_others_are_admin():
    body = {"spec": {"externalIPs": ["10.0.0.1"]}}
    assert admin_reasons("create", "services", namespace="shop", body=body)
    assert admin_reasons("patch", "services", "status", namespace="shop", body={"status": {}}, patch_type="merge")
    assert admin_reasons("patch", "nodes", "status", body={"status": {}}, patch_type="merge")
    assert admin_reasons("create", "services", namespace="shop", body={"spec": {"ports": [{"port": 80}]}}) == ()
