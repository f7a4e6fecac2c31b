"""scripts/policy.py: `onrecord policy`, and the samples of docs/howto/write-a-policy.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from onrecord.policies.config import (
    Config,
    GatewayConfig,
    HttpResource,
    PolicyConfig,
    PostgresResource,
    RecordingsConfig,
)
from onrecord.policies.errors import PolicyError
from onrecord.policies.hooks import HOOKS
from onrecord.scripts import policy as command_group

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "write-a-policy.md"

app = typer.Typer()
command_group.register(app)


@app.command()
def other() -> None:
    """A second command, so that the app keeps its groups."""


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def samples(tmp_path):
    """The Python samples of the how-to, as the files that their first line names."""
    for text in re.findall(r"```python\n(.*?)```", HOWTO.read_text(), re.DOTALL):
        (tmp_path / text.split("\n")[0].removeprefix("# ")).write_text(text)
    return tmp_path


@pytest.fixture
def configured(samples, monkeypatch):
    """A configuration of two resources and the how-to's policy."""
    file = samples / "guard_orders.py"
    config = Config(
        path=samples / "mitm.toml",
        gateway=GatewayConfig(state=samples / "state"),
        recordings=RecordingsConfig(store=samples / "recordings.db"),
        issuers=(),
        policies=(PolicyConfig(name="guard_orders", file="guard_orders.py", path=file, resources=("orders",)),),
        resources={
            "orders": PostgresResource(
                name="orders",
                type="postgres",
                groups=("agents",),
                default="allow",
                host="h",
                port=1,
                database="d",
                user="u",
            ),
            "billing": HttpResource(name="billing", type="http", hosts=("billing.internal",)),
        },
    )
    monkeypatch.setattr("onrecord.policies.config.load_config", lambda path: config)
    return samples


def test_the_samples_of_the_how_to_pass(samples):
    result = run("policy", "test", samples)
    assert result.exit_code == 0, result.output
    assert "3 passed, 0 failed" in result.output


def test_the_how_to_names_every_hook():
    text = HOWTO.read_text()
    assert [name for name in HOOKS if f"`{name}" not in text] == []


def test_a_failing_test_gives_exit_status_one_and_json_says_which(samples):
    with (samples / "test_guard_orders.py").open("a") as file:
        file.write("\ndef test_wrong():\n    assert decide(POLICY, sql('SELECT 1')) is None\n")
    result = run("policy", "test", samples, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["ok"] is False
    assert [test["name"] for test in found["tests"] if not test["ok"]] == ["test_wrong"]
    assert run("policy", "test", samples).exit_code == 1


def test_no_tests_at_all_is_wrong_use(tmp_path):
    assert isinstance(run("policy", "test", tmp_path).exception, PolicyError)


@pytest.mark.parametrize(
    ("arguments", "code", "policy", "kind"),
    [
        (["--resource", "orders", "--groups", "agents", "--sql", "DROP TABLE orders"], 1, "guard_orders", "deny"),
        (["--resource", "orders", "--groups", "agents", "--sql", "DELETE FROM orders"], 1, "guard_orders", "hold"),
        (["--resource", "orders", "--groups", "agents", "--sql", "SELECT 1"], 0, "onrecord:default", "allow"),
        (["--resource", "orders", "--groups", "interns", "--sql", "SELECT 1"], 1, "onrecord:identity", "deny"),
        (["--groups", "agents", "--http", "POST https://billing.internal/refunds"], 1, "onrecord:default", "deny"),
    ],
)
def test_explain_says_who_decided_and_its_exit_status_follows(configured, arguments, code, policy, kind):
    result = run("policy", "explain", *arguments, "--json")
    assert result.exit_code == code, result.output
    found = json.loads(result.stdout)
    assert (found["policy"], found["verdict"]["type"]) == (policy, kind)
    assert found["policies"].startswith("sha256:")
    shown = run("policy", "explain", *arguments)
    assert shown.exit_code == code
    assert policy in shown.output


def test_explain_takes_every_statement_and_one_refused_is_refused(configured):
    text = "SELECT 1; DROP TABLE orders; SELECT 2"
    result = run("policy", "explain", "--resource", "orders", "--groups", "agents", "--sql", text, "--json")
    assert result.exit_code == 1
    assert [json.loads(line)["verdict"]["type"] for line in result.stdout.splitlines()] == ["allow", "deny", "allow"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--sql", "SELECT 1", "--http", "GET https://h/"],
        ["--resource", "nope", "--sql", "SELECT 1"],
        ["--sql", "SELECT 1"],
        ["--resource", "orders", "--sql", "-- nothing"],
        ["--resource", "billing", "--http", "https://billing.internal/"],
        ["--http", "GET https://elsewhere.example/"],
    ],
)
def test_wrong_use_is_an_error(configured, arguments):
    assert isinstance(run("policy", "explain", *arguments).exception, PolicyError)
