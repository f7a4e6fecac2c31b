"""`onrecord console`: the records on a screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from onrecord.recordings.console.door import Door, DoorOpener

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="The gateway's configuration.")]


def console(
    filter: Annotated[
        list[str] | None, typer.Argument(metavar="[FILTER]...", help="What to show first: verdict:deny since:1h …")
    ] = None,
    config: ConfigOption = Path("mitm.toml"),
    store: Annotated[
        Path | None, typer.Option("--store", help="A store file, instead of the configuration's; no proofs then.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", help="File with a human's token, to decide with; else ONRECORD_TOKEN, else `login`."),
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
    door: DoorOpener | None = None
    if store is None:
        from onrecord.policies.config import load_config

        loaded = load_config(config)
        store, state = loaded.recordings.store, loaded.gateway.state

        def door() -> Door:
            from onrecord.scripts.admin_client import admin_client
            from onrecord.scripts.human_token import human_token

            return admin_client(loaded, human_token(token, loaded.gateway.admin_url))

    open_reader(store).close()  # what is wrong is said here, where it stays on the screen
    os.environ.pop("TEXTUAL", None)  # no developer's features: they would open a socket

    from onrecord.recordings.console.app import ConsoleApp
    from onrecord.recordings.console.settings import settings_path

    sys.setswitchinterval(0.0005)  # a key must not wait for the threads that read and draw
    ConsoleApp(store, state=state, filter=text, settings=settings_path(), door=door).run()


def register(app: typer.Typer) -> None:
    """Add `console`."""
    app.command()(console)
