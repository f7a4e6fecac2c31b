"""What detectors find does not go on record: the text and detail of commands, and what is kept of their data."""

from __future__ import annotations

import json
from typing import Any

from onrecord.policies.masking.detectors import Detectors
from onrecord.policies.masking.errors import MaskError

_CLEANED = ("text", "detail", "data", "cause")
_UNREADABLE = b'{"text":"[redacted]","detail":{}}'


def clean_record(payload: bytes, detectors: Detectors | None) -> bytes:
    """The payload of a record (JSON) with text, detail and data cleaned. Never raises."""
    if detectors is None or (b"\\" not in payload and not detectors.hit(payload)):
        return payload
    try:
        record = json.loads(payload)
        for holder, names in ((record, _CLEANED), (record.get("verdict"), ("reason", "hint"))):
            for name in names if isinstance(holder, dict) else ():
                if name in holder:
                    holder[name] = _cleaned(holder[name], detectors)
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    except (ValueError, RecursionError, MaskError, TypeError):
        return _UNREADABLE


def _cleaned(value: Any, detectors: Detectors) -> Any:
    if isinstance(value, str):
        return detectors.clean(value, {})
    if isinstance(value, list):
        return [_cleaned(item, detectors) for item in value]
    if isinstance(value, dict):
        return {name: _cleaned(item, detectors) for name, item in value.items()}
    return value
