"""Interpreters and editors: what they run is code of their own languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onrecord.policies.shell.words import Word

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker

_ASKS = frozenset({"--version", "-V", "-version", "--help"})


def interpreter(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    """python, perl, node, vim, …: unknown but for a lone question for the version."""
    found = walker.found
    rest = words[1:]
    if len(rest) == 1 and rest[0].static and rest[0].text in _ASKS:
        return
    found.unknown(f"{words[0].text} runs code of its own language")
    for word in rest:
        if not word.text.startswith("-") and " " not in word.text and "\n" not in word.text and "(" not in word.text:
            found.read.update(found.paths(word))


SPECIALS = {"interpreter": interpreter}
