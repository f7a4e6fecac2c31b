"""What every command that prints recorded bytes uses: neutral text, JSON lines, quiet broken pipes.

Recorded bytes come from agents and backends; printed as they are, they could move the cursor, set the window title or
turn text around. Every control, format and bidi character is shown as a visible escape instead.
"""

from __future__ import annotations

import contextlib
import os
import sys
import unicodedata
from collections.abc import Iterator

import msgspec

_KEPT = "\n\t"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: object, *, lines: bool = False) -> str:
    """`text` with everything that a terminal would act on made visible; `lines` keeps newlines and tabs."""
    string = text if isinstance(text, str) else str(text)
    if string.isascii() and string.isprintable():
        return string
    return "".join(_neutral(char, lines=lines) for char in string)


def _neutral(char: str, *, lines: bool) -> str:
    if lines and char in _KEPT:
        return "    " if char == "\t" else char
    if unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_line(value: object) -> str:
    """One JSON object a line. Control, format and bidi characters are escaped: the line can be shown anywhere."""
    text = msgspec.json.encode(value).decode()
    if text.isascii() and "\x7f" not in text:
        return text + "\n"
    return "".join(_escaped(char) for char in text) + "\n"


def _escaped(char: str) -> str:
    if unicodedata.category(char) not in _HIDDEN:
        return char
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
