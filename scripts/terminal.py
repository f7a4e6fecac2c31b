"""What every command that prints recorded bytes uses: neutral text, JSON lines, quiet broken pipes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import msgspec

from onrecord.recordings.display.neutral import clean, neutral

__all__ = ["clean", "json_line", "quiet_pipe"]


def json_line(value: object) -> str:
    """One JSON object a line. What acts on a terminal or hides is escaped: the line can be shown anywhere."""
    text = msgspec.json.encode(value).decode()
    if text.isascii() and "\x7f" not in text:
        return text + "\n"
    return "".join(neutral(text, _escape_in_json, kept="")) + "\n"


def _escape_in_json(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


@contextlib.contextmanager
def quiet_pipe() -> Iterator[None]:
    """`onrecord log | head` is no error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
