"""Values inside values: arrays and composites in their text form, taken apart and put together again. Pure.

The forms: PostgreSQL's manual, "Array Input and Output Syntax" and "Composite Type Input and Output Syntax"; the code
follows array_out and record_out. What was not changed stays byte for byte as it was.
"""

from __future__ import annotations

from collections.abc import Callable

Leaf = Callable[[str], str | None]
Field = Callable[[int, str], str | None]


class NestedError(ValueError):
    """The text is no value of that form."""


def map_array(text: str, leaf: Leaf, delimiter: str = ",") -> str:
    """`text` of an array with every element but NULLs as `leaf` gives it (None: NULL). Raises NestedError."""
    start = text.find("{")
    if start < 0 or (start and not (text[0] == "[" and text[start - 1] == "=")):
        raise NestedError("no array")
    out: list[str] = []
    copied, at, depth, size = 0, start, 0, len(text)
    while at < size:
        char = text[at]
        if char == "{":
            depth += 1
            at += 1
        elif char == "}":
            depth -= 1
            at += 1
            if not depth:
                break
        elif char == delimiter:
            at += 1
        else:
            if not depth:
                raise NestedError("an element outside of braces")
            begin = at
            if char == '"':
                value, at = _quoted(text, at, doubled=False)
            else:
                at = _until(text, at, delimiter + "{}")
                value = text[begin:at]
                if value.upper() == "NULL":
                    continue
                value = _unescaped(value)
            new = leaf(value)
            if new is not value and new != value:
                out += (text[copied:begin], "NULL" if new is None else _array_quoted(new))
                copied = at
    if depth or at != size:
        raise NestedError("the braces of an array do not match")
    out.append(text[copied:])
    return "".join(out)


def map_composite(text: str, field: Field) -> str:
    """`text` of a record with every field but NULLs as `field(index, value)` gives it. Raises NestedError."""
    if len(text) < 2 or text[0] != "(" or text[-1] != ")":
        raise NestedError("no record")
    out: list[str] = []
    copied, at, index, end = 0, 1, 0, len(text) - 1
    while True:
        begin = at
        parts: list[str] = []
        while at < end and text[at] != ",":
            if text[at] == '"':
                part, at = _quoted(text, at, doubled=True)
            elif text[at] in "()":
                raise NestedError("a parenthesis inside a record")
            else:
                stop = at
                while stop < end and text[stop] not in ',()"':
                    stop += 2 if text[stop] == "\\" else 1
                if stop > end:
                    raise NestedError("a record ends in a backslash")
                part, at = _unescaped(text[at:stop]), stop
            parts.append(part)
        if at > begin:
            value = "".join(parts)
            new = field(index, value)
            if new is not value and new != value:
                out += (text[copied:begin], "" if new is None else _record_quoted(new))
                copied = at
        index += 1
        if at >= end:
            break
        at += 1
    out.append(text[copied:])
    return "".join(out)


def _quoted(text: str, at: int, *, doubled: bool) -> tuple[str, int]:
    """The value of the quoted text at `at`, and the position behind it; `doubled`: "" inside is one quote."""
    parts: list[str] = []
    at += 1
    while True:
        stop = at
        quote, slash = text.find('"', at), text.find("\\", at)
        if quote < 0:
            raise NestedError("a quote is not closed")
        stop = quote if slash < 0 else min(quote, slash)
        parts.append(text[at:stop])
        if stop != quote:
            if stop + 1 >= len(text):
                raise NestedError("a value ends in a backslash")
            parts.append(text[stop + 1])
            at = stop + 2
        elif doubled and text.startswith('"', stop + 1):
            parts.append('"')
            at = stop + 2
        else:
            return "".join(parts), stop + 1


def _until(text: str, at: int, stops: str) -> int:
    size = len(text)
    while at < size and text[at] not in stops:
        if text[at] == '"':
            raise NestedError("a quote inside an element")
        at += 2 if text[at] == "\\" else 1
    if at > size:
        raise NestedError("an array ends in a backslash")
    return at


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    parts: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        parts.append(text[at : at + 1])
        at += 1
    return "".join(parts)


def _array_quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _record_quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '""') + '"'
