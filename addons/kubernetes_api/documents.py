"""JSON documents of the API server, read and written. Pure."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

from onrecord.policies.masking import MaskError

_encode = msgspec.json.Encoder(decimal_format="number").encode


def read_document(data: bytes) -> Any:
    """A JSON document of the API server. Raises MaskError."""
    try:
        return json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_float=Decimal, parse_constant=_no_constant
        )
    except (ValueError, RecursionError, ArithmeticError):
        raise MaskError("what calls itself JSON cannot be read as JSON") from None


def quickly_read(data: bytes) -> Any:
    """The same for what is written anew from what was read, so that a member's second value is never seen."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return read_document(data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise MaskError("a name stands twice in a JSON object")
    return made


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def write_document(value: Any) -> bytes:
    """Raises MaskError."""
    try:
        return _encode(value)
    except (ValueError, TypeError, RecursionError):
        raise MaskError("a masked answer could not be written") from None
