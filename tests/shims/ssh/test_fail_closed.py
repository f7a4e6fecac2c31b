"""Whatever step raises: nothing runs that is not on record, and nothing is delivered that is not."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.scripts.parts.gateway import stop, wait_until
from onrecord.scripts.parts.openssh import OpenSshPart, SshClient
from onrecord.scripts.parts.ports import free_port
from tests.shims.ssh.bomb_shim import STEPS
from tests.shims.ssh.conftest import Lab, LabMaker

# By then the command has been decided and is on record: it may run, and its output does not come.
AFTER = {"what is kept", "a chunk's record", "the outcome", "the outcome's record", "taking input", "cleaning"}
# The end only: the output before it was on record.
LAST = {"the outcome", "the outcome's record", "taking input"}


@contextlib.contextmanager
def bomb(lab: Lab, step: str, folder: Path) -> Iterator[SshClient]:
    setup = lab.gateway.setup
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.shims.ssh.bomb_shim", step, str(port), str(setup.path)],
        cwd=Path(__file__).resolve().parents[3],
    )

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return process.poll() is not None

    try:
        wait_until(listens, timeout=60)
        yield SshClient(folder / "bombed", port, lab.host_key, setup.mint("devin"))
    finally:
        stop(process)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_raises_lets_nothing_pass(make_lab: LabMaker, sshd: OpenSshPart, tmp_path: Path, step: str):
    lab = make_lab(masks=[{"detect": ["payment_card"], "strategy": "redact"}])
    mark = tmp_path / "mark"
    with bomb(lab, step, tmp_path) as client:
        done = client.run("app1@gateway", f"touch {mark}; echo delivered")
    assert done.returncode != 0
    if step not in LAST:
        assert b"delivered" not in done.stdout
    assert mark.exists() <= (step in AFTER)
    if mark.exists():
        assert [row["text"] for row in lab.log() if row["kind"] == "ssh"], "it ran, so it is on record"
