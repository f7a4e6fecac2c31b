"""A line editor for a terminal without a shell behind it: typed bytes → echo and whole lines. Pure.

It knows printable text, Backspace, Ctrl-U, Ctrl-W, Ctrl-C, Ctrl-D and Enter; keys that send sequences do nothing.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import NamedTuple

MAX_LINE = 8192

_KEY = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]|O.|.)?", re.DOTALL)


class Event(NamedTuple):
    """`kind` is "line" (`text` is it), "interrupt" (Ctrl-C) or "end" (Ctrl-D on an empty line)."""

    kind: str
    text: str = ""


class LineEditor:
    """`feed` takes what was typed and returns events; `echo` is what to print, and is empty after `take_echo`."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line: list[str] = []
        self._echo: list[str] = []
        self._last = ""
        self._rest = ""  # of a key's sequence that is not whole yet

    def take_echo(self) -> bytes:
        """What the terminal must show."""
        text = "".join(self._echo)
        self._echo.clear()
        return text.encode() if self._terminal else b""

    def feed(self, data: bytes) -> list[Event]:
        """Take typed bytes."""
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        if self._terminal:
            if re.search(r"\x1b(?:\[[0-9;?]{0,16}|O)?\Z", text):
                cut = text.rindex("\x1b")
                text, self._rest = text[:cut], text[cut:]
            text = _KEY.sub("", text)
        events: list[Event] = []
        for char in text:
            event = self._take(char)
            if event is not None:
                events.append(event)
        return events

    def finish(self) -> list[Event]:
        """The input ended: a last line without its end counts too."""
        if self._terminal or not self._line:
            return []
        return [self._end_line()]

    def _take(self, char: str) -> Event | None:
        last, self._last = self._last, char
        if char == "\n" and last == "\r":
            return None
        if char in "\r\n":
            return self._end_line()
        if self._terminal:
            if char == "\x03":
                self._line.clear()
                self._echo.append("^C\r\n")
                return Event("interrupt")
            if char == "\x04":
                return Event("end") if not self._line else None
            if char in "\x7f\x08":
                self._erase(1)
                return None
            if char == "\x15":
                self._erase(len(self._line))
                return None
            if char == "\x17":
                self._erase_word()
                return None
        if not char.isprintable() and char != "\t":
            return None
        if len(self._line) < MAX_LINE:
            self._line.append(char)
            self._echo.append(char if char != "\t" else " ")
        return None

    def _end_line(self) -> Event:
        text = "".join(self._line)
        self._line.clear()
        self._echo.append("\r\n")
        return Event("line", text)

    def _erase(self, count: int) -> None:
        for _ in range(min(count, len(self._line))):
            width = 2 if unicodedata.east_asian_width(self._line.pop()) in "WF" else 1
            self._echo.append("\b" * width + " " * width + "\b" * width)

    def _erase_word(self) -> None:
        count = len(self._line)
        while count and self._line[count - 1] == " ":
            count -= 1
        while count and self._line[count - 1] != " ":
            count -= 1
        self._erase(len(self._line) - count)
