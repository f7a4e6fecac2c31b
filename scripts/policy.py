"""`onrecord policy`: run policy tests, and ask the configured policies about one command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from onrecord.policies.config import Config
    from onrecord.policies.engine import PolicyEngine
    from onrecord.policies.model import Command, Session
    from onrecord.policies.verdict import Ruling
    from onrecord.scripts.policy_tests import TestResult

_policy = typer.Typer(no_args_is_help=True, help="Test policies, and ask why a command would be decided as it is.")


def register(app: typer.Typer) -> None:
    """Add the `policy` group."""
    app.add_typer(_policy, name="policy")


@_policy.command("test")
def run_tests(
    paths: Annotated[list[Path], typer.Argument(help="test_*.py files, or folders that hold some", exists=True)],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Run the unit tests of policies; exit status 1 where one fails.

    Example: onrecord policy test policies/
    """
    from onrecord.policies.errors import PolicyError
    from onrecord.scripts.policy_tests import find_tests, run_file

    files = find_tests(paths)
    if not files:
        raise PolicyError(f"no test_*.py below {', '.join(str(path) for path in paths)}")
    results = [result for file in files for result in run_file(file)]
    ok = bool(results) and all(result.ok for result in results)
    if as_json:
        _print_json({"ok": ok, "tests": results})
    else:
        for result in results:
            _print_test(result)
        failed = sum(not result.ok for result in results)
        typer.echo(f"{len(results) - failed} passed, {failed} failed" if results else "no test_ functions")
    raise typer.Exit(0 if ok else 1)


@_policy.command("explain")
def explain(
    config: Annotated[Path, typer.Option("-c", "--config", help="the configuration")] = Path("mitm.toml"),
    resource: Annotated[str, typer.Option(help="the resource's name; for --http its host will do")] = "",
    groups: Annotated[str, typer.Option(help="the identity's groups, comma-separated")] = "",
    subject: Annotated[str, typer.Option(help="the identity's subject")] = "agent",
    sql: Annotated[str, typer.Option(help="SQL text")] = "",
    http: Annotated[str, typer.Option(help='method and URL: "POST https://…"')] = "",
    body: Annotated[str, typer.Option(help="the request's body")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a command")] = False,
) -> None:
    """Print what each policy says about a command, and the verdict; exit status 1 where it is refused.

    Example: onrecord policy explain -c mitm.toml --resource orders --groups agents --sql "DELETE FROM orders"
    """
    from onrecord.policies.config import load_config
    from onrecord.policies.errors import PolicyError
    from onrecord.policies.verdict import Allow

    if bool(sql) == bool(http):
        raise PolicyError("give one command: --sql TEXT or --http 'METHOD URL'")
    settings = load_config(config)
    engine = _engine(settings)
    name = resource or _resource_of(settings, http)
    session = _session(settings, name, subject, tuple(group for group in groups.split(",") if group))
    commands = _sql_commands(sql, session) if sql else [_http_command(http, body, session)]
    allowed = True
    for command in commands:
        answers, ruling = asyncio.run(engine.explain(command))
        ruling = _not_entitled(settings, session) or ruling
        allowed = allowed and isinstance(ruling.verdict, Allow)
        shown = {
            "command": {"kind": command.command_kind, "action": command.action, "text": command.text},
            "resource": name,
            "groups": list(session.identity.groups),
            "policies": engine.digest,
            "answers": [
                {"policy": answer.policy, "verdict": None if answer.ruling is None else answer.ruling.verdict}
                for answer in answers
            ],
            "policy": ruling.policy,
            "verdict": ruling.verdict,
        }
        if as_json:
            _print_json(shown)
        else:
            _print_explanation(command, [(answer.policy, answer.ruling) for answer in answers], ruling)
    raise typer.Exit(0 if allowed else 1)


def _engine(config: Config) -> PolicyEngine:
    from onrecord.policies.engine import PolicyEngine
    from onrecord.policies.policy_set import read_policy_set

    policies = read_policy_set(config.policies)
    engine = PolicyEngine(timeout=config.gateway.policy_timeout, stale_after=config.gateway.stale_policy)
    engine.prepare(policies)
    engine.commit(policies.digest)
    return engine


def _resource_of(config: Config, http: str) -> str:
    from urllib.parse import urlsplit

    from onrecord.policies.config import HttpResource
    from onrecord.policies.errors import PolicyError

    host = urlsplit(http.split(maxsplit=1)[-1]).hostname if http else None
    for name, found in config.resources.items():
        if isinstance(found, HttpResource) and host and host in found.hosts:
            return name
    raise PolicyError("name the resource with --resource: " + ", ".join(sorted(config.resources)))


def _session(config: Config, name: str, subject: str, groups: tuple[str, ...]) -> Session:
    from onrecord.policies.errors import PolicyError
    from onrecord.policies.testing import session

    found = config.resources.get(name)
    if found is None:
        raise PolicyError(f"there is no resource {name!r}: {', '.join(sorted(config.resources))}")
    return session(
        name,
        type=found.type,
        subject=subject,
        groups=groups,
        default=found.default,
        admin=found.admin,
        unknown=found.unknown,
    )


def _not_entitled(config: Config, session: Session) -> Ruling | None:
    """The refusal of an identity in none of the resource's groups: it gets no session at all."""
    from onrecord.policies.verdict import Deny, Ruling

    entitled = config.resources[session.resource.name].groups
    if not entitled or set(entitled) & set(session.identity.groups):
        return None
    return Ruling(Deny(f"not in a group of this resource: {', '.join(entitled)}"), "onrecord:identity")


def _sql_commands(text: str, session: Session) -> list[Command]:
    from onrecord.policies.errors import PolicyError
    from onrecord.policies.sql import analyse, command_of

    commands: list[Command] = [command_of(found, session) for found in analyse(text).statements]
    if not commands:
        raise PolicyError(f"--sql holds no statement: {text!r}")
    return commands


def _http_command(text: str, body: str, session: Session) -> Command:
    from onrecord.policies.errors import PolicyError
    from onrecord.policies.testing import http

    method, _, url = text.strip().partition(" ")
    if not url:
        raise PolicyError(f"--http {text!r}: write 'METHOD URL', such as 'POST https://billing.internal/refunds'")
    return http(method, url.strip(), body=body, within=session)


def _print_json(value: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def _print_test(result: TestResult) -> None:
    from rich.console import Console
    from rich.text import Text

    word = Text("ok  ", style="green") if result.ok else Text("FAIL", style="bold red")
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble(word, f" {result.file}::{result.name}"))
    if result.error:
        console.print(Text("     " + result.error.replace("\n", "\n     "), style="red"))


_STYLES = {"allow": "green", "hold": "yellow", "deny": "bold red"}


def _print_explanation(command: Command, answers: list[tuple[str, Ruling | None]], ruling: Ruling) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(f"{command.command_kind} ({command.action}): {command.text}"))
    table = Table("policy", "says", box=None, header_style="dim")
    for policy, answer in answers:
        table.add_row(Text(policy), _verdict_text(answer))
    if answers:
        console.print(table)
    console.print(Text.assemble("→ ", _verdict_text(ruling), f"  by {ruling.policy}"))


def _verdict_text(ruling: Ruling | None) -> Text:
    from rich.text import Text

    if ruling is None:
        return Text("nothing", style="dim")
    verdict = ruling.verdict
    word = str(verdict.__struct_config__.tag)
    reason = getattr(verdict, "reason", "")
    return Text.assemble((word, _STYLES[word]), f": {reason}" if reason else "")
