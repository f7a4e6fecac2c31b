"""Certificates renewed by themselves: the login `+certificate`, what `onrecord env` writes, and `onrecord run`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import asyncssh
import pytest

from onrecord.policies.config import IssuerConfig
from onrecord.policies.model import Identity
from onrecord.scripts.agent_certificates import certify_script
from onrecord.scripts.parts.gateway import wait_until
from onrecord.scripts.parts.openssh import make_key, program
from onrecord.scripts.parts.ports import free_port
from onrecord.shims.ssh.authority import KeyIdentities, agent_certificate
from onrecord.shims.ssh.exchange import ExchangeError, public_key
from tests.shims.ssh.conftest import Lab, LabMaker

GIT = shutil.which("git") or "git"
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


def test_git_and_ansible_log_in_without_a_prompt(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    variables = environment(lab, tmp_path)
    run(variables, GIT, "init", "-q", "--bare", str(tmp_path / "repo.git"))
    ssh = variables["GIT_SSH_COMMAND"] + " -o BatchMode=yes"
    done = run(variables, GIT, "ls-remote", f"app1:{tmp_path}/repo.git", GIT_SSH_COMMAND=ssh)
    assert done.returncode == 0, done.stderr
    ansible = str(Path(sys.executable).parent / "ansible")
    settings = {"HOME": str(tmp_path), "ANSIBLE_SSH_ARGS": "-o ControlMaster=no"}
    done = run(variables, ansible, "all", "-i", "app1,", "-m", "ansible.builtin.raw", "-a", "echo in", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"in" in done.stdout


def test_a_certificate_a_key_or_an_odd_request_buys_no_certificate(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    variables = environment(lab, tmp_path)
    assert run(variables, *BATCH).stdout == b"in\n"
    folder = Path(variables["ONRECORD_SSH_KEYS"])
    known = Path(variables["ONRECORD_SSH_CONFIG"]).with_name("certificate_config")
    key = run(variables, program("ssh-keygen"), "-y", "-f", str(folder / "id")).stdout.decode().strip()
    config = ("-F", str(known))
    only_key = ("-o", "PubkeyAuthentication=yes", "-o", "BatchMode=yes", "-o", "PreferredAuthentications=publickey")
    identity = ("-o", f"CertificateFile={folder / 'id-cert.pub'}", "-i", str(folder / "id"))
    done = run(variables, "ssh", *config, *only_key, *identity, "onrecord-certificate", key)
    assert (done.returncode, done.stdout) == (255, b""), "a certificate does not renew itself"
    done = run(variables, "ssh", *config, "onrecord-certificate", key)
    assert done.stdout.startswith(b"ssh-ed25519-cert-v01@openssh.com ")
    for odd in ("id", "ssh-ed25519 AAAA", "", "x" * 4000):
        done = run(variables, "ssh", *config, "-T", "onrecord-certificate", *([odd] if odd else []))
        assert done.returncode != 0
        assert done.stdout == b""
    assert run(variables, "ssh", *config, "-s", "onrecord-certificate", "sftp").returncode != 0
    assert run(variables, "ssh", *config, "-W", "127.0.0.1:1", "onrecord-certificate").returncode != 0
    assert [row["text"] for row in lab.commands(finished=1)] == ["echo in"]


def test_a_killed_run_gets_no_new_certificate_and_its_old_one_opens_nothing(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(gateway={"admin": f"127.0.0.1:{free_port()}"})
    variables = environment(lab, tmp_path)
    assert run(variables, *BATCH).stdout == b"in\n"
    (row,) = lab.commands(finished=1)
    operator = lab.gateway.setup.mint("root", groups=("admins",), human=True)
    kill = ("kill", str(row["run"]), "--as", "run", "--reason", "went wild")
    lab.gateway.onrecord(*kill, env={"ONRECORD_TOKEN": operator})
    assert run(variables, *BATCH).returncode == 255, "its old certificate opens nothing"
    (Path(variables["ONRECORD_SSH_KEYS"]) / "id-cert.pub").unlink()
    done = run(variables, *BATCH)
    assert done.returncode == 255
    assert b"the SSH certificate is not renewed" in done.stderr
    assert b"stopped by root: went wild" in done.stderr
    assert not (Path(variables["ONRECORD_SSH_KEYS"]) / "id-cert.pub").exists()


def test_run_keeps_a_certificate_fresh_and_takes_it_away_at_the_end(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    token = tmp_path / "token"
    token.write_text(lab.gateway.setup.mint("devin"))
    script = (
        'k=$ONRECORD_SSH_KEYS; echo "$k"; n=0; while [ ! -s "$k/id-cert.pub" ] && [ $n -lt 600 ]; do sleep 0.1; '
        'n=$((n+1)); done; stat -c "%a %n" "$k" "$k/id"; ssh -o BatchMode=yes app1 "echo in"; exit 7'
    )
    setup = lab.gateway.setup
    argv = [sys.executable, "-m", "onrecord.scripts.main", "run", "-c", str(setup.path), "--token", str(token)]
    done = subprocess.run(
        [*argv, "--", "sh", "-c", script],
        env={**os.environ, **setup.env},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
    )
    folder, *rest = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (7, "")
    assert rest == [f"700 {folder}", f"600 {folder}/id", "in"]
    wait_until(lambda: not Path(folder).exists(), timeout=60, what="the key's end")


def test_a_renewal_that_fails_is_one_line_and_the_old_certificate_serves(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    variables = environment(lab, tmp_path)
    assert run(variables, *BATCH).stdout == b"in\n"
    made = Path(variables["ONRECORD_SSH_KEYS"]) / "id-cert.pub"
    first = made.read_bytes()
    os.utime(made, (1, 1))
    (tmp_path / "token").write_text("wrong\n")
    done = run(variables, *BATCH)
    assert done.stdout == b"in\n"
    assert done.stderr.startswith(b"onrecord: the SSH certificate is not renewed: ")
    assert done.stderr.count(b"\n") == 1
    (tmp_path / "token").write_text(variables["ONRECORD_SSH_TOKEN"])
    assert run(variables, *BATCH).stderr == b""
    assert made.read_bytes() != first


def test_what_comes_from_elsewhere_acts_on_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stub = tmp_path / "stub" / "ssh"
    stub.parent.mkdir()
    said = (
        "went \\\\033]0;x\\\\007 wild \\033[2J"  # as text of two kinds: backslashes and, once printf read it, an escape
    )
    stub.write_text(f"#!/bin/sh\nprintf '{said}\\n' >&2\nexit 255\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(stub.parent), prepend=os.pathsep)
    script = tmp_path / "certify"
    script.write_text(certify_script(tmp_path))
    script.chmod(0o755)
    done = run(dict(os.environ), str(script), ONRECORD_SSH_KEYS=str(tmp_path / "keys"))
    assert b"went \\033]0;x\\007 wild" in done.stderr
    odd = tmp_path / "\\033[2J"
    odd.symlink_to(tmp_path)
    folder = run(dict(os.environ), str(script), ONRECORD_SSH_KEYS=str(odd))
    assert b"\\033[2J is no folder" in folder.stderr
    assert b"\x1b" not in done.stderr + folder.stderr
    assert b"\x07" not in done.stderr + folder.stderr


def test_a_folder_that_another_could_have_laid_is_not_taken(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    variables = environment(lab, tmp_path)
    (tmp_path / "theirs").mkdir()
    Path(variables["ONRECORD_SSH_KEYS"]).symlink_to(tmp_path / "theirs")
    done = run(variables, *BATCH)
    assert done.returncode == 255
    assert b"is no folder of this user" in done.stderr
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_session_may_outlive_the_certificate_and_not_the_token(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    state = lab.gateway.setup.state
    key = asyncssh.read_private_key(make_key(tmp_path / "id"))
    ends = time.time() + 3000
    who = Identity(issuer="onrecord:dev", subject="devin", groups=("agents",), expires_at=ends)
    known = KeyIdentities(state, (), [IssuerConfig(issuer="onrecord:dev", audience=("onrecord",))])
    for outlived in (True, False):
        made = agent_certificate(state, key, who, "run-1", outlived=outlived)
        found = known.identify(made.public_data, "127.0.0.1:1")
        assert found is not None
        assert (found[1].expires_at == ends) is outlived
        assert made._valid_before < time.time() + 900  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_only_modern_keys_are_certified(tmp_path: Path, kind: str):
    text = make_key(tmp_path / "id", kind=kind).with_suffix(".pub").read_text().strip()
    if kind == "ecdsa":
        assert public_key(text).algorithm == b"ecdsa-sha2-nistp256"
    else:
        with pytest.raises(ExchangeError):
            public_key(text)
