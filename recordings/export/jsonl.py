"""JSON Lines: the objects of `show --json`, one a line, each with the parts of its streams in `chunks`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onrecord.recordings.display.neutral import json_line
from onrecord.recordings.views import View, join_chunks


def write(commands: Iterable[View]) -> Iterator[str]:
    """One line a command."""
    for command in commands:
        view = dict(command)
        chunks = view.get("chunks") or []
        if not chunks:
            view.pop("chunks", None)
        elif view["outcome"] is not None:
            view["outcome"] = view["outcome"] | {"sample": join_chunks(view["outcome"]["sample"], chunks)}
        yield json_line(view)
