"""The recorder process: the single writer of the store, and the one who tells all others what holds.

`python -m onrecord.recordings.recorder mitm.toml`. It opens no network socket. The journals are taken in by a thread of
low priority, so that heartbeats go on; while the store cannot write, every process is told so and refuses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from onrecord.policies.config import Config, load_config
from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.recordings.approvals.opening import DeskParts
from onrecord.recordings.control import ControlServer, PolicyWatcher, Refusals
from onrecord.recordings.datapath import CONTROL_SOCKET, JOURNALS
from onrecord.recordings.ingest import Ingest, take_lock
from onrecord.recordings.process import harden, notify_ready

_log = logging.getLogger("onrecord.recorder")

POLL = 0.03
BUSY_POLL = 0.2  # seconds; a transaction costs as much as some 60 records, so that many at once cost the least
BUSY = 32
RETRY = 0.5
_NICE = 5  # data paths go first; at 10 it fell ever further behind beside four busy processes a core


def next_pause(count: int, *, behind: bool) -> float:
    """Seconds until the next look at the journals after one that took in `count` records.

    Nobody waits where something stands there already; a few records are seen at once by whoever looks at the live tail.
    """
    if behind and count:
        return 0.0
    return BUSY_POLL if count >= BUSY else POLL


class IngestThread(threading.Thread):
    """Takes journals in until told to stop, then takes in the rest. `on_status` gets None or why nothing is stored."""

    def __init__(self, state: Path, store: Path, on_status: Callable[[str | None], None]) -> None:
        super().__init__(name="ingest", daemon=True)
        self._state, self._store, self._on_status = state, store, on_status
        self._stop_now = threading.Event()
        self._ingest: Ingest | None = None
        self.crash: BaseException | None = None

    def stop(self) -> None:
        """End after what is in the journals now."""
        self._stop_now.set()

    def run(self) -> None:
        if sys.platform.startswith("linux"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            while not self._stop_now.is_set():
                pause = next_pause(self._step(), behind=self._ingest is not None and self._ingest.behind)
                if pause:
                    self._stop_now.wait(pause)
            for _ in range(1000):
                if not self._step():
                    break
        except BaseException as error:  # noqa: BLE001  # handed to the main thread, which ends the process
            self.crash = error
        finally:
            self._let_go()

    def _step(self) -> int:
        """One step; what can pass (a full disk, a locked file) is told, and tried again."""
        try:
            if self._ingest is None:
                self._ingest = Ingest(self._state, self._store)
            count = self._ingest.step()
            for note in self._ingest.notes:
                _log.error("%s", note)
            self._ingest.notes.clear()
        except (StoreError, sqlite3.Error, OSError) as error:
            text = str(error) if isinstance(error, StoreError) else f"the store cannot be written: {error}"
            _log.error("%s", text)
            self._on_status(text)
            self._let_go()
            self._stop_now.wait(RETRY)
            return 0
        self._on_status(None)
        return count

    def _let_go(self) -> None:
        """Forget everything in memory: after an error only what is on disk counts."""
        ingest, self._ingest = self._ingest, None
        if ingest is not None:
            try:
                ingest.close()
            except (StoreError, sqlite3.Error, OSError) as error:
                _log.error("the newest checkpoint is not yet outside the database: %s", error)


async def run_recorder(config: Config, *, ready: Callable[[], None] = lambda: None) -> None:
    """Ingest, sign, watch the policy files, hold the control channel, until cancelled; then take in what is left.

    Raises StoreError or ControlError where another recorder runs.
    """
    state = config.gateway.state
    lock = take_lock(state / "recorder.lock")
    try:
        parts = DeskParts(config, state / JOURNALS)
    except BaseException:
        os.close(lock)
        raise
    server = ControlServer(state / CONTROL_SOCKET, on_message=_lost_refusals, desk=parts.desk)
    loop = asyncio.get_running_loop()
    first = asyncio.Event()
    reported: list[str | None] = [""]

    def on_status(error: str | None) -> None:
        if reported[0] != error:
            reported[0] = error
            with contextlib.suppress(RuntimeError):  # the loop may be closed at the very end
                loop.call_soon_threadsafe(tell, error)

    def tell(error: str | None) -> None:
        server.set_store_status(error)
        first.set()

    thread = IngestThread(state, config.recordings.store, on_status)
    watching: asyncio.Task[None] | None = None
    try:
        thread.start()
        await first.wait()  # nobody may begin before the store said whether it can write
        await server.start()
        watching = loop.create_task(PolicyWatcher(config.policies, server).run(), name="policy-files")
        ready()
        while thread.is_alive():
            await asyncio.wait({watching}, timeout=0.5)
            if watching.done():
                watching.result()
                raise OnrecordError("the policy files are no longer watched")
        if thread.crash is not None:
            raise thread.crash
    finally:
        parts.close()  # before the last records are taken in
        thread.stop()
        await asyncio.shield(asyncio.to_thread(thread.join))
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await server.close()
        os.close(lock)


def _lost_refusals(process: str, message: Refusals) -> None:
    """A process could only count its refusals; its journal gets the count when there is room again."""
    _log.error("%s could not record %d refusals: %s", process, message.count, message.reason)


async def _main(path: Path) -> None:
    config = load_config(path)
    task = asyncio.ensure_future(run_recorder(config, ready=notify_ready))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main(arguments: list[str]) -> int:
    """The process entry. Exit status 2 where it cannot start."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m onrecord.recordings.recorder CONFIG\n")
        return 2
    harden()
    logging.basicConfig(level=logging.INFO, format="recorder: %(levelname)s %(message)s")
    try:
        asyncio.run(_main(Path(arguments[0])))
    except OnrecordError as error:
        sys.stderr.write(f"recorder: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
