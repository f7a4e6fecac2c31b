"""JSON texts under masks."""

from __future__ import annotations

import pytest

from onrecord.policies.config.types import MaskConfig
from onrecord.policies.masking import MaskError, mask_json_text
from onrecord.policies.masking.masks import masks_of

MASKS = masks_of((MaskConfig(detect=("email",)),), b"k" * 32)


def test_what_is_found_is_counted_and_gone():
    found: dict[str, int] = {}
    assert b"wvutsrq" not in mask_json_text(b'["a@wvutsrq.example", {"b@wvutsrq.example": 1e3}]', MASKS, found)
    assert sum(found.values()) == 2


def test_nothing_found_is_nothing_changed():
    data = b'{"a": 1.10, "b": [null]}'
    assert mask_json_text(data, MASKS, {}) is data


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a":1,"a":2}', b"NaN", b"[1e999999999999]"[:-1], b"\xff", b"[" * 100_000]
)
def test_what_readers_could_read_in_two_ways_is_refused(data: bytes):
    with pytest.raises(MaskError):
        mask_json_text(data, MASKS, {})
