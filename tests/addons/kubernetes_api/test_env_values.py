"""Variables whose names say that they are secret."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.env_values import (
    MASKED,
    holds_masked_env,
    holds_no_env,
    is_secret_env,
    mask_env,
    may_hold_env,
    reveals_env,
)
from onrecord.addons.kubernetes_api.handed_out import HandedOut
from onrecord.addons.kubernetes_api.masking import ObjectMask
from onrecord.addons.kubernetes_api.secret_values import LAST_APPLIED, without_secrets
from onrecord.policies.masking import REDACTED

PLAIN = "hunter2-very-secret"


def pod(name: str = "DB_PASSWORD", value: str = PLAIN) -> dict[str, Any]:
    spec = {
        "containers": [{"name": "main", "env": [{"name": "MODE", "value": "live"}, {"name": name, "value": value}]}]
    }
    notes = {LAST_APPLIED: json.dumps({"kind": "Pod", "spec": spec}) + "\n"}
    metadata = {"name": "web", "resourceVersion": "1", "annotations": notes}
    return {"kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("name", ["DB_PASSWORD", "PGPASSWORD", "github_token", "API_KEY", "AWS_SECRET_ACCESS_KEY"])
def test_a_name_tells(name: str) -> None:
    assert is_secret_env(name)
    assert may_hold_env(json.dumps(pod(name)).encode())


@pytest.mark.parametrize("name", ["PA\u017f\u017fWORD", "API_\u212aEY", "x" * 400 + "_TOKEN", "a\\u003cb\\u0026TOKEN"])
def test_a_name_tells_however_it_is_written(name: str) -> None:
    document = json.dumps({"name": "MARK", "value": "v"}, ensure_ascii=False).replace("MARK", name)
    for data in (document, json.dumps(document, ensure_ascii=False)):
        assert may_hold_env(data.encode())


@pytest.mark.parametrize("name", ["MODE", "TOKEN_URL", "PASSWORD_FILE", "SECRET_NAME", "KEYBOARD", "TOKEN_TTL"])
def test_other_names_do_not(name: str) -> None:
    assert not is_secret_env(name)


@pytest.mark.parametrize("masks", [True, False])
def test_its_value_is_masked_in_object_list_table_and_event(masks: bool) -> None:
    from tests.addons.kubernetes_api.test_masking import detecting

    one = pod()
    for document in (
        one,
        {"kind": "PodList", "items": [one] * 5, "metadata": {}},
        {"kind": "Table", "rows": [{"cells": ["web"], "object": one}] * 5},
        {"type": "ADDED", "object": one},
    ):
        mask = ObjectMask(detecting("email") if masks else None, HandedOut(), secrets=False, env=True)
        text = mask.document(json.dumps(document).encode()).decode()
        assert PLAIN not in text
        assert "live" in text
        assert MASKED in text
        assert mask.found["env"] >= 2


def test_what_holds_none_stays_as_it_is() -> None:
    mask = ObjectMask(None, HandedOut(), secrets=False, env=True)
    data = json.dumps(pod("TOKEN_URL", "https://idp.example.com")).encode()
    assert mask.document(data) is data
    value = json.loads(data)
    assert mask_env(value, {}) is value


def test_a_write_stands_on_record_without_it() -> None:
    assert PLAIN not in json.dumps(without_secrets(pod()))
    patch = [{"op": "add", "path": "/spec/containers/0/env/-", "value": {"name": "API_TOKEN", "value": PLAIN}}]
    assert PLAIN not in json.dumps(without_secrets(patch))


def test_a_masked_variable_that_is_written_back_is_known() -> None:
    masked = mask_env(pod(), {})
    assert holds_masked_env(masked)
    assert holds_masked_env({"spec": masked["spec"]})
    assert holds_masked_env([{"op": "replace", "path": "/spec/template", "value": {"spec": masked["spec"]}}])
    assert not holds_masked_env(pod())
    assert not holds_masked_env({"data": {"text": "[redacted]"}})


def test_a_copy_that_shows_a_variable_is_seen() -> None:
    at = "/spec/containers/0/env/0"
    assert reveals_env([{"op": "copy", "from": "/spec/containers/0/image", "path": f"{at}/name"}])
    assert reveals_env([{"op": "copy", "from": f"{at}/value", "path": "/metadata/annotations/x"}])
    assert not reveals_env([{"op": "copy", "from": at, "path": "/spec/containers/1/env/0"}])


def mask_env_plainly(value: Any, found: dict[str, int]) -> Any:
    """The rule as plainly as it can be written: every node is made anew."""
    if isinstance(value, list):
        items = [mask_env_plainly(item, found) for item in value]
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    if isinstance(value, str):
        return mask_env(value, found)
    if not isinstance(value, dict):
        return value
    name, text = value.get("name"), value.get("value")
    if isinstance(name, str) and isinstance(text, str) and text and text != REDACTED and is_secret_env(name):
        found["env"] = found.get("env", 0) + 1
        value = {**value, "value": REDACTED}
    made = {key: mask_env_plainly(item, found) for key, item in value.items()}
    if all(made[key] is value[key] for key in made):
        return value
    metadata = made.get("metadata")
    if isinstance(metadata, dict) and "items" not in made and "rows" not in made:
        notes = metadata.get("annotations")
        made["metadata"] = {**metadata, "annotations": {**(notes if isinstance(notes, dict) else {}), MASKED: "env"}}
    return made


_WORDS = st.sampled_from(
    ["name", "value", "env", "metadata", "annotations", "items", "DB_PASSWORD", "TOKEN", "MODE", REDACTED, "x", ""]
)
_INNER = st.sampled_from(['[{"name":"API_KEY","value":"v"}]', '{"name":"MODE","value":"v"}', "{broken", "[1]"])
_OBJECTS = st.recursive(
    _WORDS | _INNER | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=25,
)


@given(_OBJECTS)
def test_only_what_changes_is_made_anew_and_it_changes_to_the_same(value: Any) -> None:
    before = deepcopy(value)
    found, plainly = dict[str, int](), dict[str, int]()
    masked = mask_env(value, found)
    assert value == before
    assert masked == mask_env_plainly(value, plainly)
    assert found == plainly
    assert (masked is value) == (not found or masked == value)


_PIECES = ["PASSWORD", "api", "_", "key", "Token", '"', "\\", "\n", "/", "<", "é", "x" * 300, "\u212aey", "pa\u017fsw"]
_NAMES = st.lists(st.sampled_from(_PIECES), max_size=5).map("".join)
_NESTING = st.lists(st.sampled_from([None, 1]), max_size=3)


@given(_NAMES, st.sampled_from(["name", "nam"]), _NESTING, st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=400)
def test_where_it_says_that_nothing_is_there_the_whole_reading_finds_nothing(
    name: str, key: str, nesting: list[int | None], indent: int | None, ascii_only: bool
) -> None:
    value: Any = {"env": [{"image": "/var/run/secrets", key: name, "value": "v"}]}
    for inner in nesting:
        value = {"name": "x", "annotations": {"a": json.dumps(value, indent=inner, ensure_ascii=ascii_only)}, "z": name}
    data = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    if holds_no_env(data):
        assert mask_env(value, {}) is value


def test_a_mount_of_secrets_is_no_variable() -> None:
    assert holds_no_env(json.dumps({"name": "main", "mountPath": "/var/run/secrets"}).encode())
    assert not holds_no_env(json.dumps({"name": 'a"' + "x" * 500 + "_TOKEN", "value": "v"}).encode())
    assert not holds_no_env(b'{"n\\u0061me":"TOKEN","value":"v"}')
