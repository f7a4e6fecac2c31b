"""What README and quick start show is true: the configuration loads, the policy decides, the commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onrecord.policies import Deny
from onrecord.policies.config import load_config
from onrecord.policies.testing import decide, sql
from onrecord.scripts.main import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
QUICK_START = (ROOT / "docs/quickstart.md").read_text()


def sample(text: str, language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_quick_starts_configuration_loads(tmp_path):
    path = tmp_path / "mitm.toml"
    path.write_text(sample(QUICK_START, "toml"))
    config = load_config(path)
    assert set(config.resources) == {"orders", "billing"}


def test_the_readmes_policy_decides_as_it_says(tmp_path):
    policy = tmp_path / "guard_orders.py"
    policy.write_text(sample(README, "python"))
    assert isinstance(decide(policy, sql("DROP TABLE orders")), Deny)
    assert isinstance(decide(policy, sql("DELETE FROM orders")), Deny)
    silent = decide(policy, sql("DELETE FROM orders WHERE id = 1"))
    assert isinstance(silent, Deny)
    assert "no policy allows" in silent.reason  # the resource's default speaks


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^\$ onrecord (\w+)", README + QUICK_START, re.MULTILINE))))
def test_each_command_that_is_shown_exists_and_its_help_has_an_example(command):
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_each_link_of_the_readme_leads_somewhere(link):
    assert (ROOT / link).exists()


def test_each_how_to_is_linked_from_the_readme():
    pages = {f"docs/howto/{path.name}" for path in (ROOT / "docs/howto").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)#:]+)\)", README))
