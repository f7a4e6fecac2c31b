"""Lists of names: in the code as one string, or in data/ as one a line."""

from __future__ import annotations

from pathlib import Path

_DATA = Path(__file__).parent / "data"


def words(text: str, prefix: str = "") -> frozenset[str]:
    """The words of `text`, each after `prefix`."""
    return frozenset(prefix + word for word in text.split())


def load_names(name: str) -> frozenset[str]:
    """The lines of data/`name`.txt."""
    return words((_DATA / f"{name}.txt").read_text(encoding="utf-8"))
