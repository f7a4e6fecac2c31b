"""Certificates renewed by themselves: the login `+certificate`, what `onrecord env` writes, and `onrecord run`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from onrecord.scripts.parts.gateway import wait_until
from tests.shims.ssh.conftest import Lab, LabMaker

BATCH = ("ssh", "-o", "BatchMode=yes", "app1", "echo in")


@pytest.fixture
def _own_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


pytestmark = pytest.mark.usefixtures("_own_temporary")


def environment(lab: Lab, tmp_path: Path, *more: str) -> dict[str, str]:
    token = tmp_path / "token"
    token.write_text(lab.gateway.setup.mint("devin"))
    made = lab.gateway.onrecord("env", "--token", str(token), "--json", *more)
    return dict(json.loads(made.stdout))


def run(variables: dict[str, str], *argv: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, env=variables | more, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)


def exchanges(lab: Lab) -> list[dict[str, object]]:
    lines = lab.gateway.onrecord("sessions", "--json").stdout.splitlines()
    return [row for row in map(json.loads, lines) if row["login"] == "+certificate"]


def test_without_a_prompt_ssh_logs_in_with_what_env_wrote(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    variables = environment(lab, tmp_path)
    folder = Path(variables["ONRECORD_SSH_KEYS"])
    assert not folder.exists(), "whoever uses the environment makes its key"
    done = run(variables, *BATCH)
    assert (done.stdout, done.stderr) == (b"in\n", b"")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "id").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["id", "id-cert.pub"]
    first = (folder / "id-cert.pub").read_bytes()
    done = run(variables, "sftp", "-o", "BatchMode=yes", "-b", "/dev/null", "app1")
    assert done.returncode == 0, done.stderr
    assert (folder / "id-cert.pub").read_bytes() == first, "a fresh one is kept"
    (row,) = lab.commands(finished=1)
    assert row["identity"]["subject"] == "devin"
    (exchange,) = wait_until(lambda: exchanges(lab), timeout=60, what="the exchange on record")
    assert exchange["run"] == row["run"]
    everything = b"".join(path.read_bytes() for path in folder.iterdir())
    assert variables["ONRECORD_SSH_TOKEN"].encode() not in everything
