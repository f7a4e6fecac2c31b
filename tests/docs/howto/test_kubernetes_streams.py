"""docs/howto/kubernetes-streams.md and replay.md: the policy decides as it says, the commands and options exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onrecord.policies import Deny
from onrecord.policies.testing import decide, kubernetes
from onrecord.scripts.main import app

HOWTO = Path(__file__).resolve().parents[3] / "docs/howto"
STREAMS, REPLAY = (HOWTO / "kubernetes-streams.md").read_text(), (HOWTO / "replay.md").read_text()


@pytest.mark.parametrize(
    ("subresource", "argv", "body", "reason"),
    [
        ("exec", ("sh", "-c", "id"), None, "no shells"),
        ("exec", ("tar", "-xmf", "-"), None, "not copied"),
        ("exec", ("tar", "cf", "-", "x"), None, ""),
        ("exec", ("ls",), None, ""),
        ("portforward", (), None, ""),
        ("portforward", (), {"port": 8080}, ""),
        ("portforward", (), {"port": 22}, "only port 8080"),
    ],
)
def test_the_policy_decides_as_it_says(tmp_path, subresource, argv, body, reason):
    policy = tmp_path / "streams.py"
    policy.write_text(re.findall(r"```python\n(.*?)```", STREAMS, re.DOTALL)[0])
    verdict = decide(policy, kubernetes("create", "pods", subresource=subresource, argv=argv, body=body))
    said = verdict.reason if isinstance(verdict, Deny) else ""
    assert reason in said if reason else "no policy allows" in said or not said


@pytest.mark.parametrize("line", re.findall(r"^\$ onrecord (.*)$", STREAMS + REPLAY, re.MULTILINE))
def test_each_command_and_option_exists(line):
    command, *rest = line.split()
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    for option in (word for word in rest if word.startswith("--")):
        assert option in done.output
