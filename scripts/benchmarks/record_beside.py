"""A recorder process while commands come at a steady rate: its CPU, how far the store lags, and its heartbeats."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from onrecord.recordings.control.messages import Hello, encode
from onrecord.recordings.datapath import CONTROL_SOCKET
from onrecord.recordings.store import connect_read_only
from onrecord.scripts.parts.postgres import PartError

RATE = 2000
BUSY = 8
_LIMIT = 60.0
_CONFIG = """
[gateway]
http = "127.0.0.1:8080"
state = "state"

[recordings]
store = "state/recordings.db"
"""

Paced = Iterator[int]
"""Records made by each command; 0 at the end, when all are written."""


class Seen(NamedTuple):
    """CPU in µs a command, longest lag and longest pause between heartbeats in ms."""

    used: float
    lag: float
    silence: float


def watch(folder: Path, commands: Callable[[Path], Paced], seconds: float, busy: int) -> Seen:
    """Start a recorder and `busy` processes in `folder`, let `commands` come at RATE for `seconds`, and look on."""
    state = folder / "state"
    for part in (state, state / "journal", state / "evidence"):
        part.mkdir(mode=0o700)
    config = folder / "mitm.toml"
    config.write_text(_CONFIG)
    with ExitStack() as stack:
        recorder = _start(stack, "-m", "onrecord.recordings.recorder", str(config))
        _until((state / CONTROL_SOCKET).exists)
        for _ in range(busy):
            _start(stack, "-c", "while True: pass")
        beats = _Heartbeats(state / CONTROL_SOCKET)
        store = stack.enter_context(closing(connect_read_only(state / "recordings.db")))
        before = _cpu(recorder.pid)
        made, lag = _write(commands(state), store, seconds)
        used = (_cpu(recorder.pid) - before) / made
        silence = beats.stop()
    return Seen(used * 1e6, lag * 1e3, silence * 1e3)


def _write(commands: Paced, store: sqlite3.Connection, seconds: float) -> tuple[int, float]:
    """Commands made, and the longest time until one was in the store."""
    began = time.monotonic()
    records = made = 0
    waiting: list[tuple[float, int]] = []  # when so many records were written
    lag = 0.0
    while time.monotonic() - began < seconds:
        due = int((time.monotonic() - began) * RATE)
        for _ in range(due - made):
            records += next(commands)
        made = max(made, due)
        # the last outcome goes with the next command
        waiting.append((time.monotonic(), records - 2))
        lag = _settle(waiting, store, lag)
        time.sleep(0.005)
    while next(commands):
        pass
    waiting.append((time.monotonic(), records))
    while waiting:
        lag = _settle(waiting, store, lag)
        time.sleep(0.01)
        if time.monotonic() - began > seconds + _LIMIT:
            raise PartError("the recorder does not catch up")
    return made, lag


def _settle(waiting: list[tuple[float, int]], store: sqlite3.Connection, lag: float) -> float:
    (count,) = store.execute("SELECT coalesce(max(seq) + 1, 0) FROM records").fetchone()
    now = time.monotonic()
    while waiting and waiting[0][1] <= count:
        lag = max(lag, now - waiting.pop(0)[0])
    return max([lag, *[now - when for when, _ in waiting[:1]]])


class _Heartbeats:
    """Listens at the control channel as every data path does."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(0.1)
        self._socket.connect(str(path))
        self._socket.sendall(encode(Hello(process="bench", pid=os.getpid(), role="admin"), 1024))
        self._socket.recv(65536)
        self._ended = threading.Event()
        self._longest = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._ended.is_set():
            heard = True
            try:
                if not self._socket.recv(65536):
                    return
            except TimeoutError:
                heard = False
            now = time.monotonic()
            self._longest = max(self._longest, now - last)
            last = now if heard else last

    def stop(self) -> float:
        """Seconds of the longest silence."""
        self._ended.set()
        self._thread.join()
        self._socket.close()
        return self._longest


def _start(stack: ExitStack, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, *arguments])
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise PartError("the recorder does not start")
        time.sleep(0.02)
