from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from mitmproxy.certs import CertStore
from typer.testing import CliRunner

from onrecord.policies.config import IssuerConfig
from onrecord.policies.errors import OnrecordError
from onrecord.policies.identity import Authenticator
from onrecord.scripts.agent import register

CONFIG = """
[gateway]
http = "127.0.0.1:8080"
postgres = "127.0.0.1:5433"
state = "state"

[recordings]
store = "state/recordings.db"

[[issuers]]
issuer = "{issuer}"
audience = ["gateway one", "other"]
max_ttl = "2 h"
groups_claim = "roles"
"""

# The command group alone, with main's way to report errors.
COMMAND = """
import sys, typer
from onrecord.policies.errors import OnrecordError
from onrecord.scripts import agent
app = typer.Typer(pretty_exceptions_enable=False)
agent.register(app)
try:
    app()
except OnrecordError as error:
    sys.stderr.write(f"onrecord: {error}\\n")
    sys.exit(2)
"""


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


class Agent:
    """The three commands in a folder with a mitm.toml and a gateway CA; `run` becomes a process, as it replaces it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "state" / "ca").mkdir(parents=True)
        (folder / "state").chmod(0o700)
        self.configure("onrecord:dev")

    def configure(self, issuer: str) -> None:
        (self.folder / "mitm.toml").write_text(CONFIG.format(issuer=issuer))

    def __call__(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Done:
        base = {name: value for name, value in os.environ.items() if name != "ONRECORD_TOKEN"}
        variables = {**base, "COLUMNS": "300", **(env or {})}
        if arguments[0] == "run":
            command = [sys.executable, "-c", COMMAND, *arguments]
            done = subprocess.run(
                command, cwd=self.folder, env=variables, input=stdin, capture_output=True, text=True, timeout=60
            )
            return Done(done.returncode, done.stdout, done.stderr)
        app = typer.Typer(pretty_exceptions_enable=False)
        register(app)
        with contextlib.chdir(self.folder):
            result = CliRunner(env={"ONRECORD_TOKEN": None, **variables}).invoke(app, arguments, input=stdin)
        if isinstance(result.exception, OnrecordError):
            return Done(2, result.stdout, f"{result.stderr}{result.exception}")
        return Done(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


@pytest.fixture
def ready(agent: Agent) -> Agent:
    """Where the gateway has run and made its CA."""
    CertStore.from_store(agent.folder / "state" / "ca", "mitmproxy", 2048)
    return agent


async def test_token_prints_a_token_that_the_gateway_accepts_and_nothing_else(agent: Agent) -> None:
    done = agent(
        *("token", "--subject", "devin", "--groups", "agents, ci", "--groups", "night"),
        *("--on-behalf-of", "alice@example.com", "--ttl", "15 min", "--run", "run-1"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    issuer = IssuerConfig(issuer="onrecord:dev", audience=("gateway one",), groups_claim="roles", max_ttl=900.0)
    checks = Authenticator([issuer], agent.folder / "state")
    found = await checks.authenticate(done.stdout.removesuffix("\n"), client="127.0.0.1")
    assert (found.subject, found.groups, found.on_behalf_of) == (
        "devin",
        ("agents", "ci", "night"),
        "alice@example.com",
    )
    assert (found.kind, found.run) == ("agent", "run-1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--subject", "devin", "--ttl", "3h"], "max_ttl"),
        (["--subject", "devin", "--ttl", "0"], "--ttl"),
        (["--subject", "devin", "--ttl", "soon"], "--ttl"),
        (["--subject", "devin", "--ttl", "nan"], "--ttl"),
        (["--subject", ""], "--subject"),
        (["--subject", "devin", "--groups", "a,,b"], "--groups"),
        (["--subject", "bob", "--human", "--on-behalf-of", "x"], "human"),
        (["--groups", "agents"], "--subject"),
        (["--subject", "devin", "-c", "missing.toml"], "missing.toml"),
    ],
)
def test_token_refuses_wishes_that_make_no_sense(agent: Agent, arguments: list[str], said: str) -> None:
    done = agent("token", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_token_refuses_where_the_dev_issuer_is_not_configured(agent: Agent) -> None:
    agent.configure("https://idp.example.com")
    done = agent("token", "--subject", "devin")
    assert (done.returncode, done.stdout) == (2, "")
    assert "onrecord:dev" in done.stderr
    assert not (agent.folder / "state" / "dev-issuer").exists()


def test_env_prints_lines_that_a_shell_reads_back(ready: Agent) -> None:
    printed = ready("env", env={"ONRECORD_TOKEN": "a.b.c"})
    assert printed.returncode == 0, printed.stderr
    shell = subprocess.run(
        ["sh", "-c", f'{printed.stdout}\nprintf %s "$HTTPS_PROXY $PGPASSWORD $JAVA_TOOL_OPTIONS"'],
        capture_output=True,
        text=True,
        timeout=20,
    )
    proxy, password, java = shell.stdout.split(" ", 2)
    assert proxy == "http://onrecord:a.b.c@127.0.0.1:8080"
    assert password == "a.b.c"
    assert java.startswith("-Djavax.net.ssl.trustStore=")
    assert [shlex.split(line)[0] for line in printed.stdout.splitlines()] == ["export"] * len(
        printed.stdout.splitlines()
    )


def test_env_gives_one_json_object_and_reads_the_token_from_file_or_stdin(ready: Agent) -> None:
    (ready.folder / "token").write_text("a.b.c\n")
    from_file = ready("env", "--json", "--token", "token", env={"ONRECORD_TOKEN": "other"})
    from_stdin = ready("env", "--json", "--token", "-", stdin="a.b.c\n")
    assert json.loads(from_file.stdout)["PGPASSWORD"] == "a.b.c"
    renewed_in = {"ONRECORD_TOKEN_FILE": str(ready.folder / "token")}
    assert json.loads(from_stdin.stdout) | renewed_in == json.loads(from_file.stdout)


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "x" * 20_000, "tökn", "esc\x1b"])
def test_env_refuses_what_is_no_token_without_showing_it(ready: Agent, content: str) -> None:
    (ready.folder / "token").write_text(content)
    done = ready("env", "--token", "token")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a token" in done.stderr
    assert not content.strip() or content not in done.stderr


def test_env_says_what_is_missing(agent: Agent) -> None:
    assert "ONRECORD_TOKEN" in agent("env").stderr
    assert "nowhere" in agent("env", "--token", "nowhere").stderr
    done = agent("env", env={"ONRECORD_TOKEN": "a.b.c"})
    assert done.returncode == 2
    assert "onrecord up" in done.stderr


def test_run_gives_the_command_its_environment_and_returns_its_status(ready: Agent) -> None:
    done = ready(
        *("run", "--", "sh", "-c", 'printf "%s|%s|%s" "$PGHOST" "$PGHOSTADDR" "$*"; exit 7', "name", "-c", "--json"),
        env={"ONRECORD_TOKEN": "a.b.c", "PGHOSTADDR": "10.0.0.1"},
    )
    assert (done.returncode, done.stdout) == (7, "127.0.0.1||-c --json")


async def test_run_mints_a_development_token_for_its_subject(ready: Agent) -> None:
    done = ready(
        "run", "--subject", "devin", "--groups", "agents", "--run", "r1", "sh", "-c", 'printf %s "$PGPASSWORD"'
    )
    issuer = IssuerConfig(issuer="onrecord:dev", audience=("gateway one",), groups_claim="roles")
    found = await Authenticator([issuer], ready.folder / "state").authenticate(done.stdout, client="127.0.0.1")
    assert (found.subject, found.groups, found.run) == ("devin", ("agents",), "r1")


def test_run_says_why_a_command_does_not_start(ready: Agent) -> None:
    (ready.folder / "plain").write_text("")
    env = {"ONRECORD_TOKEN": "a.b.c"}
    assert ready("run", "--", "no-such-command", env=env).returncode == 127
    assert ready("run", "--", "./plain", env=env).returncode == 126
    assert ready("run", env=env).returncode == 2
    assert ready("run", "--groups", "x", "--", "true", env=env).returncode == 2
    assert ready("run", "--subject", "x", "--token", "y", "--", "true", env=env).returncode == 2
