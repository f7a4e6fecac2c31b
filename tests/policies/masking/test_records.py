"""Records under masks."""

from __future__ import annotations

import json

from onrecord.policies.config.types import MaskConfig
from onrecord.policies.masking import clean_record
from onrecord.policies.masking.masks import masks_of

DETECTORS = masks_of((MaskConfig(detect=("email",)),), b"k" * 32).detectors


def test_text_detail_and_reasons_are_cleaned_and_the_rest_stays():
    record = {
        "kind": "sql",
        "text": "x a@wvutsrq.example",
        "detail": {"p": ["b@wvutsrq.example", 1]},
        "verdict": {"reason": "c@wvutsrq.example"},
    }
    clean = clean_record(json.dumps(record).encode(), DETECTORS)
    assert b"wvutsrq" not in clean
    assert json.loads(clean)["kind"] == "sql"


def test_without_a_finding_it_is_the_same_object():
    data = b'{"text":"x"}'
    assert clean_record(data, DETECTORS) is data
    assert clean_record(data, None) is data


def test_what_is_no_record_is_replaced():
    assert b"wvutsrq" not in clean_record(b'{"text": "a@wvutsrq.example', DETECTORS)
