"""Sizes of a terminal as they come on the resize stream: JSON objects, one behind another. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from onrecord.addons.kubernetes_api.streams.errors import StreamError

MAX_HELD = 4096
MAX_SIDE = 65535


class ResizeReader:
    """Pieces of the stream → (columns, rows). 0 is what a client says that does not know."""

    def __init__(self) -> None:
        self._held = ""
        self._decode = json.JSONDecoder()

    def feed(self, data: bytes) -> Iterator[tuple[int, int]]:
        """The sizes that `data` completes. Raises StreamError."""
        try:
            self._held += data.decode("ascii")
        except UnicodeDecodeError:
            raise StreamError("a terminal's size that is not ASCII") from None
        if len(self._held) > MAX_HELD:
            raise StreamError(f"more than {MAX_HELD} bytes on the resize stream at once")
        while True:
            self._held = self._held.lstrip(" \t\r\n")
            if not self._held:
                return
            end = self._held.find("}") + 1  # a size is a flat object
            if not end:
                if not self._held.startswith("{"):
                    raise StreamError("a terminal's size that is no JSON object")
                return
            text, self._held = self._held[:end], self._held[end:]
            yield _size(text)


def size_json(columns: int, rows: int) -> bytes:
    """A size as the API server reads it."""
    return b'{"Width":%d,"Height":%d}\n' % (columns, rows)


def _size(text: str) -> tuple[int, int]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise StreamError("a terminal's size that is not JSON") from None
    sides = {name.lower(): side for name, side in value.items()} if isinstance(value, dict) else {}
    columns, rows = sides.pop("width", None), sides.pop("height", None)
    for side in (columns, rows):
        if type(side) is not int or not 0 <= side <= MAX_SIDE:
            raise StreamError("a terminal's size without a width and a height")
    if sides:
        raise StreamError("a terminal's size with more than a width and a height")
    return columns, rows
