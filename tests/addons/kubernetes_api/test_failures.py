"""What the API server says of a failure, without the objects that it quotes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.failures import mask_failure, without_objects
from onrecord.addons.kubernetes_api.handed_out import HandedOut
from onrecord.addons.kubernetes_api.masking import ObjectMask
from onrecord.addons.kubernetes_api.secret_values import mask_secrets, reveals_secrets, without_secrets
from onrecord.policies.kubernetes import admin_reasons
from tests.addons.kubernetes_api.test_masking import DATA, PLAIN


def status(message: str, reason: str = "Invalid") -> dict[str, Any]:
    cause = {"reason": "FieldValueInvalid", "message": message.partition(": patch: ")[2] or message, "field": "patch"}
    return {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "details": {"causes": [cause]}}


QUOTED = {
    "a patched object": f' "" is invalid: patch: Invalid value: "{{\\"data\\":{{\\"a\\":\\"{DATA}\\"}}}}": v1.Secret',
    "json-iterator": f"v1.Secret.Data: error found in #10 byte of ...|{DATA}|..., bigger context ...|{DATA}|...",
    "a Go literal": f'Job.batch "j" is invalid: spec.template: Invalid value: core.PodTemplateSpec{{Spec:core.PodSpec{{'
    f'Env:[]core.EnvVar{{core.EnvVar{{Name:"DB_PASSWORD", Value:"{PLAIN}"}}}}}}}}: field is immutable',
    "a Go map": f'is invalid: patch: Invalid value: "map[data:map[b:{PLAIN}]]": cannot restore slice from int64',
    "a diff": f'Forbidden: pod updates may not change fields\n  core.PodSpec{{\n-  Value: "{PLAIN}",\n',
    "JSON of a value": f'template: Invalid value: {{"env":[{{"name":"A","value":"{PLAIN}"}}]}}: field is immutable',
    "a pointer": f'Invalid value: &core.EnvVar{{Value:"{PLAIN}"}}',
}


@pytest.mark.parametrize("name", QUOTED)
@pytest.mark.parametrize("secrets", [True, False])
def test_a_quoted_object_is_cut_out_of_a_failure(name: str, secrets: bool) -> None:
    for value in (status(QUOTED[name]), {"type": "ERROR", "object": status(QUOTED[name], "BadRequest")}):
        mask = ObjectMask(None, HandedOut(), secrets=secrets, failed=True)
        text = mask.document(json.dumps(value).encode()).decode()
        assert DATA not in text
        assert PLAIN not in text
        assert mask.found["secret"] == 2


def test_what_was_wrong_stays_to_be_read() -> None:
    assert without_objects(QUOTED["a Go literal"], {}) == (
        'Job.batch "j" is invalid: spec.template: Invalid value: [redacted]: field is immutable'
    )


@pytest.mark.parametrize(
    "message",
    [
        'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
        'Pod "w" is invalid: spec.containers[0].imagePullPolicy: Unsupported value: "x": supported values: "Always"',
        'secrets "x" already exists',
        "cannot be handled as a Deployment: json: cannot unmarshal number into a field of type map[string]string",
        'failed to create typed patch object: .spec.containers[name="w"].foo: field not declared in schema',
        "PatchOptions is invalid: fieldManager: Required value: is required for apply patch",
    ],
)
def test_other_failures_are_told_in_full(message: str) -> None:
    assert mask_failure(status(message), {}, strict=False) == status(message)


def test_a_failure_about_secrets_quotes_no_value_at_all() -> None:
    message = f'Secret "s" is invalid: type: Invalid value: "{PLAIN}": field is immutable'
    assert PLAIN not in json.dumps(mask_failure(status(message), {}, strict=True))
    assert PLAIN not in json.dumps(mask_failure(status(f'cannot be handled: "{PLAIN}"', "BadRequest"), {}, strict=True))
    forbidden = status('users "x" cannot list: groups=["a"]', "Forbidden")
    assert mask_failure(forbidden, {}, strict=True) == forbidden


@pytest.mark.parametrize("run", ["a", "[", "\\", "a.A", "(a", "Invalid value: "])
def test_a_long_text_is_searched_in_linear_time(run: str) -> None:
    without_objects(run * 500_000, {})  # quadratic, it would take hours


_NAMES = st.sampled_from(
    (
        "metadata", "labels", "annotations", "name", "data", "stringData", "type", "kind", "apiVersion", "items",
        "rows", "object", "op", "path", "from", "value", "env", "spec", "local", "capabilities", "add", "sysctls",
        "message", "seccompProfile", "conversion", "details", "causes", "status", "reason",
    )
)  # fmt: skip
_LEAVES = st.sampled_from(
    [None, True, 0, "", "x", "Secret", "Status", "ConfigMap", "kube-system", "aws-auth", "/data", "add", "Failure"]
)
_BODIES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5), max_leaves=20
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_NAMES, _BODIES, max_size=5) | st.lists(_BODIES, max_size=3))
def test_any_json_can_be_decided_on_masked_and_recorded(body: Any) -> None:
    for resource in ("secrets", "configmaps", "namespaces", "customresourcedefinitions"):
        for patch_type in ("", "merge", "json", "apply"):
            admin_reasons("patch", resource, namespace="kube-system", body=body, patch_type=patch_type)
    mask_secrets(body, {})
    without_secrets(body)
    reveals_secrets(body)
    mask_failure(body, {}, strict=True)
