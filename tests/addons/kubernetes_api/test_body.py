"""Bodies: what is read is what goes upstream, or nothing does."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.body import read_body
from onrecord.addons.kubernetes_api.protobuf import MEDIA_TYPE, read_protobuf
from onrecord.addons.kubernetes_api.request import KubeRequestError

JSON = "application/json"
APPLY = "application/apply-patch+yaml"


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + (bytes([len(data)]) if len(data) < 128 else
                                       bytes([len(data) & 127 | 128, len(data) >> 7])) + data  # fmt: skip


def frame(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, raw)


def test_json_is_read_and_goes_on_as_it_came():
    found = read_body("POST", JSON, b'{"kind": "Pod"}')
    assert (found.value, found.raw) == ({"kind": "Pod"}, None)
    assert read_body("POST", "application/json; charset=utf-8", b"{}").value == {}
    assert read_body("DELETE", "", b"").value is None


@pytest.mark.parametrize(
    ("method", "kind", "body"),
    [
        ("POST", JSON, b'{"a": 1, "a": 2}'),
        ("POST", JSON, b'{"spec": {"hostNetwork": false, "hostNetwork": true}}'),
        ("POST", JSON, b"kind: Pod"),
        ("POST", JSON, b'{"a": NaN}'),
        ("POST", JSON, b'{"a": "\\ud800"}'),
        ("POST", JSON, b'{"a": "\xff"}'),
        ("POST", JSON, b'\xef\xbb\xbf{"a": 1}'),
        ("POST", JSON, b"{} {}"),
        ("POST", JSON, b"[]"),
        ("POST", JSON, b'"x"'),
        ("POST", JSON, b"[" * 100_000),
        ("POST", JSON, b'{"a":' * 500 + b"1" + b"}" * 500),
        ("POST", "application/cbor", b"\xd9\xd9\xf7\xa0"),
        ("POST", "text/plain", b"{}"),
        ("POST", "application/x-www-form-urlencoded", b"a=b"),
        ("POST", "application/json; charset=utf-16", b"{}"),
        ("POST", "Application/JSON", b"{}"),
        ("POST", APPLY, b"{}"),
        ("POST", MEDIA_TYPE, b"{}"),
        ("PATCH", JSON, b"{}"),
        ("PATCH", "", b"{}"),
        ("PATCH", "application/merge-patch+json", b"[]"),
        ("PATCH", "application/json-patch+json", b"{}"),
        ("PATCH", "application/json-patch+json", b'[{"op": "add", "path": "x/spec/replicas", "value": 0}]'),
        ("PATCH", "application/json-patch+json", b'[{"op": "burn", "path": "/spec"}]'),
        ("PATCH", "application/json-patch+json", b'[{"op": "copy", "path": "/spec"}]'),
        ("PATCH", "application/apply-patch+cbor", b"\xa0"),
        ("PATCH", MEDIA_TYPE, frame("v1", "Pod", b"")),
        ("GET", JSON, b"{}"),
        ("POST", "application/yaml", b"a: &x 1\nb: *x\n"),
        ("POST", "application/yaml", b"a: !!str 1\n"),
        ("POST", "application/yaml", b"a: 1\na: 2\n"),
        ("POST", "application/yaml", b"a: 1\n---\nb: 2\n"),
        ("POST", "application/yaml", b"<<: {a: 1}\n"),
        ("POST", "application/yaml", b"hostNetwork: yes\n"),
        ("POST", "application/yaml", b"mode: 0644\n"),
        ("POST", "application/yaml", b"at: 12:30:45\n"),
        ("POST", "application/yaml", b"size: 0x10\n"),
        ("POST", "application/yaml", b"1: one\n"),
        ("POST", "application/yaml", b"- a\n"),
        ("POST", "application/yaml", b"\x00"),
        ("POST", "application/yaml", b"a: " + b"[" * 1000),
    ],
)  # fmt: skip
def test_what_is_not_what_it_says_or_has_two_readings_is_refused(method, kind, body):
    with pytest.raises(KubeRequestError):
        read_body(method, kind, body)


def test_yaml_goes_on_as_the_json_that_was_read_of_it():
    found = read_body("PATCH", APPLY, b'kind: Pod\nspec:\n  hostNetwork: true\n  i: 3\n  f: 1.5\n  t: "yes"\n  e:\n')
    assert found.value == {"kind": "Pod", "spec": {"hostNetwork": True, "i": 3, "f": 1.5, "t": "yes", "e": None}}
    assert found.patch_type == "apply"
    assert found.raw is not None
    assert json.loads(found.raw) == found.value


def test_json_under_a_yaml_type_goes_on_as_it_came():
    found = read_body("PATCH", APPLY, b'{"kind": "Pod"}')
    assert (found.value, found.raw, found.patch_type) == ({"kind": "Pod"}, None, "apply")


def test_protobuf_goes_on_as_the_json_that_was_read_of_it():
    metadata = field(1, b"login") + field(11, field(1, b"app") + field(2, b"web")) + field(8, b"")
    secret = field(1, metadata) + field(2, field(1, b"password") + field(2, b"hunter2")) + field(3, b"Opaque")
    found = read_body("POST", MEDIA_TYPE, frame("v1", "Secret", secret))
    assert found.value == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "login", "labels": {"app": "web"}, "creationTimestamp": None},
        "data": {"password": "aHVudGVyMg=="},
        "type": "Opaque",
    }
    assert found.content_type == JSON
    assert found.raw is not None
    assert json.loads(found.raw) == found.value


def test_a_privileged_pod_in_protobuf_is_seen_as_one():
    container = field(1, b"c") + field(15, bytes([2 << 3, 1]))  # securityContext.privileged
    volume = field(1, b"v") + field(2, field(1, field(1, b"/")))  # hostPath, inline in the volume
    found = read_protobuf(frame("v1", "Pod", field(2, field(1, volume) + field(2, container))))
    assert found["spec"]["containers"][0]["securityContext"] == {"privileged": True}
    assert found["spec"]["volumes"][0] == {"name": "v", "hostPath": {"path": "/"}}


@pytest.mark.parametrize(
    "body",
    [
        frame("v1", "Unheard", b""),
        frame("example.com/v1", "Widget", b""),
        frame("v1", "Secret", field(31, b"x")),  # no such field
        frame("v1", "Secret", field(3, b"a") + field(3, b"b")),  # twice
        frame("v1", "Secret", field(1, b"\xff\xff")),
        frame("v1", "Secret", bytes([3 << 3 | 5]) + b"abcd"),
        frame("v1", "Secret", field(3, b"a"))[:-1],
        frame("v1", "Secret", b"") + field(3, b"gzip"),
        b"k8s\x00",
        b"",
    ],
)
def test_protobuf_that_is_not_known_here_is_refused(body):
    with pytest.raises(KubeRequestError):
        read_protobuf(body)


@given(st.binary(max_size=200))
def test_junk_protobuf_raises_only_the_modules_error(data):
    for body in (data, b"k8s\x00" + data, frame("v1", "Pod", data)):
        with contextlib.suppress(KubeRequestError):
            read_protobuf(body)


@given(st.binary(max_size=200), st.sampled_from([JSON, "application/yaml", MEDIA_TYPE]))
def test_junk_bodies_raise_only_the_modules_error(data, kind):
    with contextlib.suppress(KubeRequestError):
        read_body("POST", kind, data)
