"""A JSON text masked: decoded strictly, so that what is searched is all that a reader could see in it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

from onrecord.policies.masking.errors import MaskError
from onrecord.policies.masking.json_values import mask_json
from onrecord.policies.masking.masks import Masks

_LONG = 18  # digits that fit any decoder's integer
_encode = msgspec.json.Encoder(decimal_format="number").encode


def mask_json_text(data: bytes, masks: Masks, found: dict[str, int]) -> bytes:
    """`data` masked; the same object where nothing is. Raises MaskError for what is no JSON (RFC 8259) in UTF-8.

    A name that stands twice in an object is refused: readers differ on which of the two counts.
    """
    before = sum(found.values())
    try:
        value = json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_float=Decimal,
            parse_int=_integer,
            parse_constant=_constant,
        )
        masked = mask_json(value, masks, found)
        return data if sum(found.values()) == before else _encode(masked)
    except (ValueError, RecursionError, ArithmeticError, TypeError):
        raise MaskError("what calls itself JSON cannot be read as JSON") from None


def check_json(data: bytes) -> None:
    """Raises MaskError for what `mask_json_text` refuses."""
    try:
        json.loads(
            data.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_int=_text,
            parse_float=_text,
            parse_constant=_constant,
        )
    except (ValueError, RecursionError):
        raise MaskError("what calls itself JSON cannot be read as JSON") from None


def may_mask(data: bytes, masks: Masks) -> bool:
    """Whether anything in a JSON text may have to be masked; where not, it needs no walk through its values."""
    if masks.detectors is not None and masks.detectors.hit(data):
        return True
    names = [[step.name for step in one.path.steps if step.kind == "key"][-1:] for one in masks.json_paths]
    if not names:
        return False
    if b"\\u" in data or not data.isascii():  # a name may be spelt so that it only becomes one
        return True
    small = data.lower()
    return any(not name or name[0].encode() in small for name in names)


def _text(text: str) -> str:
    return text


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise MaskError("a name stands twice in a JSON object")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise MaskError("a name stands twice in a JSON object")
    return made


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= _LONG else Decimal(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
