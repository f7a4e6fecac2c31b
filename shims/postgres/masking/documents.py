"""JSON inside a cell: taken apart, masked by path and by detectors, and written again as valid JSON. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

from onrecord.policies.masking import REDACTED, MaskError, Masks, mask_json

WHOLE_DOCUMENT = json.dumps(REDACTED).encode()

_encode = msgspec.json.Encoder(decimal_format="number").encode
_DIGITS = 18  # of the longest integer that the encoder takes as one


class _DoubleKeyError(ValueError):
    """An object has a key twice: only one of the values would be looked at."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DoubleKeyError
    return found


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _DIGITS else Decimal(text)


def mask_document(data: bytes, masks: Masks, found: dict[str, int], *, only_documents: bool) -> bytes | None:
    """`data` with what is masked in it replaced; the same object where nothing is.

    What cannot be taken apart is redacted whole. With `only_documents`, None says that it is no JSON at all.
    """
    try:
        value = json.loads(data, object_pairs_hook=_object, parse_float=Decimal, parse_int=_integer)
    except (_DoubleKeyError, RecursionError):
        found["unreadable"] = found.get("unreadable", 0) + 1
        return WHOLE_DOCUMENT
    except ValueError:
        if only_documents:
            return None
        found["unreadable"] = found.get("unreadable", 0) + 1
        return WHOLE_DOCUMENT
    before = dict(found)
    try:
        new = mask_json(value, masks, found)
        if new == value and found == before:
            return data
        return _encode(new)
    except (RecursionError, MaskError, ValueError, TypeError):
        found["unreadable"] = found.get("unreadable", 0) + 1
        return WHOLE_DOCUMENT
