"""Strings that are masked, found in the bytes of a document: the quick way finds what the plain one finds."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from onrecord.addons.kubernetes_api.changes import Change, Replacing, find_changes
from onrecord.addons.kubernetes_api.handed_out import HandedOut
from onrecord.policies.masking import Masks, mask_json

MASKS = Masks(key=b"k" * 32, detect={"email": "redact", "payment_card": "partial"})
assert MASKS.detectors is not None
DETECTORS = MASKS.detectors
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def found_plainly(data: bytes) -> dict[str, Change] | None:
    """Every string from the first byte on, each spot looked at by itself."""
    found: dict[str, Change] = {}
    for start, end in DETECTORS.spots(data):
        token = next((token for token in _STRING.finditer(data) if token.end() > start), None)
        if token is None or token.start() > start or token.end() < end:
            return None
        try:
            text = json.loads(token[0])
        except ValueError:
            return None
        counts: dict[str, int] = {}
        clean = str(mask_json(text, MASKS, counts))
        if clean != text:
            found[text] = Change(clean, counts)
    return found


_PARTS = st.sampled_from(
    ["alice@example.com", "4111 1111 1111 1111", '"', "\\", '\\"', "\n", "/", "é", "\ud800", " ", "x,", ":", "{", "1"]
)
_TEXTS = st.lists(_PARTS, max_size=6).map("".join)
_VALUES = st.recursive(
    _TEXTS | st.sampled_from([4111111111111111, 1, True, None]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, 2]))
@settings(max_examples=500)
@example({'a\\"': "b@example.com", "c": '\\\\"d@example.com"'}, True, None)
def test_any_json_gives_the_same_changes(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    data = text.encode("utf-8", "surrogatepass")
    assert find_changes(data, MASKS) == found_plainly(data)


@given(st.lists(_PARTS | st.sampled_from(['\\"', "}", "[", '","', '":"', "\x00", "\\\\"]), max_size=12).map("".join))
@settings(max_examples=500)
@example('\\"alice@example.com')
@example('\\"alice@example.com"')
def test_what_is_no_json_gives_the_same_changes_too(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert find_changes(data, MASKS) == found_plainly(data)


@given(_VALUES)
def test_a_change_is_put_in_wherever_its_string_stands_as_a_value(value: Any) -> None:
    changes = find_changes(json.dumps(value).encode(), MASKS)
    document = {"kind": "Person", "apiVersion": "alice@example.com", "spec": value, "data": ["alice@example.com"]}
    seen = {name: Change("[redacted]", {"email": 1}) for name in ("Person", "alice@example.com")}
    everything = seen | (changes or {})
    handed_out = HandedOut()
    if any(key in everything for key in _keys(value)):
        return  # then the whole document is looked at
    made = Replacing(everything, handed_out).value(document)
    assert (made["kind"], made["apiVersion"]) == ("Person", "[redacted]")
    assert made["data"] == ["[redacted]"]
    assert not any(text in everything for text in _strings(made["spec"]))


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(key for item in value.values() for key in _keys(item))]
    return [key for item in value for key in _keys(item)] if isinstance(value, list) else []


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _strings(item)]
