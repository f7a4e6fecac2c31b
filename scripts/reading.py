"""`onrecord runs`, `sessions`, `log`, `show`, `search`, `tail`, `replay`: find records and read them."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from onrecord.recordings.queries import Filters, NotFoundError, Reader
from onrecord.recordings.views import View
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
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=0, help="At most so many, the newest; 100 in a table, all with --json.")
]
SHOWN = 100


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
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """List commands, the newest last.

    Example: onrecord log --identity devin --verdict deny --since 2h
    """
    from onrecord.scripts.since import parse_since

    filters = Filters(
        session=session, run=run, identity=identity, resource=resource, kind=kind, verdict=verdict,
        since=parse_since(since), limit=_limit(limit, as_json=as_json),
    )  # fmt: skip
    with quiet_pipe(), open_store(config, store) as reader:
        _print(reader.commands(filters), "log", as_json=as_json)


def show(
    record: Annotated[
        str, typer.Argument(metavar="ID", help="A record's or session's id, or a unique beginning or end.")
    ],
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


def sessions(
    config: ConfigOption = Path("mitm.toml"),
    store: StoreOption = None,
    run: RunOption = None,
    identity: IdentityOption = None,
    resource: ResourceOption = None,
    since: SinceOption = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """List sessions (one connection's life each), the newest last.

    Example: onrecord sessions --identity devin --since 1d
    """
    from onrecord.scripts.since import parse_since

    filters = Filters(
        run=run, identity=identity, resource=resource, since=parse_since(since), limit=_limit(limit, as_json=as_json)
    )
    with quiet_pipe(), open_store(config, store) as reader:
        _print(reader.sessions(filters), "sessions", as_json=as_json)


def runs(
    config: ConfigOption = Path("mitm.toml"),
    store: StoreOption = None,
    identity: IdentityOption = None,
    since: SinceOption = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs: one task of one agent each, over all its sessions; the latest last.

    Example: onrecord runs --since 1d
    """
    from onrecord.scripts.since import parse_since

    filters = Filters(identity=identity, since=parse_since(since), limit=_limit(limit, as_json=as_json))
    with quiet_pipe(), open_store(config, store) as reader:
        _print(reader.runs(filters), "runs", as_json=as_json)


def search(
    text: Annotated[
        list[str], typer.Argument(metavar="TEXT...", help='Words; "a phrase" in quotes; begin* for a start.')
    ],
    config: ConfigOption = Path("mitm.toml"),
    store: StoreOption = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find commands, refusals and sessions by words in texts, errors, reasons and recorded results.

    Example: onrecord search drop table
    """
    from onrecord.recordings.search import search as find

    with quiet_pipe(), open_store(config, store) as reader:
        _print(find(reader, " ".join(text), _limit(limit, as_json=as_json)), "log", as_json=as_json)


def tail(
    one: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="A session, to follow all that flows in it.")
    ] = None,
    config: ConfigOption = Path("mitm.toml"),
    store: StoreOption = None,
    session: SessionOption = None,
    run: RunOption = None,
    identity: IdentityOption = None,
    resource: ResourceOption = None,
    kind: KindOption = None,
    verdict: VerdictOption = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="How many of the newest to begin with.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Follow: print the newest commands, then each one as it ends, until Ctrl-C.

    With a SESSION every piece of it is shown as it flows, a shell on the terminal, until it ends.

    Example: onrecord tail --verdict deny
    """
    if one is not None:
        from onrecord.scripts.replaying import follow

        with quiet_pipe(), contextlib.suppress(KeyboardInterrupt), open_store(config, store) as reader:
            try:
                follow(reader, one, as_json=as_json)
            except NotFoundError as error:
                sys.stderr.write(f"onrecord: {error}\n")
                raise typer.Exit(1) from None
        return
    filters = Filters(
        session=session, run=run, identity=identity, resource=resource, kind=kind, verdict=verdict, limit=limit
    )
    with quiet_pipe(), contextlib.suppress(KeyboardInterrupt), open_store(config, store) as reader:
        position = reader.newest()
        ended: set[str] = set()  # a command that ended just now may be found both ways
        if limit and (views := reader.log(filters)):
            _print(views, "tail", as_json=as_json)
            ended = {view["id"] for view in views if view["outcome"] is not None}
        while True:
            sys.stdout.flush()
            time.sleep(0.2)
            newest = min(reader.newest(), position + 5000)
            if newest > position:
                views = [view for view in reader.finished_since(position, newest, filters) if view["id"] not in ended]
                ended.clear()
                if views:
                    _print(views, "tail", as_json=as_json)
                position = newest


def replay(
    record: Annotated[str, typer.Argument(metavar="ID", help="A run, a session or a command.")],
    config: ConfigOption = Path("mitm.toml"),
    store: StoreOption = None,
    speed: Annotated[float, typer.Option("--speed", min=0.01, help="How many times as fast as it was.")] = 1.0,
    idle: Annotated[float, typer.Option("--idle", min=0.0, help="The longest pause, in seconds.")] = 2.0,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print all at once.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", "--seek", help="Begin so far into it: 90 (seconds), 1:30, 1:02:03.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Play a session, a whole run or one command back as it happened.

    What ran on a terminal is played on yours, through an emulator: nothing recorded is ever sent to it as it is.

    Example: onrecord replay 01a20521 --speed 4
    """
    from onrecord.recordings.replay import events
    from onrecord.scripts.replaying import parse_moment, play

    with quiet_pipe(), contextlib.suppress(KeyboardInterrupt), open_store(config, store) as reader:
        try:
            sequence = events(reader, record)
        except NotFoundError as error:
            sys.stderr.write(f"onrecord: {error}\n")
            raise typer.Exit(1) from None
        if as_json:
            sys.stdout.writelines(json_line({"what": event.what, "at": event.at, **event.view}) for event in sequence)
            return
        play(sequence, speed=speed, idle=idle, no_wait=no_wait, start=parse_moment(start))


def _limit(limit: int | None, *, as_json: bool) -> int | None:
    return limit if limit is not None or as_json else SHOWN


def _print(views: Iterable[View], what: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.writelines(json_line(view) for view in views)
        return
    views = list(views)  # few: without --json there is a limit
    from onrecord.scripts.screen import print_log
    from onrecord.scripts.screen_lists import print_runs, print_sessions

    if what == "sessions":
        print_sessions(views)
    elif what == "runs":
        print_runs(views)
    else:
        print_log(views, header=what != "tail")


def register(app: typer.Typer) -> None:
    """Add the reading commands."""
    for command in (runs, sessions, log, show, search, tail, replay):
        app.command()(command)
