"""Tokens of PostgreSQL's lexer (scan.l), as far as finding string literals needs; never fails.

Assumes standard_conforming_strings = on, which the gateway holds fixed. An unterminated literal or comment reaches to
the end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

TokenKind = Literal["word", "quoted", "string", "number", "symbol"]


class Token(NamedTuple):
    """`start` and `end` are character offsets. A string's end includes its continuations on later lines."""

    kind: TokenKind
    start: int
    end: int


_SPACE = re.compile(r"[ \t\n\r\f\v]+")
_WORD = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*")
_NUMBER = re.compile(r"[0-9][0-9A-Za-z_.]*")
_OLD_NUMBER = re.compile(r"[0-9][0-9.]*+(?:[eE][0-9]*)?")
_NEWER = re.compile(r"[0-9][A-Za-z_]")
_DOLLAR = re.compile(r"\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$")
# Possessive throughout: a hostile text must not make them go back.
_PLAIN_BODY = re.compile(r"[^']*+(?:''[^']*+)*+'")
_ESCAPE_BODY = re.compile(r"[^'\\]*+(?:(?:''|\\.)[^'\\]*+)*+'", re.DOTALL)
_QUOTED_BODY = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
_CONTINUATION = re.compile(r"(?:[ \t\f\v]++|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]++|--[^\n\r]*+[\n\r])*+'")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_PREFIXES = {"e": True, "b": False, "x": False, "n": False}


def newer_numbers(text: str) -> bool:
    """Whether numbers stand in `text` that PostgreSQL before 15 takes for a number and a name: 1_000, 0x1F, 0b1."""
    if _NEWER.search(text) is None:
        return False
    found = (text[token.start : token.end] for token in tokens(text) if token.kind == "number")
    return any(_OLD_NUMBER.fullmatch(number) is None for number in found)


def tokens(text: str) -> Iterator[Token]:
    """All tokens but space and comments."""
    at, end = 0, len(text)
    while at < end:
        char = text[at]
        if (space := _SPACE.match(text, at)) is not None:
            at = space.end()
        elif text.startswith("--", at):
            at = _line_end(text, at)
        elif text.startswith("/*", at):
            at = _comment_end(text, at)
        else:
            token = _token(text, at, char)
            yield token
            at = token.end


def _token(text: str, at: int, char: str) -> Token:
    if char == "'":
        return Token("string", at, _string_end(text, at + 1, escapes=False))
    if char == '"':
        return Token("quoted", at, _body_end(_QUOTED_BODY, text, at + 1))
    if char == "$" and (tag := _DOLLAR.match(text, at)) is not None:
        close = text.find(tag.group(), tag.end())
        return Token("string", at, len(text) if close < 0 else close + len(tag.group()))
    if (word := _WORD.match(text, at)) is not None:
        return _word(text, at, word.end())
    if (number := _NUMBER.match(text, at)) is not None:
        return Token("number", at, number.end())
    return Token("symbol", at, at + 1)


def _word(text: str, at: int, end: int) -> Token:
    """A word, or the literal that it opens: E'…', B'…', X'…', N'…', U&'…', U&"…"."""
    word = text[at:end].lower()
    if word in _PREFIXES and text.startswith("'", end):
        return Token("string", at, _string_end(text, end + 1, escapes=_PREFIXES[word]))
    if word == "u" and text.startswith("&'", end):
        return Token("string", at, _string_end(text, end + 2, escapes=False))
    if word == "u" and text.startswith('&"', end):
        return Token("quoted", at, _body_end(_QUOTED_BODY, text, end + 2))
    return Token("word", at, end)


def _string_end(text: str, at: int, *, escapes: bool) -> int:
    body = _ESCAPE_BODY if escapes else _PLAIN_BODY
    end = _body_end(body, text, at)
    while (more := _CONTINUATION.match(text, end)) is not None:
        end = _body_end(body, text, more.end())
    return end


def _body_end(body: re.Pattern[str], text: str, at: int) -> int:
    match = body.match(text, at)
    return len(text) if match is None else match.end()


def _line_end(text: str, at: int) -> int:
    ends = [found for found in (text.find("\n", at), text.find("\r", at)) if found >= 0]
    return min(ends, default=len(text))


def _comment_end(text: str, at: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
