"""What the tests of the control channel share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from onrecord.policies.engine import PolicyEngine
from onrecord.policies.policy_set import PolicyFile, PolicySet
from onrecord.recordings.control import ControlClient, ControlServer
from onrecord.recordings.records import PolicyRecord


def policies(body: str = "return None", name: str = "p") -> PolicySet:
    source = f"class P:\n    def sql(self, command):\n        {body}\naddons = [P()]\n"
    return PolicySet((PolicyFile(name=name, ref=f"{name}.py", source=source),))


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `condition` holds; fail where it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def serving(folder: Path, **options: object) -> AsyncIterator[ControlServer]:
    server = ControlServer(folder / "control.sock", heartbeat=0.05, **options)  # type: ignore[arg-type]
    await server.start()
    try:
        yield server
    finally:
        await server.close()


class Process:
    """A data-path process's engine and client, running."""

    def __init__(self, folder: Path, name: str, clock: Callable[[], float] | None = None) -> None:
        self.engine = PolicyEngine(timeout=1.0, stale_after=60.0)
        self.records: list[PolicyRecord] = []
        options = {} if clock is None else {"clock": clock}
        self.client = ControlClient(
            folder / "control.sock", process=name, engine=self.engine, on_policy=self.records.append, **options
        )
        self.task = asyncio.ensure_future(self.client.run())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@contextlib.asynccontextmanager
async def process(
    folder: Path, name: str = "gateway", clock: Callable[[], float] | None = None
) -> AsyncIterator[Process]:
    made = Process(folder, name, clock)
    try:
        yield made
    finally:
        await made.stop()
