"""`onrecord console`: the records on a screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="The gateway's configuration.")]


def console(
    filter: Annotated[
        list[str] | None, typer.Argument(metavar="[FILTER]...", help="What to show first: verdict:deny since:1h …")
    ] = None,
    config: ConfigOption = Path("mitm.toml"),
    store: Annotated[
        Path | None, typer.Option("--store", help="A store file, instead of the configuration's; no proofs then.")
    ] = None,
) -> None:
    """Look through all records on a full screen: timeline, replay, search, proofs, exports.

    Example: onrecord console -c mitm.toml verdict:deny since:1h
    """
    from onrecord.policies.errors import OnrecordError
    from onrecord.recordings.console.conditions import compile_query
    from onrecord.recordings.console.language import parse
    from onrecord.recordings.store import open_reader

    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise OnrecordError("console: it needs a terminal; `onrecord log`, `show` and `search` print to a pipe")
    text = " ".join(filter or ())
    compile_query(parse(text))
    state: Path | None = None
    if store is None:
        from onrecord.policies.config import load_config

        loaded = load_config(config)
        store, state = loaded.recordings.store, loaded.gateway.state
    open_reader(store).close()  # what is wrong is said here, where it stays on the screen
    os.environ.pop("TEXTUAL", None)  # no developer's features: they would open a socket

    from onrecord.recordings.console.app import ConsoleApp
    from onrecord.recordings.console.settings import settings_path

    ConsoleApp(store, state=state, filter=text, settings=settings_path()).run()


def register(app: typer.Typer) -> None:
    """Add `console`."""
    app.command()(console)
