"""What an approver must read, in pages that a person can read one after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MAX_CHARACTERS = 4000
MAX_LINES = 80


class Part(NamedTuple):
    """A part of a section: `number` of `count`. The parts of a section together are its text."""

    section: str
    text: str
    number: int = 1
    of: int = 1


def paged(sections: Iterable[tuple[str, str]]) -> list[list[Part]]:
    """Sections (name and text) as pages: short ones share one. There is always a page."""
    pages: list[list[Part]] = [[]]
    room, lines = MAX_CHARACTERS, MAX_LINES
    for name, text in sections:
        texts = split(text)
        for number, part in enumerate(texts, 1):
            breaks = part.count("\n") + 1
            if pages[-1] and (len(part) > room or breaks > lines):
                pages.append([])
                room, lines = MAX_CHARACTERS, MAX_LINES
            pages[-1].append(Part(name, part, number, len(texts)))
            room, lines = room - len(part), lines - breaks
    return pages


def split(text: str) -> list[str]:
    """Cut behind line feeds where that makes no part tiny, else within the line."""
    found = []
    at = 0
    while at < len(text):
        end = min(len(text), at + MAX_CHARACTERS)
        lines = 0
        position = at
        while lines < MAX_LINES and (position := text.find("\n", position, end)) != -1:
            position += 1
            lines += 1
        if lines == MAX_LINES:
            end = position
        elif end < len(text) and (cut := text.rfind("\n", at + MAX_CHARACTERS // 2, end)) != -1:
            end = cut + 1
        found.append(text[at:end])
        at = end
    return found or [""]
