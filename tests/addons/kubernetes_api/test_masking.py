"""Objects masked: Secrets in every shape, everything else by detectors, and what may not change."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api import answers
from onrecord.addons.kubernetes_api.answers import DocumentMask, LogMask, WatchMask
from onrecord.addons.kubernetes_api.env_values import MASKED
from onrecord.addons.kubernetes_api.handed_out import HandedOut, holds_mask
from onrecord.addons.kubernetes_api.masking import ObjectMask, _take_apart
from onrecord.addons.kubernetes_api.secret_values import (
    LAST_APPLIED,
    REDACTED_DATA,
    mask_secrets,
    reveals_secrets,
    without_secrets,
)
from onrecord.policies.masking import REDACTED, MaskError, Masks

PLAIN = "hunter2-very-secret"
DATA = base64.b64encode(PLAIN.encode()).decode()


def secret(**more: Any) -> dict[str, Any]:
    metadata = {
        "name": "login",
        "uid": "u-1",
        "resourceVersion": "42",
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:data": {"f:password": {}}}}],
        "annotations": {
            LAST_APPLIED: json.dumps({"kind": "Secret", "data": {"password": DATA}, "stringData": {"p": PLAIN}}) + "\n",
            "copied": f"the password is {PLAIN}",
            "encoded": DATA,
            "plain": "kept",
        },
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": DATA}} | more


def detecting(*names: str, strategy: Any = "redact") -> Masks:
    return Masks(key=b"k" * 32, detect=dict.fromkeys(names, strategy))


SHAPES = {
    "object": lambda one: one,
    "list": lambda one: {"kind": "SecretList", "metadata": {"resourceVersion": "7"}, "items": [one, one]},
    "table": lambda one: {"kind": "Table", "rows": [{"cells": ["login", "1"], "object": one}]},
    "partial": lambda one: {
        "kind": "Table",
        "rows": [{"cells": ["login"], "object": {"kind": "PartialObjectMetadata", "metadata": one["metadata"]}}],
    },
    "event": lambda one: {"type": "ADDED", "object": one},
    "table event": lambda one: {"type": "ADDED", "object": {"kind": "Table", "rows": [{"cells": [], "object": one}]}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_value_of_a_secret_is_left_in_any_shape(shape: str) -> None:
    masked = json.dumps(mask_secrets(SHAPES[shape](secret(stringData={"other": PLAIN})), {}))
    assert PLAIN not in masked
    assert DATA not in masked
    if shape != "partial":
        assert REDACTED_DATA in masked
    assert "plain" in masked


def test_versions_owners_and_managed_fields_stay() -> None:
    masked = mask_secrets(secret(), {})
    before = secret()["metadata"]
    for name in ("name", "uid", "resourceVersion", "managedFields"):
        assert masked["metadata"][name] == before[name]
    assert masked["metadata"]["annotations"]["plain"] == "kept"
    assert json.loads(masked["metadata"]["annotations"][LAST_APPLIED])["data"] == {"password": REDACTED_DATA}
    assert base64.b64decode(masked["data"]["password"]) == b"[redacted]"
    assert MASKED in masked["metadata"]["annotations"]


def test_an_annotation_that_cannot_be_read_or_is_packed_goes_as_a_whole() -> None:
    one = secret()
    one["metadata"]["annotations"] = {LAST_APPLIED: "{broken", "objectset.rio.cattle.io/applied": "H4sIAAAA"}
    masked = mask_secrets(one, {})
    assert masked["metadata"]["annotations"][LAST_APPLIED] == "[redacted]"
    assert masked["metadata"]["annotations"]["objectset.rio.cattle.io/applied"] == "[redacted]"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/data/password", "value": DATA},
        {"op": "replace", "path": "/stringData", "value": {"password": PLAIN}},
        {"op": "replace", "path": "", "value": {"data": {"password": DATA}}},
        {"op": "add", "path": "/metadata/annotations/" + LAST_APPLIED.replace("/", "~1"), "value": PLAIN},
    ],
)
def test_a_json_patch_of_a_secret_stands_on_record_without_its_values(operation: dict[str, Any]) -> None:
    masked = json.dumps(mask_secrets([operation], {}))
    assert DATA not in masked
    assert PLAIN not in masked


def test_a_secret_inside_of_another_body_stands_on_record_without_its_values() -> None:
    body = {"kind": "List", "items": [secret(), {"kind": "Bundle", "spec": {"manifests": [secret()]}}]}
    assert DATA not in json.dumps(without_secrets(body))


@pytest.mark.parametrize(
    "change",
    [
        lambda masked: masked,
        lambda masked: {"data": masked["data"]},
        lambda masked: [{"op": "replace", "path": "/data/password", "value": REDACTED_DATA}],
        lambda masked: {"stringData": {"password": "[redacted]"}},
        lambda masked: {"metadata": {"annotations": {MASKED: "data"}}},
        lambda masked: {"metadata": {"annotations": {LAST_APPLIED: masked["metadata"]["annotations"][LAST_APPLIED]}}},
    ],
)
def test_a_mask_that_is_written_back_is_known(change: Any) -> None:
    assert holds_mask(change(mask_secrets(secret(), {})), HandedOut())


def test_a_real_value_is_no_mask() -> None:
    assert not holds_mask(secret(), HandedOut())
    assert not holds_mask({"metadata": {"annotations": {MASKED: None}}}, HandedOut())


@pytest.mark.parametrize("strategy", ["redact", "partial", "pseudonymise", "format"])
def test_what_stands_in_for_a_value_is_known_when_it_comes_back(strategy: Any) -> None:
    seen = HandedOut()
    mask = ObjectMask(detecting("email", strategy=strategy), seen, secrets=False)
    pod = {
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"env": [{"value": "alice@example.com"}]}]},
    }
    masked = json.loads(mask.document(json.dumps(pod).encode()))
    assert "alice@example.com" not in json.dumps(masked)
    assert holds_mask(masked["spec"], seen)
    assert holds_mask({"metadata": masked["metadata"]}, seen)


def test_a_long_list_is_masked_item_by_item_and_the_rest_left_as_it_is() -> None:
    items = [
        {"kind": "ConfigMap", "metadata": {"name": f"c{n}", "resourceVersion": "4111111111111111"},
         "data": {"note": "bob@example.com" if n == 50 else "nothing"}}
        for n in range(100)
    ]  # fmt: skip
    document = {"kind": "ConfigMapList", "metadata": {"resourceVersion": "9"}, "items": items}
    mask = ObjectMask(detecting("email", "payment_card"), HandedOut(), secrets=False)
    masked = json.loads(mask.document(json.dumps(document).encode()))
    assert masked["items"][50]["data"]["note"] == "[redacted]"
    assert masked["items"][50]["metadata"]["resourceVersion"] == "4111111111111111"
    assert masked["items"][51] == items[51]
    assert masked["metadata"] == {"resourceVersion": "9"}
    assert mask.found["email"] == 1


def test_escapes_do_not_hide_a_value() -> None:
    mask = ObjectMask(detecting("email"), HandedOut(), secrets=False)
    masked = mask.document(b'{"kind":"ConfigMap","data":{"a":"carol\\u0040example.com"}}')
    assert json.loads(masked)["data"]["a"] == "[redacted]"


def test_a_document_that_is_no_json_or_names_a_member_twice_is_refused_where_it_is_masked() -> None:
    for data in (b"{", b'{"data":{"a":"x"},"data":{}}', b'{"data": NaN}'):
        with pytest.raises(MaskError):
            ObjectMask(None, HandedOut(), secrets=True).document(data)


@given(st.lists(st.integers(1, 40), max_size=30))
def test_any_pieces_of_a_watch_give_the_same_events(sizes: list[int]) -> None:
    lines = b"".join(json.dumps({"type": "ADDED", "object": secret()}).encode() + b"\n" for _ in range(3))
    whole = WatchMask(ObjectMask(None, HandedOut(), secrets=True))
    expected = whole.feed(lines) + whole.finish()
    mask = WatchMask(ObjectMask(None, HandedOut(), secrets=True))
    made, at = b"", 0
    for size in sizes:
        made += mask.feed(lines[at : at + size])
        at += size
    made += mask.feed(lines[at:]) + mask.finish()
    assert made == expected
    assert DATA.encode() not in made


def test_an_event_goes_on_as_soon_as_its_line_is_complete() -> None:
    mask = WatchMask(ObjectMask(None, HandedOut(), secrets=True))
    assert mask.feed(b'{"type":"ADDED","obj') == b""
    assert mask.feed(b'ect":{"kind":"Secret"}}\n{"ty') == b'{"type":"ADDED","object":{"kind":"Secret"}}\n'


def test_log_lines_are_masked_as_they_come_also_those_that_are_no_utf8() -> None:
    mask = LogMask(detecting("email"))
    assert mask.feed(b"from dave@example.com\n\xff\xfe\nnext") == b"from [redacted]\n\xff\xfe\n"
    assert mask.finish() == b"next"


def test_a_document_is_let_go_at_its_end() -> None:
    mask = DocumentMask(ObjectMask(None, HandedOut(), secrets=True))
    data = json.dumps(secret()).encode()
    assert mask.feed(data[:50]) + mask.feed(data[50:]) == b""
    assert DATA.encode() not in mask.finish()


def test_few_values_are_remembered_at_once() -> None:
    seen = HandedOut(limit=2)
    for text in ("a", "b", "c"):
        seen.add(text)
    assert "a" not in seen
    assert "c" in seen


def test_both_ways_through_a_document_mask_the_same() -> None:
    """One decodes and looks at every value, the other only at the strings that the scanner has found."""
    texts = ["alice@example.com", "4111 1111 1111 1111", "plain", 'a\n"b@example.com"', "\u00e9 c@example.com", ""]
    for first in texts:
        for second in texts:
            document = {
                "kind": "ConfigMap",
                "metadata": {"name": "4111111111111111", "annotations": {"note": first}, "labels": {"a": second}},
                "data": {"a": first, "b": {"c": [second, 4111111111111111 if first == second else 1]}},
            }
            data = json.dumps(document).encode()
            quick = ObjectMask(detecting("email", "payment_card"), HandedOut(), secrets=False)
            whole = ObjectMask(detecting("email", "payment_card"), HandedOut(), secrets=False)
            assert json.loads(quick.document(data)) == json.loads(whole._whole(data))


def test_a_key_that_is_masked_is_found_too() -> None:
    mask = ObjectMask(detecting("email"), HandedOut(), secrets=False)
    masked = json.loads(mask.document(b'{"kind":"ConfigMap","data":{"erin@example.com":"x"}}'))
    assert "erin" not in json.dumps(masked)


def test_a_value_that_was_copied_into_a_label_is_masked_there_too() -> None:
    one = secret()
    one["metadata"]["labels"] = {"copy": DATA, "app": "web"}
    masked = mask_secrets(one, {})
    assert masked["metadata"]["labels"] == {"copy": "[redacted]", "app": "web"}


@pytest.mark.parametrize(
    ("operation", "reveals"),
    [
        ({"op": "copy", "from": "/data/password", "path": "/metadata/labels/x"}, True),
        ({"op": "move", "from": "/data", "path": "/metadata/annotations"}, True),
        ({"op": "copy", "from": "", "path": "/x"}, True),
        ({"op": "copy", "from": "/metadata/annotations/a", "path": "/metadata/labels/x"}, True),
        ({"op": "test", "path": "/data/password", "value": "x"}, True),
        ({"op": "test", "path": "/metadata/resourceVersion", "value": "42"}, False),
        ({"op": "replace", "path": "/data/password", "value": "x"}, False),
        ({"op": "copy", "from": "/metadata/labels/a", "path": "/metadata/labels/b"}, False),
    ],
)
def test_a_json_patch_that_would_show_or_test_a_value_is_known(operation: dict[str, Any], reveals: bool) -> None:
    assert reveals_secrets([operation]) is reveals


@given(
    st.lists(st.sampled_from(["alice@example.com", "plain", "4111 1111 1111 1111", "\u00e9\u20ac", 'q"x'])),
    st.booleans(),
)
def test_a_list_in_pieces_is_the_list_as_a_whole(texts: list[str], spaced: bool) -> None:
    items = [
        {"metadata": {"name": f"n{n}"}, "env": [{"name": "A_TOKEN" if n % 3 == 0 else "B", "value": text}]}
        for n, text in enumerate(texts)
    ]
    document = {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}
    data = json.dumps(document, indent=2 if spaced else None).encode()
    quick = ObjectMask(detecting("email", "payment_card"), HandedOut(), secrets=False, env=True)
    whole = ObjectMask(detecting("email", "payment_card"), HandedOut(), secrets=False, env=True)
    pieces = quick._in_pieces(data)
    expected = [json.loads(whole._whole(json.dumps(item).encode())) for item in items]
    assert json.loads(pieces or data)["items"] == expected


def test_long_answers_of_all_agents_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_TOGETHER", answers.DocumentMask.together + 100)
    before = DocumentMask.together
    one, two = (DocumentMask(ObjectMask(None, HandedOut(), secrets=True)) for _ in range(2))
    assert one.feed(b"[" + b"1," * 40) == b""
    with pytest.raises(MaskError, match="in pages"):
        two.feed(b"1" * 20)
    one.feed(b"1]")
    assert one.finish()
    assert two.feed(b"1" * 90) == b""
    del two  # its client left
    assert DocumentMask.together == before


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 20))
def test_a_log_that_is_cut_by_the_agent_shows_no_part_of_what_is_masked(limit: int, size: int) -> None:
    log = b"first line\ncard 4111 1111 1111 1111 of alice@example.com"
    mask = LogMask(detecting("email", "payment_card"), cut=True)
    pieces = [log[:limit][at : at + size] for at in range(0, limit, size)]
    shown = b"".join([*(mask.feed(piece) for piece in pieces), mask.finish()]).decode()
    whole, _, rest = log[:limit].decode().rpartition("\n")
    assert shown == (f"{whole}\n" if whole else "") + (REDACTED if rest else "")


_MEMBERS = st.sampled_from(
    [
        r"",
        r'    "items":[1,{"a":"b@example.com"}]',
        r'    "items":[]',
        r'    "items":null',
        r'    "items" : [4]',
        r'    "rows":[{"items":[2]},"x"]',
        r'    "rows":["]}"]',
        r'    "metadata":{"items":[3]}',
        r'    "x":{"rows":[5]}',
        r'    "kind":"\"items\":["',
        r'    "kind":"List"',
        r'    "a":[6]',
        r"    ",
    ][1:-1]
)


@given(st.lists(_MEMBERS, max_size=5), st.sampled_from(["", " ", "\n"]), st.sampled_from(["", "]", "}", ',"b":1}']))
def test_a_list_is_taken_apart_at_its_last_member_as_it_is_from_its_first(
    members: list[str], space: str, junk: str
) -> None:
    data = ("{" + f",{space}".join(members) + "}" + space + junk).encode()
    try:
        plain = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        name = next((name for name in ("items", "rows") if name in plain), "")
        parts = msgspec.json.decode(plain[name], type=list[msgspec.Raw]) if name else []
    except msgspec.DecodeError:
        with pytest.raises(msgspec.DecodeError):
            _take_apart(data)
        return
    found = _take_apart(data)
    assert {key: bytes(value) for key, value in found[0].items()} == {key: bytes(raw) for key, raw in plain.items()}
    assert (found[1], [bytes(part) for part in found[2]]) == (name, [bytes(part) for part in parts])
