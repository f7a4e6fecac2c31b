"""OpenSSH's sftp through the relay to OpenSSH's sftp-server."""

from __future__ import annotations

import hashlib
import os

from tests.shims.ssh.sftp.lab import Lab


def test_an_upload_is_one_command_with_size_and_sha256(lab: Lab) -> None:
    content = os.urandom(3_000_000)
    (lab.folder / "local").write_bytes(content)
    lab.batch("put local remote")
    assert (lab.home / "remote").read_bytes() == content
    command = lab.one("write")
    assert command["detail"]["path"] == str(lab.home / "remote")
    assert command["action"] == "write"
    outcome = command["outcome"]
    assert outcome["status"] == "ok"
    assert outcome["size"] == len(content)
    assert outcome["sha256"] == hashlib.sha256(content).hexdigest()
    assert outcome["tag"] == "the whole file"
    assert sum(chunk["size"] for chunk in command["chunks"]) == len(content)


def test_a_download_is_one_command_with_size_and_sha256(lab: Lab) -> None:
    content = os.urandom(3_000_000)
    (lab.home / "remote").write_bytes(content)
    lab.batch("get remote local")
    assert (lab.folder / "local").read_bytes() == content
    outcome = lab.one("read")["outcome"]
    assert (outcome["status"], outcome["size"]) == ("ok", len(content))
    assert outcome["sha256"] == hashlib.sha256(content).hexdigest()
    assert outcome["tag"] == "the whole file"
