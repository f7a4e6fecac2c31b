"""A gateway worker with an addon that raises in the hook that a file names: "first:HOOK" or "last:HOOK".

"inside:ask" raises where a request is read as a command.

`python tests/addons/bomb_worker.py CONFIG FILE`
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onrecord.addons import assembly, worker
from onrecord.addons.dialect import Asked, Dialect


class Bomb:
    """Has every hook; raises in the one that is named, before or behind the gateway's own addons."""

    def __init__(self, place: str, file: Path) -> None:
        self._place, self._file = place, file

    def __getattr__(self, name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            if self._file.read_text() == f"{self._place}:{name}":
                raise RuntimeError("bomb")

        return hook


def main() -> None:
    file = Path(sys.argv[2])
    assemble = assembly.Gateway._assemble

    def with_bombs(self: assembly.Gateway, *arguments: Any) -> list[object]:
        return [Bomb("first", file), *assemble(self, *arguments), Bomb("last", file)]

    ask = Dialect.ask

    def ask_or_raise(self: Dialect, *arguments: Any) -> Asked:
        if file.read_text() == "inside:ask":
            raise RuntimeError("bomb")
        return ask(self, *arguments)

    Dialect.ask = ask_or_raise  # type: ignore[method-assign]
    assembly.Gateway._assemble = with_bombs  # type: ignore[method-assign,assignment]
    worker.main([sys.argv[1]])


if __name__ == "__main__":
    main()
