"""`onrecord demo`: the whole story on embedded real parts, in under a minute."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from onrecord.scripts.demonstration.screen import Screen
    from onrecord.scripts.demonstration.stage import Stage


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running for a look around.")] = False,
    attack: Annotated[bool, typer.Option("--attack", help="Show the gateway under attack, too.")] = False,
) -> None:
    """See it work: a real PostgreSQL, an HTTPS API and an agent, what is refused, what is on record.

    Example: onrecord demo --keep
    """
    from onrecord.scripts.demonstration.screen import Screen
    from onrecord.scripts.parts.postgres import PartError

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exit runs the clean-up, a plain end would not
    screen = Screen()
    try:
        _play(screen, keep=keep, attacked=attack)
    except KeyboardInterrupt:
        screen.note("stopped")
    except PartError as error:
        screen.warning(f"the demo could not go on: {error}")
        raise typer.Exit(1) from None


def _play(screen: Screen, *, keep: bool, attacked: bool) -> None:
    from onrecord.scripts.demonstration.attack import attack
    from onrecord.scripts.demonstration.stage import open_stage
    from onrecord.scripts.demonstration.story import tell

    screen.chapter("onrecord: a gateway between agents and production")
    with open_stage(screen) as stage:
        tell(screen, stage)
        if attacked:
            attack(screen, stage)
        if keep:
            _keep(screen, stage)
    if not keep:
        screen.chapter(
            "That was all", "Everything that the demo started has ended. onrecord demo --keep leaves it running,"
        )
        screen.note("onrecord demo --attack shows forged tokens, a kill -9 and an edited byte.")


def _keep(screen: Screen, stage: Stage) -> None:
    token = stage.folder / "agent.token"
    token.touch(0o600)
    token.write_text(stage.agent.variables.get("PGPASSWORD", ""))
    screen.chapter("Yours now", "In another terminal, as the agent (the token is good for an hour):")
    config = stage.config
    program = f"{sys.executable} -m onrecord.scripts.main"
    for line in (
        f'eval "$({program} env -c {config} --token {token})"',
        *(() if stage.tls else ("export PGSSLMODE=disable",)),
        f"{stage.agent.psql} -d orders -U devin",
        "curl https://billing.internal/v1/invoices",
    ):
        screen.console.print("  " + line, soft_wrap=True, markup=False)
    screen.note("and as the security engineer:")
    for line in ("log", "tail", "sessions", "search refund", "verify"):
        screen.console.print(f"  {program} {line} -c {config}", soft_wrap=True, markup=False)
    screen.note("Ctrl-C ends it all.")
    threading.Event().wait()


def register(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command()(demo)
