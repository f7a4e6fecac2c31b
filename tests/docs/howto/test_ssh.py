"""What docs/howto/ssh.md shows is true."""

from __future__ import annotations

import re
from pathlib import Path

from onrecord.policies import Deny, Hold
from onrecord.policies.config import SshResource, load_config
from onrecord.policies.testing import answer, ssh

PAGE = (Path(__file__).resolve().parents[3] / "docs/howto/ssh.md").read_text()


def sample(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found[0])


def test_the_configuration_loads(tmp_path: Path) -> None:
    path = tmp_path / "mitm.toml"
    path.write_text(sample("toml"))
    (tmp_path / "deploy_ed25519").touch(mode=0o600)
    found = load_config(path).resources["app1"]
    assert isinstance(found, SshResource)
    assert (found.user, found.host, found.interactive) == ("deploy", "app1.internal", "deny")


def test_the_policy_decides_as_it_says(tmp_path: Path) -> None:
    policy = tmp_path / "hosts.py"
    policy.write_text(sample("python"))
    assert isinstance(answer(policy, ssh("cat /etc/ssl/private/site.pem")), Deny)
    assert isinstance(answer(policy, ssh("sudo sh -c 'cat </etc/ssl/private/site.pem'")), Deny)
    assert isinstance(answer(policy, ssh("systemctl restart app")), Hold)
    assert answer(policy, ssh("uptime")) is None


def test_the_commands_that_it_shows_have_these_options() -> None:
    from typer.testing import CliRunner

    from onrecord.scripts.main import app

    shown = CliRunner().invoke(app, ["token", "--help"], env={"COLUMNS": "200"}).output
    assert "--ssh" in shown
