"""sftp and scp, the real programs, through a running gateway to a real sshd."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.shims.ssh.conftest import LabMaker


def policy(folder: Path, body: str, *, hook: str = "sftp") -> dict[str, str]:
    """A policy file with one hook of this body."""
    path = folder / "policy.py"
    path.write_text(
        f"from onrecord.policies import Allow, Deny, Hold\n\n\nclass Policy:\n    def {hook}(self, command):\n"
        + "".join(f"        {line}\n" for line in body.splitlines())
        + "\n\naddons = [Policy()]\n"
    )
    path.chmod(0o600)
    return {"file": str(path)}


def test_sftp_puts_gets_and_lists(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    content = os.urandom(2_000_000)
    (tmp_path / "local").write_bytes(content)
    far = tmp_path / "far"
    far.mkdir()
    lines = (
        f"put {tmp_path}/local {far}/a\nget {far}/a {tmp_path}/back\nls -l {far}\nrename {far}/a {far}/b\ndf {far}\n"
    )
    done = lab.client().run("-oBatchMode=no", "-b", "-", "app1@gateway", tool="sftp", stdin=lines.encode())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == content
    assert (far / "b").exists()
    rows = lab.commands(finished=5, kind="sftp")
    by_operation = {row["detail"]["operation"]: row for row in rows}
    sha = hashlib.sha256(content).hexdigest()
    assert by_operation["write"]["outcome"]["sha256"] == by_operation["read"]["outcome"]["sha256"] == sha
    assert by_operation["rename"]["detail"]["target"] == f"{far}/b"


def test_scp_copies_both_ways_and_folders(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    client = lab.client()
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep/file").write_bytes(b"x" * 100_000)
    (source / "other").write_text("y")
    for flags in (["-r"], ["-r", "-p"]):
        far, back = tmp_path / f"far{len(flags)}", tmp_path / f"back{len(flags)}"
        done = client.run(*flags, str(source), f"app1@gateway:{far}", tool="scp")
        assert done.returncode == 0, done.stderr
        done = client.run(*flags, f"app1@gateway:{far}", str(back), tool="scp")
        assert done.returncode == 0, done.stderr
        assert (back / "deep/file").read_bytes() == b"x" * 100_000
        assert (back / "other").read_text() == "y"
    rows = [row for row in lab.commands(finished=10, kind="sftp") if row["detail"]["path"].endswith("/deep/file")]
    moved = [row["outcome"] for row in rows if row["detail"]["operation"] in ("read", "write")]
    sha = hashlib.sha256(b"x" * 100_000).hexdigest()
    assert [(outcome["sha256"], outcome["tag"]) for outcome in moved] == [(sha, "the whole file")] * 4


def test_a_refused_upload_says_why_on_stderr(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(
        policies=[policy(tmp_path, 'return Deny("not there", hint="ask") if "/etc/" in command.path else None')]
    )
    (tmp_path / "local").write_text("x")
    done = lab.client().run(str(tmp_path / "local"), "app1@gateway:/etc/onrecord-test", tool="scp")
    assert done.returncode != 0
    assert b"policy: not there (ask)" in done.stderr
    assert not Path("/etc/onrecord-test").exists()


def test_what_plants_access_is_denied_by_default(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "key").write_text("ssh-ed25519 AAAA")
    done = lab.client().run(str(tmp_path / "key"), f"app1@gateway:{tmp_path}/.ssh/authorized_keys", tool="scp")
    assert done.returncode != 0
    assert not (tmp_path / ".ssh/authorized_keys").exists()
    row = next(row for row in lab.commands(finished=2, kind="sftp") if row["detail"]["operation"] == "write")
    assert (row["action"], row["verdict"]["policy"]) == ("admin", "onrecord:admin")
