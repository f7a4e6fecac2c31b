"""`onrecord runs`, `sessions`, `log`, `show`, `search`, `tail`, `replay`: find records and read them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from onrecord.recordings.queries import Filters, NotFoundError, Reader
from onrecord.scripts.terminal import json_line, quiet_pipe

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="The gateway's configuration.")]
StoreOption = Annotated[Path | None, typer.Option("--store", help="A store file, instead of the configuration's.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
SessionOption = Annotated[str | None, typer.Option("--session", help="Only this session (its id's beginning).")]
RunOption = Annotated[str | None, typer.Option("--run", help="Only this run.")]
IdentityOption = Annotated[
    str | None, typer.Option("--identity", help="Only this agent or human, also on whose behalf.")
]
ResourceOption = Annotated[str | None, typer.Option("--resource", help="Only this resource.")]
KindOption = Annotated[str | None, typer.Option("--kind", help="Only this kind: sql, http, refusal, …")]
VerdictOption = Annotated[str | None, typer.Option("--verdict", help="Only allow, deny or hold.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="Not before: 15m, 2h, 1d, or an ISO 8601 time.")]
LimitOption = Annotated[int, typer.Option("--limit", min=0, help="At most so many, the newest.")]


def open_store(config: Path, store: Path | None) -> Reader:
    """The reader that `-c` or `--store` names."""
    if store is None:
        from onrecord.policies.config import load_config

        store = load_config(config).recordings.store
    return Reader(store)


def log(
    config: ConfigOption = Path("mitm.toml"),
    store: StoreOption = None,
    session: SessionOption = None,
    run: RunOption = None,
    identity: IdentityOption = None,
    resource: ResourceOption = None,
    kind: KindOption = None,
    verdict: VerdictOption = None,
    since: SinceOption = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List commands, the newest last.

    Example: onrecord log --identity devin --verdict deny --since 2h
    """
    from onrecord.scripts.since import parse_since

    filters = Filters(
        session=session, run=run, identity=identity, resource=resource, kind=kind, verdict=verdict,
        since=parse_since(since), limit=limit,
    )  # fmt: skip
    with quiet_pipe(), open_store(config, store) as reader:
        views = reader.log(filters)
        if as_json:
            sys.stdout.writelines(json_line(view) for view in views)
        else:
            from onrecord.scripts.screen import print_log

            print_log(views)


def show(
    record: Annotated[str, typer.Argument(metavar="ID", help="A record's or session's id, or a unique beginning.")],
    config: ConfigOption = Path("mitm.toml"),
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one command with its verdict, outcome and recorded result.

    Example: onrecord show 01a20521
    """
    with quiet_pipe(), open_store(config, store) as reader:
        try:
            view = reader.show(record)
        except NotFoundError as error:
            sys.stderr.write(f"onrecord: {error}\n")
            raise typer.Exit(1) from None
        if as_json:
            sys.stdout.write(json_line(view))
        else:
            from onrecord.scripts.screen import print_record

            print_record(view)


def register(app: typer.Typer) -> None:
    """Add the reading commands."""
    for command in (log, show):
        app.command()(command)
