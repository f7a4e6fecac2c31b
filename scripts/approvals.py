"""`onrecord approvals`, `approve`, `deny`, `kill`, `kills` and `unkill`: a human decides, through the admin API."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onrecord.scripts.agent import ConfigOption
from onrecord.scripts.terminal import json_line

if TYPE_CHECKING:
    from onrecord.scripts.admin_client import AdminClient

HumanToken = Annotated[
    str | None,
    typer.Option("--token", help="File with a human's token, - for stdin; else ONRECORD_TOKEN, else `onrecord login`."),
]
UrlOption = Annotated[str | None, typer.Option("--url", help="The admin page's address, where there is no mitm.toml.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is recorded, and the agent reads it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
IdArgument = Annotated[str, typer.Argument(help="The approval's id, or a unique beginning or end of it.")]


def approvals(
    id: Annotated[str | None, typer.Argument(help="Show one in full.")] = None,
    config: ConfigOption = Path("mitm.toml"),
    token: HumanToken = None,
    url: UrlOption = None,
    pending: Annotated[bool, typer.Option("--pending", help="Only what waits for a decision.")] = False,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="From the record, with every step; needs no login and no gateway.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List held commands, newest last; with an id show everything that whoever decides must see.

    Example: onrecord approvals --pending
    """
    from onrecord.scripts.approvals_screen import print_approval, print_approvals, print_recorded

    if recorded:
        from onrecord.policies.config import load_config
        from onrecord.recordings.queries import Filters, Reader

        with Reader(load_config(config).recordings.store) as reader:
            views = [reader.show(id)] if id is not None else reader.approvals(Filters())
        if as_json:
            for view in views:
                sys.stdout.write(json_line(view))
        else:
            print_recorded(views)
        return

    def show(client: AdminClient) -> None:
        if id is not None:
            found = client.approval(id)
            if as_json:
                sys.stdout.write(json_line(found))
            else:
                print_approval(found)
            return
        listed = client.approvals(pending=pending)
        if as_json:
            for view in listed:
                sys.stdout.write(json_line(view))
        else:
            print_approvals(listed)

    _with_client(config, token, url, show)


def approve(
    id: IdArgument,
    config: ConfigOption = Path("mitm.toml"),
    token: HumanToken = None,
    url: UrlOption = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a held command run, once. Needs a login of the last minutes, and a group that may decide it.

    Example: onrecord approve 0197a3c2 --reason "checked with finance"
    """
    _decide(id, "approve", config, token, url, reason, as_json)


def deny(
    id: IdArgument,
    config: ConfigOption = Path("mitm.toml"),
    token: HumanToken = None,
    url: UrlOption = None,
    reason: ReasonOption = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take back one that was granted and not used.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Refuse a held command; with --revoke take back what was granted and has not run yet.

    Example: onrecord deny 0197a3c2 --reason "not on a Friday"
    """
    _decide(id, "revoke" if revoke else "deny", config, token, url, reason, as_json)


def kill(
    target: Annotated[str, typer.Argument(help="A run, a session or an identity.")],
    config: ConfigOption = Path("mitm.toml"),
    token: HumanToken = None,
    url: UrlOption = None,
    kind: Annotated[
        str | None, typer.Option("--as", help='What it is: "run", "session" or "identity"; else the record tells.')
    ] = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Stop a run, a session or an identity: what is open ends, nothing new begins, until `onrecord unkill`.

    Example: onrecord kill devin --reason "leaked token"
    """
    from onrecord.scripts.kill_target import find_target

    if kind not in (None, "run", "session", "identity"):
        raise typer.BadParameter(f"--as: {kind!r} is none of run, session, identity")

    def stop(client: AdminClient) -> None:
        what, value = (kind, target) if kind is not None else find_target(config, target)
        done = client.kill(what, value, reason)
        print(
            json.dumps(done | {"target": what, "value": value})
            if as_json
            else f"stopped: {what} {value} ({done['id']})"
        )

    _with_client(config, token, url, stop)


def kills(
    config: ConfigOption = Path("mitm.toml"),
    token: HumanToken = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is stopped.

    Example: onrecord kills
    """
    from onrecord.scripts.approvals_screen import print_kills

    def show(client: AdminClient) -> None:
        found = client.kills()
        if as_json:
            for view in found:
                sys.stdout.write(json_line(view))
        else:
            print_kills(found)

    _with_client(config, token, url, show)


def unkill(
    id: Annotated[str, typer.Argument(help="The switch's id, as `onrecord kills` lists it.")],
    config: ConfigOption = Path("mitm.toml"),
    token: HumanToken = None,
    url: UrlOption = None,
) -> None:
    """Lift a kill switch.

    Example: onrecord unkill 0197a3c2-7d1e-7000-8000-000000000000
    """

    def lift(client: AdminClient) -> None:
        print(f"lifted: {client.lift(id)['id']}")

    _with_client(config, token, url, lift)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (approvals, approve, deny, kill, kills, unkill):
        app.command()(command)


def _decide(
    id: str,
    decision: str,
    config: Path,
    token: str | None,
    url: str | None,
    reason: str,
    as_json: bool,  # an option passed on as it came
) -> None:
    def decide(client: AdminClient) -> None:
        done = client.decide(id, decision, reason)
        print(json.dumps(done) if as_json else f"{done['id']}: {done['state']}")

    _with_client(config, token, url, decide)


def _with_client(path: Path, token: str | None, url: str | None, use: Callable[[Any], None]) -> None:
    """Do it with a client; a no of the gateway is exit status 1."""
    from onrecord.scripts.admin_client import AdminClient, AdminError, admin_client
    from onrecord.scripts.human_token import human_token

    if url is not None:
        client = AdminClient(url, human_token(token, url))
    else:
        from onrecord.policies.config import load_config

        loaded = load_config(path)
        client = admin_client(loaded, human_token(token, loaded.gateway.admin_url))
    with client:
        try:
            use(client)
        except AdminError as error:
            from onrecord.scripts.terminal import clean

            sys.stderr.write(f"onrecord: {clean(str(error))}\n")
            raise typer.Exit(1 if error.status in (401, 403, 404, 409) else 2) from None
