"""What a command's chunks say of a terminal: output, input and sizes, each with its time."""

from __future__ import annotations

import base64
import binascii
import codecs
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from onrecord.recordings.views import View

OUTPUTS = frozenset({"terminal", "stdout", "stderr"})
DEFAULT_SIZE = (80, 24)
MAX_SIDE = 1000

PieceKind = Literal["output", "input", "resize", "gap"]


class Piece(NamedTuple):
    """`at` is Unix seconds. `text`: what was printed or typed; of a gap, what is not there and why."""

    at: float
    kind: PieceKind
    text: str = ""
    columns: int = 0
    rows: int = 0
    channel: str = ""


def has_terminal(view: View) -> bool:
    """Whether a command ran on a terminal."""
    return any(chunk.get("channel") == "terminal" for chunk in view.get("chunks", ()))


def has_channels(view: View) -> bool:
    """Whether a command's bytes flowed on channels: a terminal, or stdin, stdout and stderr."""
    return any(chunk.get("channel") in OUTPUTS or chunk.get("channel") == "stdin" for chunk in view.get("chunks", ()))


def pieces(*views: View) -> Iterator[Piece]:
    """The pieces of commands (as `show` gives them), one command behind another."""
    for view in views:
        yield from PieceReader().read(view.get("chunks", ()))


class PieceReader:
    """Chunks of one command → pieces. Characters that were cut over chunks are whole again."""

    def __init__(self) -> None:
        self._decoders: dict[tuple[str, str], codecs.IncrementalDecoder] = {}
        self._on_line_start = True

    def read(self, chunks: Iterable[View]) -> Iterator[Piece]:
        """The pieces of `chunks`, which follow those that were read before."""
        for chunk in chunks:
            channel = str(chunk.get("channel", ""))
            at = datetime.fromisoformat(chunk["at"]).timestamp()
            if channel == "resize":
                size = _size(chunk.get("data"))
                if size is not None:
                    yield Piece(at, "resize", "", *size, channel)
            elif channel in OUTPUTS or channel == "stdin":
                yield from self._data(at, channel, chunk)

    def _data(self, at: float, channel: str, chunk: View) -> Iterator[Piece]:
        is_input = chunk.get("direction") == "to_upstream"
        data = _bytes(chunk.get("data"))
        if data:
            key = (channel, str(chunk.get("direction")))
            decoder = self._decoders.get(key)
            if decoder is None:
                decoder = self._decoders[key] = codecs.getincrementaldecoder("utf-8")("replace")
            text = decoder.decode(data)
            if not is_input and channel != "terminal":
                text = text.replace("\r\n", "\n").replace("\n", "\r\n")  # no terminal was there to do it
            if text:
                yield Piece(at, "input" if is_input else "output", text, 0, 0, channel)
        missing = int(chunk.get("size") or 0) - len(data)
        if missing > 0:
            note = str(chunk.get("note") or "not kept")
            yield Piece(at, "gap", f"{missing} bytes of {channel}: {note}", 0, 0, channel)


def _bytes(data: object) -> bytes:
    if isinstance(data, str):
        return data.encode("utf-8", "surrogatepass")
    if isinstance(data, dict) and isinstance(data.get("base64"), str):
        try:
            return base64.b64decode(data["base64"])
        except binascii.Error:
            return b""
    return b""


def _size(data: object) -> tuple[int, int] | None:
    """Columns and rows of a resize, within what a viewer can bear; None where it says none."""
    if not isinstance(data, dict):
        return None
    columns, rows = data.get("columns"), data.get("rows")
    if not isinstance(columns, int) or not isinstance(rows, int) or columns < 1 or rows < 1:
        return None
    return min(columns, MAX_SIDE), min(rows, MAX_SIDE)
