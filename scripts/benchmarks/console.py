"""The console over a store of a million records: first paint, key to paint, filters, jumps.

The store is written by the store's own writer, straight from leaves: half a million commands of 40 agents in 4,000
sessions over four protocols, 2% denied, 1% failed. Keys are pressed on a pseudo-terminal of 120 by 40, against the
real program, and timed until the first byte of the next picture comes back; one at a time, each on a still screen.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from onrecord.policies.model import Identity, Outcome
from onrecord.recordings.console.app import ConsoleApp
from onrecord.recordings.console.conditions import compile_query
from onrecord.recordings.console.desk import Desk
from onrecord.recordings.console.language import parse
from onrecord.recordings.console.screens.timeline import TimelineScreen
from onrecord.recordings.console.source import NEWEST
from onrecord.recordings.evidence.checkpoint import Verifier
from onrecord.recordings.evidence.custody import CheckpointFile, checkpoints_path, load_signer
from onrecord.recordings.frames import HEADER, VERSION, Kind, new_id
from onrecord.recordings.records import CommandRecord, SessionEndRecord, SessionRecord, VerdictRecord
from onrecord.recordings.store import Batch, StoreWriter
from onrecord.scripts.benchmarks.report import Result, progress
from onrecord.scripts.parts.postgres import PartError

RECORDS = int(os.environ.get("ONRECORD_BENCH_RECORDS", "1000000"))
PER_SESSION = 125
BATCH = 20_000
COLUMNS, ROWS = 120, 40
QUIET = 0.12  # seconds without output after which the screen is still
KEYS = {  # pressed in turns; each moves something
    "up": [b"\x1b[A"], "down": [b"\x1b[B"], "page up": [b"\x1b[5~"], "page down": [b"\x1b[6~"],
    "the first, the last record": [b"\x1b[H", b"\x1b[F"], "previous trouble": [b"N"], "view": [b"v"],
}  # fmt: skip
FILTERS = (
    "verdict:deny", "identity:agent-7 kind:http", "text~aid", "resource:no-such", "text~needle -verdict:allow",
    "since:1m status:error",
)  # fmt: skip

_encode = msgspec.json.Encoder().encode


def measure(rounds: int, seconds: float) -> Result:
    """Medians over `rounds` starts; the 95th of a hundred keys of a kind. `seconds` is not used."""
    del seconds
    with tempfile.TemporaryDirectory(prefix="onrecord-bench-") as temp:
        state = Path(temp) / "state"
        (state / "evidence").mkdir(mode=0o700, parents=True)
        store = state / "recordings.db"
        records = _build(state, store)
        result = Result(f"The console over {records:,} records, ms", ["median", "p95", "most"])
        starts = [_first_paint(store) for _ in range(max(3, rounds))]
        result.rows["first paint of the timeline, from the application's start"] = _figures(starts)
        programs = []
        for number in range(max(3, rounds)):
            progress(f"start {number + 1}")
            with _Program(store) as program:
                programs.append(program.started)
        result.rows["first paint of the timeline, from the command line"] = _figures(programs)
        with _Program(store) as program:
            for name, keys in KEYS.items():
                progress(f"key {name}")
                times = [program.press(keys[number % len(keys)]) for number in range(100)]
                result.rows[f"key to paint: {name}"] = _figures(times)
        for text in FILTERS:
            progress(f"filter {text}")
            result.rows[f"first page of: {text}"] = _figures([_page(store, text) for _ in range(max(3, rounds))])
        progress("")
        result.notes = [
            "bars: first paint below 300, key to paint below 50 at p95",
            f"terminal of {COLUMNS} by {ROWS}; keys pressed one by one on a still screen, to the first byte of output",
            "a page is what the search finds until 60 lines or the whole store was looked at, in steps of bounded time",
        ]
        return result


def _figures(times: list[float]) -> dict[str, float | str]:
    ordered = sorted(seconds * 1e3 for seconds in times)
    p95 = ordered[max(0, round(0.95 * len(ordered)) - 1)]
    return {"median": statistics.median(ordered), "p95": p95, "most": ordered[-1]}


def _first_paint(store: Path) -> float:
    """Seconds from the application's start to the first picture with lines in it."""

    async def run() -> float:
        began = time.perf_counter()
        app = ConsoleApp(store)
        async with app.run_test(size=(COLUMNS, ROWS)):
            while True:
                screen: object = app.screen
                if isinstance(screen, TimelineScreen) and screen.timeline.drawn:
                    return time.perf_counter() - began
                await asyncio.sleep(0.001)

    return asyncio.run(run())


def _page(store: Path, text: str) -> float:
    async def run() -> float:
        desk = Desk(store)
        try:
            condition = compile_query(parse(text))
            await desk.near.call(lambda source: source.newest())
            began = time.perf_counter()
            await desk.near.call(lambda source: source.page(condition, NEWEST, older=True, limit=60))
            return time.perf_counter() - began
        finally:
            desk.close()

    return asyncio.run(run())


class _Program:
    """`onrecord console` on a pseudo-terminal."""

    def __init__(self, store: Path) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "XDG_CONFIG_HOME": str(store.parent),
        }
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "onrecord.scripts.main", "console", "--store", str(store)],
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        seen = b""
        while b"SELECT" not in seen and b"GET " not in seen:
            if not select.select([self._master], [], [], 60)[0]:
                raise PartError(f"the console showed nothing in 60 s: {seen[-500:]!r}")
            seen += os.read(self._master, 1 << 16)
        self.started = time.perf_counter() - began
        self._settle()
        time.sleep(1.0)
        self._settle()

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._master, b"q")
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def press(self, key: bytes) -> float:
        """Seconds from the key to the first byte that comes back."""
        began = time.perf_counter()
        os.write(self._master, key)
        if not select.select([self._master], [], [], 10)[0]:
            raise PartError(f"the console showed nothing for {key!r}")
        taken = time.perf_counter() - began
        self._settle()
        return taken

    def _settle(self) -> None:
        while select.select([self._master], [], [], QUIET)[0]:
            os.read(self._master, 1 << 16)


def _build(state: Path, store: Path) -> int:
    signer = load_signer(state, fresh=True)
    outside = CheckpointFile(checkpoints_path(state), Verifier.parse(signer.vkey))
    writer = StoreWriter(store, signer)
    batch: list[bytes] = []
    try:
        for leaf in _leaves():
            batch.append(leaf)
            if len(batch) >= BATCH:
                note = writer.commit([Batch(batch)])
                if note is not None:
                    outside.append(writer.size, note)
                batch = []
                progress(f"writing {writer.size:,} of {RECORDS:,} records")
        note = writer.commit([Batch(batch)]) if batch else None
        if note is not None:
            outside.append(writer.size, note)
        return writer.size
    finally:
        writer.close()
        outside.close()


def _leaves() -> Iterator[bytes]:
    """About RECORDS leaves, the last of them now."""
    at = time.time_ns() - RECORDS * 1_000_000
    sessions = RECORDS // (2 * PER_SESSION + 2)
    for number in range(sessions):
        at += 1_000_000
        session = new_id(at)
        protocol, kind = (("postgres", "sql"), ("http", "http"), ("kubernetes", "kubernetes"), ("ssh", "ssh"))[
            number % 4
        ]
        record = SessionRecord(
            run=f"run-{number // 4}",
            identity=Identity(issuer="https://idp.example.com", subject=f"agent-{number % 40}", groups=("agents",)),
            resource=f"{protocol}-{number % 7}", protocol=protocol, client="10.0.0.7:50000", digest_key="00" * 32,
        )  # fmt: skip
        yield HEADER.pack(VERSION, Kind.SESSION, 0, session, session, bytes(16), at) + _encode(record)
        for count in range(PER_SESSION):
            at += 2_000_000
            yield from _command(number * PER_SESSION + count, kind, session, at)
        at += 1_000_000
        ended = _encode(SessionEndRecord(reason="the client left", commands=PER_SESSION))
        yield HEADER.pack(VERSION, Kind.SESSION_END, 0, new_id(at), session, bytes(16), at) + ended


def _command(number: int, kind: str, session: bytes, at: int) -> Iterator[bytes]:
    denied, failed = number % 50 == 7, number % 100 == 3
    text = f"SELECT abalance FROM pgbench_accounts WHERE aid = {number * 7919 % 500_000}"  # noqa: S608
    if kind != "sql":
        text = f"GET https://billing.internal/v1/invoices/{number}"
    id = new_id(at)
    record = CommandRecord(
        kind=kind, action="read", text=text,
        detail={"kind": "SELECT", "tables_read": ["public.pgbench_accounts"], "has_where": True},
        verdict=VerdictRecord(
            type="deny" if denied else "allow", policy="guard" if denied else "onrecord:default",
            reason="not for agents" if denied else "", policies="sha256:" + "ab" * 32,
        ),
    )  # fmt: skip
    yield HEADER.pack(VERSION, Kind.COMMAND, 0, id, session, id, at) + _encode(record)
    outcome = Outcome(
        status="refused" if denied else "error" if failed else "ok", code="42501" if denied else "00000", rows=1,
        bytes=31, duration_ms=0.2, sample=None if denied else {"columns": ["abalance"], "rows": [[str(number % 9973)]]},
    )  # fmt: skip
    yield HEADER.pack(VERSION, Kind.OUTCOME, 0, new_id(at), session, id, at + 200_000) + _encode(outcome)
