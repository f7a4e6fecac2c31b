"""`onrecord token`, `env` and `run`: what an agent needs to use its ordinary tools through the gateway."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from onrecord.policies.config import Config

ConfigOption = Annotated[Path, typer.Option("-c", "--config", help="The gateway's configuration.")]
SubjectOption = Annotated[str, typer.Option("--subject", help="Whose token: the agent's or the human's name.")]
GroupsOption = Annotated[list[str] | None, typer.Option("--groups", help="Groups, apart by commas or repeated.")]
HumanOption = Annotated[bool, typer.Option("--human", help="A human's token, which may approve.")]
BehalfOption = Annotated[
    str | None, typer.Option("--on-behalf-of", help="The human for whom the agent works (RFC 8693 `act`).")
]
TtlOption = Annotated[str, typer.Option("--ttl", help='Lifetime: seconds, or "15 min", "1h".')]
RunOption = Annotated[str | None, typer.Option("--run", help="The run id to sign into the token.")]
TokenOption = Annotated[
    str | None, typer.Option("--token", help="File with the token, - for stdin; else ONRECORD_TOKEN is read.")
]

FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="Write the files that the variables name here: for an agent that is another user."),
]

TOKEN_VARIABLE = "ONRECORD_TOKEN"  # noqa: S105  # a variable's name
MAX_TOKEN = 16 * 1024


def token(
    subject: Annotated[
        str | None, typer.Option("--subject", help="Whose token: the agent's or the human's name.")
    ] = None,
    config: ConfigOption = Path("mitm.toml"),
    groups: GroupsOption = None,
    human: HumanOption = False,
    on_behalf_of: BehalfOption = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", help='Lifetime: seconds, or "15 min", "1h" (the default).')
    ] = None,
    run: RunOption = None,
    ssh: Annotated[
        Path | None,
        typer.Option("--ssh", help="Make an SSH certificate for the key at this path instead; 10 minutes by default."),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", help="With --ssh: the token to exchange, a file or - for stdin.")
    ] = None,
) -> None:
    """Mint a token from the built-in development issuer and print it; or exchange one for an SSH certificate.

    Tokens are minted only where mitm.toml has an issuer "onrecord:dev". A certificate needs the gateway's state.

    Example: onrecord token --subject devin --groups agents --on-behalf-of alice@example.com
    """
    from onrecord.policies.config import load_config

    loaded = load_config(config)
    if ssh is None:
        if subject is None or token is not None:
            raise typer.BadParameter("--subject is missing" if subject is None else "--token needs --ssh")
        print(_mint(loaded, subject, groups, human, on_behalf_of, ttl or "1h", run))
        return
    from onrecord.scripts.agent_ssh import identity_of, write_certificate

    lifetime = _seconds(ttl or "10 min", 3600.0)
    if subject is not None:
        secret = _mint(loaded, subject, groups, human, on_behalf_of, f"{lifetime:g} s", run)
    else:
        secret = read_token(token)
    print(write_certificate(loaded, ssh, identity_of(loaded, secret), lifetime))


def env(
    config: ConfigOption = Path("mitm.toml"),
    token: TokenOption = None,
    folder: FolderOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of shell lines.")] = False,
) -> None:
    """Print the variables with which an agent's tools go through the gateway.

    The files that they name hold no secret; without --folder they are in the gateway's state, for its own user.

    Example: eval "$(onrecord env -c mitm.toml --token token.txt)"
    """
    from onrecord.policies.config import load_config
    from onrecord.scripts.environment import agent_environment

    variables = agent_environment(load_config(config), read_token(token), folder) | _renewed_in(token)
    if as_json:
        print(json.dumps(variables, indent=2))
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def run(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD [ARGS]...", help="The command to run.")],
    config: ConfigOption = Path("mitm.toml"),
    token: TokenOption = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Mint a development token for this subject instead.")
    ] = None,
    groups: GroupsOption = None,
    human: HumanOption = False,
    on_behalf_of: BehalfOption = None,
    ttl: TtlOption = "1h",
    run_id: RunOption = None,
    folder: FolderOption = None,
) -> None:
    """Run a command whose tools go through the gateway; its exit status is the command's.

    It sets variables only: a program that ignores them is not held. docs/enforcement.md says what holds it.

    Example: onrecord run -c mitm.toml --subject devin --groups agents -- psql -d orders
    """
    from onrecord.policies.config import load_config
    from onrecord.scripts.environment import agent_environment, merged

    loaded = load_config(config)
    if subject is None:
        if groups or human or on_behalf_of or run_id:
            raise typer.BadParameter("--groups, --human, --on-behalf-of and --run need --subject")
        secret = read_token(token)
    elif token is not None:
        raise typer.BadParameter("give --token or --subject, not both")
    else:
        secret = _mint(loaded, subject, groups, human, on_behalf_of, ttl, run_id)
    variables = merged(os.environ, agent_environment(loaded, secret, folder) | _renewed_in(token))
    sys.stdout.flush()
    _keep_certificate(variables)
    try:
        os.execvpe(command[0], command, variables)  # noqa: S606  # running the user's command is what `run` is for
    except FileNotFoundError:
        sys.stderr.write(f"onrecord run: {command[0]}: command not found\n")
        sys.exit(127)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"onrecord run: {command[0]}: cannot be run: {error}\n")
        sys.exit(126)


def register(app: typer.Typer) -> None:
    """Add `token`, `env` and `run`."""
    app.command()(token)
    app.command()(env)
    app.command(context_settings={"allow_interspersed_args": False})(run)


def _mint(
    config: Config,
    subject: str,
    groups: list[str] | None,
    human: bool,  # an option passed on as it came
    on_behalf_of: str | None,
    ttl: str,
    run: str | None,
) -> str:
    from onrecord.policies.dev_issuer import DEV_ISSUER, mint
    from onrecord.policies.errors import ConfigError, Problem

    issuer = next((entry for entry in config.issuers if entry.issuer == DEV_ISSUER), None)
    if issuer is None:
        fix = f'add [[issuers]] with issuer = "{DEV_ISSUER}", or get the token from your identity provider'
        raise ConfigError([Problem(f"{config.path.name}: issuers", f'no issuer "{DEV_ISSUER}"', fix)])
    seconds = _seconds(ttl, issuer.max_ttl)
    names = [name.strip() for entry in groups or [] for name in entry.split(",")]
    if not subject.strip() or (groups and not all(names)):
        raise typer.BadParameter("--subject and --groups must not be empty")
    return mint(
        config.gateway.state,
        subject=subject,
        groups=names,
        audience=issuer.audience[0],
        human=human,
        on_behalf_of=on_behalf_of,
        ttl=seconds,
        run=run,
        groups_claim=issuer.groups_claim or "groups",
        run_claim=issuer.run_claim or "run_id",
    )


def _seconds(ttl: str, most: float) -> float:
    from onrecord.policies.config.values import BadValue, duration

    try:
        seconds = duration(float(ttl) if ttl.isascii() and ttl.isdigit() else ttl)
    except BadValue as error:
        raise typer.BadParameter(f"--ttl: {error.reason} ({error.fix})") from error
    if not 1 <= seconds <= most:
        raise typer.BadParameter(f"--ttl: {ttl!r} is not between 1 s and the max_ttl, {most:g} s")
    return seconds


def _keep_certificate(variables: dict[str, str]) -> None:
    """Renew the SSH certificate for as long as the command lives, where the gateway has SSH."""
    from onrecord.scripts.agent_certificates import KEYS, keep_renewed

    settings = variables.get("ONRECORD_SSH_CONFIG")
    if settings is None or KEYS not in variables:
        return
    try:
        keep_renewed(Path(variables[KEYS]), Path(settings).with_name("certify"), variables)
    except OSError as error:
        sys.stderr.write(f"onrecord run: no SSH certificate: {error.strerror}\n")


def _renewed_in(source: str | None) -> dict[str, str]:
    """Where ssh and kubectl find the token of the moment: in the file that it was given in, if it is one."""
    from onrecord.scripts.agent_files import TOKEN_FILE

    path = Path(source) if source is not None and source != "-" else None
    return {TOKEN_FILE: str(path.resolve())} if path is not None and path.is_file() else {}


def read_token(source: str | None) -> str:
    """The token from a file, stdin or ONRECORD_TOKEN. What is wrong with it is said without showing it."""
    if source is None:
        text = os.environ.get(TOKEN_VARIABLE, "")
        where = TOKEN_VARIABLE
        if not text:
            raise typer.BadParameter(f"no token: give --token FILE or set {TOKEN_VARIABLE}")
    elif source == "-":
        text, where = sys.stdin.read(MAX_TOKEN + 2), "stdin"
    else:
        where = source
        try:
            with Path(source).open(encoding="ascii") as file:
                text = file.read(MAX_TOKEN + 2)
        except UnicodeDecodeError as error:
            raise typer.BadParameter(f"--token {source}: not a token: it is not ASCII text") from error
        except OSError as error:
            raise typer.BadParameter(f"--token {source}: {error.strerror}") from error
    text = text.strip()
    if not text or len(text) > MAX_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise typer.BadParameter(f"{where}: not a token: one line of at most {MAX_TOKEN} characters without blanks")
    return text
