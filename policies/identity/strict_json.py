"""JSON as a token may hold it: one meaning only.

Two parsers that read the same bytes differently are how a forged claim passes: a name given twice, NaN, a number
that overflows. Such text is refused, not repaired (RFC 7519 §4, RFC 8725 §2.4).
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DIGITS = 40


class JsonError(ValueError):
    """The text is no JSON, or JSON with more than one meaning. The message holds none of the text."""


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data` (UTF-8). Raises JsonError."""
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError("is not UTF-8") from error
    except RecursionError as error:
        raise JsonError("is nested too deeply") from error
    except ValueError as error:
        raise JsonError("is not JSON") from error
    if not isinstance(value, dict):
        raise JsonError("is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonError("gives one name twice")
    return found


def _no_constant(_text: str) -> NoReturn:
    raise JsonError("holds NaN or Infinity")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise JsonError("holds a number that is too long")
    return int(text)


def _float(text: str) -> float:
    if len(text) > MAX_DIGITS:
        raise JsonError("holds a number that is too long")
    value = float(text)
    if not math.isfinite(value):
        raise JsonError("holds a number that is too large")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer, parse_float=_float
)
