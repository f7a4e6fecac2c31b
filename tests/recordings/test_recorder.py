"""The recorder as a process: it takes in, tells the others, drains at its end, and there is only one."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.policies.config import load_config
from onrecord.policies.engine import PolicyEngine
from onrecord.policies.errors import StoreError
from onrecord.recordings.control import ControlClient
from onrecord.recordings.evidence.custody import checkpoints_path, vkey_path
from onrecord.recordings.evidence.verify import verify
from onrecord.recordings.queries import Filters, Reader
from onrecord.recordings.recorder import BUSY, next_pause, run_recorder
from tests.helpers import Setup, make_config, wait_until
from tests.recordings.samples import Writer


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    made = make_config(tmp_path)
    made.state.mkdir(mode=0o700)
    return made


class Recorder:
    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "onrecord.recordings.recorder", str(self._setup.path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        self._running.append(process)
        return process

    def stop(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=30)


@pytest.fixture
def recorder(setup: Setup) -> Iterator[Recorder]:
    made = Recorder(setup)
    yield made
    made.stop()


def count(setup: Setup) -> int:
    try:
        with Reader(setup.store) as reader:
            return len(reader.log(Filters(limit=None)))
    except StoreError:  # not there yet, or just being made
        return 0


def test_it_takes_in_while_it_runs_and_the_rest_when_it_is_told_to_end(setup: Setup, recorder: Recorder) -> None:
    writer = Writer(setup.state)
    session = writer.session()
    writer.command(session, "SELECT 1")
    process = recorder.start()
    wait_until(lambda: (setup.state / "control.sock").exists() and count(setup) == 1)
    for number in range(3000):
        writer.command(session, f"SELECT {number}")
    writer.journal.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert count(setup) == 3001
    report = verify(setup.store, checkpoints_path(setup.state), vkey_path(setup.state).read_text())
    assert report.ok, report.damage
    assert setup.store.stat().st_mode & 0o077 == 0


def test_it_waits_for_more_where_many_come_and_never_while_it_is_behind() -> None:
    assert next_pause(2000, behind=True) == 0.0
    assert next_pause(1, behind=True) == 0.0  # one large record of many
    assert 0 < next_pause(0, behind=True) <= 0.05  # what stands there is no whole frame yet: no idle loop
    assert next_pause(1, behind=False) == next_pause(0, behind=False) <= 0.05
    assert next_pause(1, behind=False) < next_pause(BUSY, behind=False) == next_pause(2000, behind=False) <= 0.25


def test_a_second_recorder_does_not_start(setup: Setup, recorder: Recorder) -> None:
    recorder.start()
    wait_until((setup.state / "control.sock").exists)
    second = recorder.start()
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 2
    assert b"another recorder runs" in errors


def test_killed_and_started_again_it_goes_on_where_it_was(setup: Setup, recorder: Recorder) -> None:
    writer = Writer(setup.state)
    session = writer.session()
    for number in range(3):
        process = recorder.start()
        writer.command(session, f"SELECT {number}")
        wait_until(functools.partial(reaches, setup, number + 1))
        process.kill()
        process.wait(30)
    writer.journal.close()
    assert count(setup) == 3
    recorder.start()
    wait_until(lambda: not list((setup.state / "journal").glob("*.journal")), what="covered journals are deleted")


def reaches(setup: Setup, number: int) -> bool:
    return count(setup) == number


async def test_processes_learn_that_the_store_cannot_write_and_that_it_can_again(setup: Setup) -> None:
    config = load_config(setup.path)
    setup.store.mkdir()  # no database can be opened there
    engine = PolicyEngine(timeout=1.0, stale_after=60.0)
    client = ControlClient(setup.state / "control.sock", process="gateway-0", engine=engine, on_policy=lambda _: None)
    started = asyncio.Event()
    recorder = asyncio.create_task(run_recorder(config, ready=started.set))
    listening: asyncio.Task[None] | None = None
    try:
        await asyncio.wait_for(started.wait(), 20)
        listening = asyncio.create_task(client.run())
        async with asyncio.timeout(20):
            while "store" not in (client.refusal or ""):
                await asyncio.sleep(0.02)
            await asyncio.to_thread(setup.store.rmdir)
            while client.refusal is not None:
                await asyncio.sleep(0.02)
    finally:
        for task in (listening, recorder):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    assert setup.store.is_file()
    assert not os.path.lexists(setup.state / "control.sock")
