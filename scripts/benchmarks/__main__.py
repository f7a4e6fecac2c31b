"""`python -m onrecord.scripts.benchmarks NAME [--json]`."""

from __future__ import annotations

import importlib
from typing import Annotated, Literal

import typer

from onrecord.scripts.benchmarks.report import Result

Name = Literal["http", "postgres", "masking", "kubernetes", "record", "console", "idle", "ssh", "approvals"]


def main(
    name: Annotated[Name, typer.Argument(help="Which benchmark.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often every case is measured, in turns.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.2, help="Length of one measurement.")] = 4.0,
) -> None:
    """Measure, and print medians and ratios.

    Example: scripts/bench postgres --rounds 3
    """
    result: Result = importlib.import_module(f"onrecord.scripts.benchmarks.{name}").measure(rounds, seconds)
    result.print(as_json=as_json)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
