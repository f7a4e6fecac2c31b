"""Masking: detectors and rules of `[[masks]]` → what a client may see. Knows no protocol.

`masks_for` gives the masks of one identity on one resource. `Detectors.hit` is the cheap question for raw bytes,
`Detectors.clean` the exact answer for one value, `Masks.column` the rule of a column.
"""

from __future__ import annotations

from onrecord.policies.masking.detectors import Detectors
from onrecord.policies.masking.errors import MaskError
from onrecord.policies.masking.json_text import check_json, mask_json_text, may_mask
from onrecord.policies.masking.json_values import mask_json
from onrecord.policies.masking.masks import Masks, PathRule, masks_for, no_masks
from onrecord.policies.masking.names import DETECTORS, REDACTED
from onrecord.policies.masking.pseudonym_key import pseudonym_key
from onrecord.policies.masking.records import clean_record
from onrecord.policies.masking.rules import WHOLE, Rule
from onrecord.policies.masking.stream import StreamCleaner

__all__ = [
    "DETECTORS",
    "REDACTED",
    "WHOLE",
    "Detectors",
    "MaskError",
    "Masks",
    "PathRule",
    "Rule",
    "StreamCleaner",
    "check_json",
    "clean_record",
    "mask_json",
    "mask_json_text",
    "masks_for",
    "may_mask",
    "no_masks",
    "pseudonym_key",
]
