"""scp -O, rsync and git, the real programs, through a running gateway to a real sshd."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onrecord.scripts.parts.openssh import SshClient, program
from tests.shims.ssh.conftest import LabMaker
from tests.shims.ssh.test_files import policy


def run(client: SshClient, *arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[bytes]:
    """A program that starts ssh by itself, with the client's configuration."""
    ssh = shlex.join(client.command())
    return subprocess.run(
        arguments,
        env={**client.env, "GIT_SSH_COMMAND": ssh, "RSYNC_RSH": ssh, "HOME": str(client.folder), **env},
        cwd=cwd,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
    )


def by_path(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["detail"]["operation"], row["detail"]["path"]): row for row in rows}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "file").write_bytes(os.urandom(300_000))
    (folder / "deep" / "er" / "empty").touch()
    (folder / "with space").write_text("content")
    return folder


def same(one: Path, other: Path) -> bool:
    return subprocess.run(["diff", "-r", one, other], stdout=subprocess.DEVNULL).returncode == 0


def test_scp_in_its_old_protocol_copies_both_ways(make_lab: LabMaker, tmp_path: Path, source: Path):
    lab = make_lab()
    client = lab.client()
    far, back = tmp_path / "far", tmp_path / "back"
    done = client.run("-O", "-r", "-p", str(source), f"app1@gateway:{far}", tool="scp")
    assert done.returncode == 0, done.stderr
    assert same(source, far)
    done = client.run("-O", "-r", f"app1@gateway:{far}", str(back), tool="scp")
    assert done.returncode == 0, done.stderr
    assert same(source, back)
    rows = by_path(lab.commands(finished=12, kind="sftp"))
    sha = hashlib.sha256((source / "deep/file").read_bytes()).hexdigest()
    for operation in ("write", "read"):
        outcome = rows[operation, f"{far}/deep/file"]["outcome"]
        assert (outcome["sha256"], outcome["tag"], outcome["size"]) == (sha, "the whole file", 300_000)
    assert rows["mkdir", f"{far}/deep/er"]["outcome"]["status"] == "ok"
    assert {row["action"] for row in lab.commands(finished=2)} == {"read", "write"}


def test_one_file_and_several_in_the_old_protocol(make_lab: LabMaker, tmp_path: Path, source: Path):
    lab = make_lab()
    client = lab.client()
    far = tmp_path / "far"
    far.mkdir()
    files = [str(source / "deep/file"), str(source / "with space")]
    assert client.run("-O", *files, f"app1@gateway:{far}", tool="scp").returncode == 0
    assert client.run("-O", files[0], f"app1@gateway:{far}/other", tool="scp").returncode == 0
    rows = by_path(lab.commands(finished=3, kind="sftp"))
    assert set(rows) == {("write", f"{far}/{name}") for name in ("file", "with space", "other")}
    done = client.run("-O", f"app1@gateway:{far}/file", f"app1@gateway:{far}/other", str(tmp_path), tool="scp")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other").read_bytes() == (source / "deep/file").read_bytes()


def test_a_file_that_is_refused_in_the_old_protocol_leaves_the_others(make_lab: LabMaker, tmp_path: Path, source: Path):
    lab = make_lab(policies=[policy(tmp_path, 'return Deny("not this") if command.path.endswith("/file") else None')])
    client = lab.client()
    far, back = tmp_path / "far", tmp_path / "back"
    done = client.run("-O", "-r", str(source), f"app1@gateway:{far}", tool="scp")
    assert done.returncode != 0
    assert b"not this" in done.stderr
    assert not (far / "deep/file").exists()
    assert (far / "with space").exists()
    assert (far / "deep/er/empty").exists()
    done = client.run("-O", "-r", f"app1@gateway:{source}", str(back), tool="scp")
    assert done.returncode != 0
    assert not (back / "deep/file").exists()
    assert (back / "with space").exists()
    assert (back / "deep/er/empty").exists()


def test_a_link_does_not_hide_where_the_old_protocol_writes(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "x").symlink_to(".ssh")
    (tmp_path / "authorized_keys").write_text("ssh-ed25519 AAAA")
    done = lab.client().run("-O", str(tmp_path / "authorized_keys"), f"app1@gateway:{tmp_path}/x", tool="scp")
    assert done.returncode != 0
    assert list((tmp_path / ".ssh").iterdir()) == []


def test_rsync_copies_both_ways(make_lab: LabMaker, tmp_path: Path, source: Path):
    if shutil.which("rsync") is None:
        pytest.fail("rsync is missing: install it")
    lab = make_lab()
    client = lab.client()
    far, back = tmp_path / "far", tmp_path / "back"
    done = run(client, "rsync", "-a", f"{source}/", f"app1@gateway:{far}/")
    assert done.returncode == 0, done.stderr
    assert same(source, far)
    done = run(client, "rsync", "-a", "--delete", f"app1@gateway:{far}/", f"{back}/")
    assert done.returncode == 0, done.stderr
    assert same(source, back)
    up, down = lab.commands(finished=2)
    assert (up["action"], up["detail"]["paths_written"], up["detail"]["paths_read"]) == ("write", [str(far)], [])
    assert (down["action"], down["detail"]["paths_read"], down["detail"]["paths_written"]) == ("read", [str(far)], [])


def test_rsync_into_a_home_or_a_system_folder_is_admin(make_lab: LabMaker, tmp_path: Path, source: Path):
    lab = make_lab()
    for target in ("", "/etc/", ".ssh/", "/"):
        done = run(lab.client(), "rsync", "-a", "-n", f"{source}/", f"app1@gateway:{target}")
        assert b"onrecord:admin" in done.stderr, target
    assert {row["action"] for row in lab.commands(finished=4)} == {"admin"}


def test_git_clones_and_pushes(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(policies=[policy(tmp_path, "return None", hook="ssh")])
    client = lab.client()
    bare = tmp_path / "repo.git"
    git = program("git")
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x.example", "GIT_COMMITTER_NAME": "a"}
    who["GIT_COMMITTER_EMAIL"] = "a@x.example"
    assert run(client, git, "init", "-q", "--bare", "-b", "main", str(bare)).returncode == 0
    work = tmp_path / "work"
    done = run(client, git, "clone", "-q", f"app1@gateway:{bare}", str(work))
    assert done.returncode == 0, done.stderr
    (work / "file").write_text("content")
    for arguments in (["add", "."], ["commit", "-q", "-m", "one"], ["push", "-q", "origin", "HEAD:refs/heads/main"]):
        done = run(client, git, *arguments, cwd=work, **who)
        assert done.returncode == 0, done.stderr
    again = tmp_path / "again"
    assert run(client, git, "clone", "-q", f"app1@gateway:{bare}", str(again)).returncode == 0
    assert (again / "file").read_text() == "content"
    rows = lab.commands(finished=3)
    assert [row["action"] for row in rows] == ["read", "write", "read"]
    assert rows[1]["detail"]["paths_written"] == [str(bare)]
    shown = lab.gateway.onrecord("show", rows[1]["id"], "--json").stdout
    assert "refs/heads/main: 000000000000 to" in shown


def test_copies_that_cannot_be_searched_are_refused_where_masks_apply(make_lab: LabMaker, tmp_path: Path, source: Path):
    lab = make_lab(masks=[{"detect": ["email"], "resources": ["app1"]}])
    client = lab.client()
    done = client.run("-O", f"app1@gateway:{source}/deep/file", str(tmp_path), tool="scp")
    assert done.returncode != 0
    assert b"onrecord:masking" in done.stderr
    done = run(client, "rsync", "-a", f"app1@gateway:{source}/", f"{tmp_path}/back/")
    assert b"onrecord:masking" in done.stderr


@pytest.mark.parametrize("line", ['scp -t "{}"', "sh -c 'scp -t {}'", "env scp -pt {}", "/usr/bin/scp -t {}"])
def test_another_spelling_of_scps_far_side_is_unknown(make_lab: LabMaker, tmp_path: Path, line: str):
    lab = make_lab(unknown="deny")
    done = lab.client().run("app1@gateway", line.format(tmp_path), stdin=b"C0644 2 .bashrc\nx\n\0")
    assert done.returncode == 126, done.stderr
    assert not (tmp_path / ".bashrc").exists()


def test_a_client_that_does_not_wait_for_answers_gets_no_file_past_the_decision(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(policies=[policy(tmp_path, 'return Deny("no") if command.path.endswith("/bad") else None')])
    talk = b"C0644 2 good\nab\0C0644 3 bad\nC0644 1 x\ny\0"
    done = lab.client().run("app1@gateway", f"scp -d -t {tmp_path}", stdin=talk)
    assert b"no" in done.stderr
    assert (tmp_path / "good").read_bytes() == b"ab"
    assert not (tmp_path / "bad").exists()


def test_names_that_lead_out_of_the_target_end_the_copy(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    (tmp_path / "d").mkdir()
    for name in (b"../out", b"..", b"a/b"):
        done = lab.client().run("app1@gateway", f"scp -d -t {tmp_path}/d", stdin=b"C0644 2 " + name + b"\nab\0")
        assert done.returncode != 0
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name in ("out", "b")) == []


@pytest.mark.parametrize("hook", ["ssh", "sftp"])
def test_masks_that_a_policy_asks_for_are_not_passed_by(make_lab: LabMaker, tmp_path: Path, source: Path, hook: str):
    lab = make_lab(policies=[policy(tmp_path, 'return Allow(mask=("email",))', hook=hook)])
    done = lab.client().run("-O", f"app1@gateway:{source}/deep/file", str(tmp_path), tool="scp")
    assert done.returncode != 0
    assert b"onrecord:masking" in done.stderr
    assert not (tmp_path / "file").exists()
