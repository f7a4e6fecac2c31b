"""How far the expansion of views and functions has come."""

from __future__ import annotations

_EXPANSIONS = 2000


class Trace:
    """One expansion under way: what it is inside of, and how much it may still take."""

    __slots__ = ("active", "cut", "left")

    def __init__(self) -> None:
        self.active: list[object] = []
        self.cut = False  # an answer lacks what an unfinished one around it will say: not to be kept
        self.left = _EXPANSIONS
