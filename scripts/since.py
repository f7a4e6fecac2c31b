"""Times as people write them on a command line."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import typer

_LATEST = 2**63 - 1  # what the store can hold
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(\d{1,9})\s*([smhdw])")


def parse_since(text: str | None, now: float | None = None) -> int | None:
    """Unix nanoseconds of "15m" (ago) or of an ISO 8601 time (UTC where it names no zone). Raises BadParameter."""
    if text is None:
        return None
    span = _SPAN.fullmatch(text.strip())
    if span:
        seconds = (time.time() if now is None else now) - int(span[1]) * _UNITS[span[2]]
        return max(0, int(seconds * 1e9))
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a span (15m, 2h, 1d) nor an ISO 8601 time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0, int(moment.timestamp() * 1_000_000) * 1000), _LATEST)
