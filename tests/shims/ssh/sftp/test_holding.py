"""A decision that takes its time: nothing goes upstream before it, and what changed meanwhile is seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from onrecord.policies.model import Command
from onrecord.policies.verdict import Allow, Ruling
from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.deciding import LOOK_AGAIN
from tests.helpers import wait_until
from tests.shims.ssh.sftp.lab import Lab
from tests.shims.ssh.sftp.raw import Raw


class Gate:
    """Holds writes until `open` is set."""

    def __init__(self, lab: Lab) -> None:
        self.waiting = 0
        self.cancelled = 0
        self.open = False
        lab.engine.rule = self.rule

    def rule(self, command: Command) -> Ruling | Awaitable[Ruling]:
        if getattr(command, "operation", "") != "write":
            return Ruling(Allow(), "test")
        return self.wait()

    async def wait(self) -> Ruling:
        self.waiting += 1
        try:
            while not self.open:
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Ruling(Allow(), "test")


_CREATE = wire.u32(wire.FLAG_WRITE | wire.FLAG_CREAT) + wire.u32(0)


def test_a_held_write_waits_and_other_channels_go_on(lab: Lab) -> None:
    gate = Gate(lab)
    with Raw(lab) as held, Raw(lab) as other:
        held.send(wire.OPEN, wire.string(b"f"), _CREATE)
        wait_until(lambda: gate.waiting, what="the hold")
        assert not (lab.home / "f").exists()
        assert other.status(wire.MKDIR, wire.string(b"d"), wire.u32(0))[0] == wire.OK
        gate.open = True
        assert held.packet()[0] == wire.HANDLE
    assert (lab.home / "f").exists()


def test_a_path_that_leads_elsewhere_after_the_wait_is_refused(lab: Lab) -> None:
    gate = Gate(lab)
    (lab.home / "d").mkdir()
    (lab.home / ".ssh").mkdir()
    with Raw(lab) as held:
        held.send(wire.OPEN, wire.string(b"d/authorized_keys"), _CREATE)
        wait_until(lambda: gate.waiting, what="the hold")
        (lab.home / "d").rmdir()
        (lab.home / "d").symlink_to(".ssh")
        time.sleep(LOOK_AGAIN * 2)
        gate.open = True
        answer = held.packet()
    assert answer[0] == wire.STATUS
    assert not (lab.home / ".ssh/authorized_keys").exists()
    assert lab.one("write")["outcome"]["status"] == "refused"


def test_a_client_that_leaves_takes_its_question_along(lab: Lab) -> None:
    gate = Gate(lab)
    with Raw(lab) as held:
        held.send(wire.OPEN, wire.string(b"f"), _CREATE)
        wait_until(lambda: gate.waiting, what="the hold")
    wait_until(lambda: gate.cancelled, what="the end of the hold")
    gate.open = True
    assert not (lab.home / "f").exists()
