"""Figures of a benchmark and how they are shown."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass
class Result:
    """Rows of figures: `rows[case][column]`, with notes on what was measured and what the bars are."""

    title: str
    columns: Sequence[str]
    rows: dict[str, dict[str, float | str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def print(self, *, as_json: bool) -> None:
        """A Rich table, or one JSON object."""
        if as_json:
            print(json.dumps({"title": self.title, "rows": self.rows, "notes": self.notes}))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(title=self.title, title_justify="left")
        table.add_column("")
        for column in self.columns:
            table.add_column(column, justify="right")
        for case, figures in self.rows.items():
            table.add_row(case, *(_shown(figures.get(column, "")) for column in self.columns))
        console = Console()
        console.print(table)
        for note in self.notes:
            console.print(note, style="dim", highlight=False)


def in_turns(cases: dict[str, Callable[[], float]], rounds: int, *, say: str = "") -> dict[str, float]:
    """Measure every case once a round, `rounds` times, so that a noisy minute hits all; the medians."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, measure in cases.items():
            progress(f"{say} round {number + 1} of {rounds}: {name}")
            taken[name].append(measure())
    progress("")
    return {name: statistics.median(values) for name, values in taken.items()}


def progress(text: str) -> None:
    """One line on a terminal's stderr, overwritten by the next; silent elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
