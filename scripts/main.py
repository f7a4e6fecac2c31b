"""The `onrecord` command: one Typer app, one module a command group.

Exit status: 0 done, 1 the answer is no, 2 wrong use. Each group module has `register(app)`; what a command needs is
imported when it runs, so that `onrecord --help` stays fast.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys

import typer

GROUPS = ("up", "check", "agent", "reading", "approvals", "login", "console", "exporting", "evidence", "policy", "demo")

app = typer.Typer(
    name="onrecord",
    help="A layer-7 gateway between AI agents and production: decides, masks, records, proves.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a traceback with local variables could print a secret
)

for group in GROUPS:
    importlib.import_module(f"onrecord.scripts.{group}").register(app)


def main() -> None:
    """Entry point; errors that onrecord raises on purpose become one line a problem on stderr and exit status 2."""
    from onrecord.policies.errors import OnrecordError
    from onrecord.scripts.terminal import settle_streams

    settle_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OnrecordError as error:
        sys.stderr.write(f"onrecord: {error}\n")
        sys.exit(2)
    except OSError as error:  # a full disk under the output: no traceback, and no status 1, which is an answer
        with contextlib.suppress(OSError):
            sys.stderr.write(f"onrecord: {error}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left of the output goes nowhere
        sys.exit(2)


if __name__ == "__main__":
    main()
