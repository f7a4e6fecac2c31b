"""A command that waits for a human, and a session that is killed: what the client sees, and that nothing ran before."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.approvals import Approver
from onrecord.recordings.control.admin import AdminChannel
from onrecord.recordings.datapath import CONTROL_SOCKET
from onrecord.shims.ssh.sftp.deciding import LOOK_AGAIN
from tests.shims.ssh.conftest import Lab, LabMaker
from tests.shims.ssh.test_exec import policy
from tests.shims.ssh.typing import terminal

HOLD = 'return Hold(approvers="ops", reason="ops must agree") if "touch" in command.programs else None'


def alice() -> Approver:
    """A human who has just logged in."""
    groups = ("ops", "admins")
    return Approver(
        issuer="https://idp.example.com", subject="alice", groups=groups, kind="human", auth_time=time.time()
    )


def decide(lab: Lab, act: Callable[[AdminChannel], Any]) -> None:
    """Wait until an approval is pending or a session open, then do `act` as a human would."""

    async def run() -> None:
        channel = AdminChannel(lab.gateway.setup.state / CONTROL_SOCKET)
        task = asyncio.create_task(channel.run())
        await channel.ready()
        try:
            await act(channel)
        finally:
            task.cancel()

    asyncio.run(run())


async def approve(channel: AdminChannel) -> None:
    while not channel.snapshot().pending:
        await asyncio.sleep(0.05)
    await channel.decide(channel.snapshot().pending[0].approval.id, "approve", alice())


def test_a_held_command_waits_says_so_and_runs_once_approved(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(policies=[policy(tmp_path, HOLD)])
    mark = tmp_path / "mark"
    with terminal(lab.client(), "-T", "app1@gateway", f"touch {mark}; echo done") as screen:
        screen.wait("onrecord: approval required by ops: ops must agree; waiting for ")
        assert not mark.exists()
        decide(lab, approve)
        screen.wait("done")
        assert screen.end() == 0
    assert mark.exists()
    (row,) = lab.commands(finished=1)
    assert row["outcome"]["status"] == "ok"


def test_a_client_that_leaves_takes_its_request_back(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(policies=[policy(tmp_path, HOLD)])
    mark = tmp_path / "mark"
    with terminal(lab.client(), "-T", "app1@gateway", f"touch {mark}") as screen:
        screen.wait("waiting for ")
        screen.process.kill()

    async def gone(channel: AdminChannel) -> None:
        while channel.snapshot().pending and channel.snapshot().pending[0].waiting:
            await asyncio.sleep(0.05)

    decide(lab, gone)
    assert not mark.exists()


def test_other_channels_go_on_while_one_waits(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(policies=[policy(tmp_path, HOLD)])
    client = lab.client(ControlPath=str(tmp_path / "mux"), ControlMaster="auto", ControlPersist="60")
    assert client.run("app1@gateway", "echo first").stdout == b"first\n"
    with terminal(client, "-T", "app1@gateway", f"touch {tmp_path}/mark") as screen:
        screen.wait("waiting for ")
        assert client.run("app1@gateway", "echo second").stdout == b"second\n"
    client.run("-O", "exit", "app1@gateway")


def test_a_kill_ends_the_session_at_once(make_lab: LabMaker):
    lab = make_lab()

    async def kill(channel: AdminChannel) -> None:
        await channel.kill("identity", "devin", alice(), "enough", issuer="onrecord:dev")

    with terminal(lab.client(), "-T", "app1@gateway", "echo on; sleep 60") as screen:
        screen.wait("on")
        thread = threading.Thread(target=decide, args=(lab, kill))
        thread.start()
        screen.wait("the session ends: ")
        assert screen.end() == 255
        thread.join()
    (row,) = lab.commands(finished=1)
    assert row["outcome"]["status"] == "aborted"
    assert lab.client().run("app1@gateway", "echo again").returncode == 255


@pytest.mark.parametrize("tool", ["scp", "rsync"])
def test_a_copy_whose_path_was_exchanged_while_it_waited_is_refused(make_lab: LabMaker, tmp_path: Path, tool: str):
    body = 'return Hold(approvers="ops", reason="ops must agree") if command.action == "write" else None'
    lab = make_lab(policies=[policy(tmp_path, body)])
    folder, other = tmp_path / "work" / "here", tmp_path / "other"
    folder.mkdir(parents=True)
    other.mkdir()
    client = lab.client()
    line = f"rsync --server -te.LsfxCIvu . {folder}" if tool == "rsync" else f"scp -t {folder}"
    with terminal(client, "-T", "app1@gateway", line) as screen:
        screen.wait("approval required")
        folder.rmdir()
        folder.symlink_to(other)
        time.sleep(LOOK_AGAIN * 2)
        decide(lab, approve)
        screen.wait("its paths lead elsewhere than when the decision was asked for")
        assert screen.end() == 126
    (row,) = lab.commands(finished=1)
    assert row["outcome"]["status"] == "refused"
    assert list(other.iterdir()) == []
