"""A record's three looks as drawn lines: made in a reading thread, harmless whatever was recorded. No terminal."""

from __future__ import annotations

import io

import msgspec
from rich.console import Console, Group, RenderableType
from rich.segment import Segment
from rich.text import Text

from onrecord.recordings.console.rows import Row
from onrecord.recordings.console.source import Source
from onrecord.recordings.console.widgets.detail import Mode
from onrecord.recordings.display.neutral import clean
from onrecord.recordings.display.records import render_record
from onrecord.recordings.display.tables import redacted
from onrecord.recordings.frames import HEADER

HEX_SHOWN = 16 * 1024
RAW_SHOWN = 64 * 1024
_ROW = 16
MOST = 5000  # lines


def draw(source: Source, row: Row, mode: Mode, width: int) -> list[list[Segment]]:
    """The record under the cursor in `width` cells."""
    if mode == "pretty":
        return lines_of(_pretty(source, row), width)
    numbers = source.records_of_row(row)
    parts: list[RenderableType] = []
    for name, seq in numbers:
        leaf = source.leaf_bytes(seq)
        parts.append(Text(f"{name}, record number {seq}, {len(leaf)} bytes", style="bold"))
        parts.append(_hex(leaf) if mode == "hex" else _raw(leaf))
        parts.append(Text())
    return lines_of(Group(*parts), width)


def lines_of(renderable: RenderableType, width: int) -> list[list[Segment]]:
    """Drawn lines of `width` cells, for a screen that is not this process's standard output."""
    console = Console(
        file=io.StringIO(), width=max(20, width), force_terminal=True, color_system="standard",
        markup=False, highlight=False, emoji=False, legacy_windows=False,
    )  # fmt: skip
    lines = console.render_lines(renderable, pad=False)[:MOST]
    return [[segment for segment in line if not segment.control] for line in lines]


def _pretty(source: Source, row: Row) -> RenderableType:
    view, more = source.whole_bounded(row.key.seq)
    if view is None:
        return Text("the record is not in the store any more: run `onrecord verify`")
    shown = render_record(view)
    return Group(shown, Text(f"\n… {more} more parts of its streams: p replays them", style="dim")) if more else shown


def _raw(leaf: bytes) -> Text:
    payload = leaf[HEADER.size :]
    try:
        text = msgspec.json.format(payload, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = payload.decode("utf-8", "backslashreplace")
    rest = f"\n… {len(text) - RAW_SHOWN} characters more (onrecord show --json)" if len(text) > RAW_SHOWN else ""
    return redacted(clean(text[:RAW_SHOWN], lines=True) + rest)


def _hex(leaf: bytes) -> Text:
    rows = []
    for start in range(0, min(len(leaf), HEX_SHOWN), _ROW):
        part = leaf[start : start + _ROW]
        pairs = part.hex(" ")
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        rows.append(f"{start:06x}  {pairs:<47}  {letters}")
    if len(leaf) > HEX_SHOWN:
        rows.append(f"… {len(leaf) - HEX_SHOWN} bytes more")
    return Text("\n".join(rows), no_wrap=True, overflow="crop")
