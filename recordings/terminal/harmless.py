"""A recorded terminal's output without what could act on the viewer's terminal.

Kept: text, line ends, cursor movement, erasing, scrolling, colours, the alternate screen. Dropped: window titles,
clipboard writes (OSC 52), links, device control strings, reports that a terminal would type back, printing, mouse and
paste modes, and everything that is not on this list. Characters that turn text around or show nothing become U+FFFD.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from onrecord.recordings.display.neutral import is_hidden, is_stacked

MAX_SEQUENCE = 64  # characters of an escape sequence
MAX_STRING = 4096  # characters of a control string: a longer one cannot hide what follows
_MAX_STACKED = 4
_UNKNOWN = "\ufffd"

_CSI = re.compile(r"([?<=>!]?)([0-9;:]*)([ -/]*)([@-~])\Z")
_MOVES = frozenset("@ABCDEFGHIJKLMPSTXZ`abdefgmrsu") - {"b"}
_PRIVATE_MODES = frozenset({"1", "6", "7", "25", "47", "1047", "1048", "1049"})
_ANSI_MODES = frozenset({"4"})
_ESCAPES = frozenset("78DEHM")
_STRINGS = frozenset("]P_^X")  # OSC, DCS, APC, PM, SOS
_PLAIN = re.compile(r"[ -~\n\r]+")


class HarmlessTerminal:
    """Text in any pieces → tokens: each a run of text or one whole sequence that may be sent to a terminal."""

    def __init__(self) -> None:
        self._state = "text"
        self._held = ""
        self._stacked = 0

    def feed(self, text: str) -> Iterator[str]:
        """What is left of `text`, sequence by sequence."""
        position = 0
        while position < len(text):
            if self._state == "text":
                plain = _PLAIN.match(text, position)
                if plain is not None:
                    self._stacked = 0
                    yield plain[0]
                    position = plain.end()
                    continue
            made = getattr(self, f"_{self._state}")(text[position])
            position += 1
            if made:
                yield made

    def _text(self, char: str) -> str:
        if char == "\x1b":
            self._state, self._held = "escape", ""
            return ""
        if char in "\b\t":
            return char
        if char in "\x0b\x0c\x85":
            return "\n"
        if char == "\x9b":
            self._state, self._held = "sequence", ""
            return ""
        if char in "\x9d\x90\x9f\x9e\x98":
            self._state, self._held = "string", ""
            return ""
        if char < " " or "\x7f" <= char < "\xa0":
            return ""
        if is_stacked(char):
            self._stacked += 1
            return char if self._stacked <= _MAX_STACKED else ""
        self._stacked = 0
        return _UNKNOWN if is_hidden(char) else char

    def _escape(self, char: str) -> str:
        self._state = "text"
        if char == "[":
            self._state, self._held = "sequence", ""
        elif char in _STRINGS:
            self._state, self._held = "string", ""
        elif char in " #%()*+-./":
            self._state = "designation"
        elif char == "\x1b":
            self._state = "escape"
        elif char in _ESCAPES:
            return "\x1b" + char
        elif char == "c":
            return "\x1b[0m\x1b[2J\x1b[H"  # a reset, of the picture alone
        elif char < " ":
            return self._text(char)
        return ""

    def _designation(self, char: str) -> str:
        self._state = "text"
        return self._text(char) if char < " " else ""

    def _sequence(self, char: str) -> str:
        if char == "\x1b":
            self._state = "escape"
            return ""
        if char < " ":
            if char in "\x18\x1a":
                self._state = "text"
                return ""
            return char if char in "\b\n\r\t" else ""
        self._held += char
        if "@" <= char <= "~":
            self._state = "text"
            return _allowed(self._held)
        if len(self._held) > MAX_SEQUENCE or char > "~":
            self._state = "text"
        return ""

    def _string(self, char: str) -> str:
        # Ends with BEL, ST, or what a person would take for the end: a string may not swallow the rest of a recording.
        if char == "\x1b":
            self._state = "string_end"
        elif char in "\x07\x9c\n\x18\x1a" or len(self._held) > MAX_STRING:
            self._state = "text"
        else:
            self._held += char
        return ""

    def _string_end(self, char: str) -> str:
        if char == "\\":
            self._state = "text"
            return ""
        return self._escape(char)


def _allowed(sequence: str) -> str:
    """A whole CSI sequence as it may be sent, or nothing."""
    match = _CSI.match(sequence)
    if match is None:
        return ""
    private, parameters, between, final = match.groups()
    if between:
        return ""
    numbers = [part[-4:] if part[-4:].isdigit() else "" for part in parameters.replace(":", ";").split(";")][:32]
    if private == "?" and final in "hl":
        numbers = [number for number in numbers if number in _PRIVATE_MODES]
        return f"\x1b[?{';'.join(numbers)}{final}" if numbers else ""
    if private:
        return ""
    if final in "hl":
        numbers = [number for number in numbers if number in _ANSI_MODES]
        return f"\x1b[{';'.join(numbers)}{final}" if numbers else ""
    if final not in _MOVES:
        return ""
    if final == "J" and numbers[0] not in ("", "0", "1", "2"):
        return ""  # 3 would erase what the viewer's terminal has scrolled away
    return f"\x1b[{';'.join(numbers)}{final}"


def plain_text(text: str) -> str:
    """`text` without any sequence: lines of what was printed, for where there is no terminal to play it on."""
    return "".join(token for token in HarmlessTerminal().feed(text) if not token.startswith("\x1b"))


def printable(char: str) -> bool:
    """Whether a character stands for itself in a cell."""
    return not is_hidden(char) and unicodedata.category(char)[0] != "C"
