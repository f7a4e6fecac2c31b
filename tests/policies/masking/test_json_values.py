"""policies/masking/json_values.py: paths and detectors over decoded JSON."""

from __future__ import annotations

import pytest

from onrecord.policies.masking import Masks, PathRule, Rule, mask_json
from onrecord.policies.masking.json_paths import json_path


def masked(value: object, path: str = "", detect: str = "") -> object:
    paths = [PathRule(json_path(path), Rule(name=path))] if path else []
    return mask_json(value, Masks(key=b"", detect={detect: "redact"} if detect else {}, json_paths=paths), {})


@pytest.mark.parametrize(
    ("path", "value", "want"),
    [
        ("$.a.b[*].c", {"a": {"b": [{"c": "x", "d": "y"}]}}, {"a": {"b": [{"c": "[redacted]", "d": "y"}]}}),
        ("$.a.c", {"A": [{"C": "x"}]}, {"A": [{"C": "[redacted]"}]}),
        ("$..p", {"a": [{"p": 5}, [{"p": {"q": "x"}}]]}, {"a": [{"p": None}, [{"p": "[redacted]"}]]}),
        ("p", {"a": {"p": "x"}, "q": "p"}, {"a": {"p": "[redacted]"}, "q": "p"}),
        ("$['a.b'][1]", {"a.b": ["x", "y"]}, {"a.b": ["x", "[redacted]"]}),
        ("$.*.x", {"a": {"x": True}, "x": 1}, {"a": {"x": None}, "x": 1}),
    ],
)
def test_a_path_leads_to_what_is_masked(path, value, want):
    assert masked(value, path) == want


def test_detectors_look_at_keys_strings_and_numbers():
    value = {"a@x.example": 4111111111111111, "b": [4111111111111112, "4111111111111111", None, True]}
    assert masked(value, detect="email") == {"[redacted]": value["a@x.example"], "b": value["b"]}
    assert masked(value, detect="payment_card") == {
        "a@x.example": None, "b": [4111111111111112, "[redacted]", None, True]
    }  # fmt: skip


def test_keys_that_become_the_same_lose_no_member():
    assert len(masked({"a@x.example": 1, "b@x.example": 2}, detect="email")) == 2  # type: ignore[arg-type]
