"""The record itself, without a network: journal appends, ingest into the store, size per command, verify.

A command is what the PostgreSQL shim records for a SELECT with one row: the command before it goes upstream (one
write), the outcome with a sample of its result (with the next write). Redaction is on; policies are not asked here.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from onrecord.policies.model import Command, Identity, NameSet, Outcome, Resource, Session, SqlCommand
from onrecord.policies.redaction import Redactor
from onrecord.policies.verdict import Allow, Ruling
from onrecord.recordings.auditor import Auditor, Decision, OpenSession
from onrecord.recordings.evidence.custody import checkpoints_path
from onrecord.recordings.evidence.verify import verify
from onrecord.recordings.ingest import Ingest
from onrecord.recordings.journal import Journal
from onrecord.scripts.benchmarks.record_beside import BUSY, RATE, Paced, watch
from onrecord.scripts.benchmarks.report import Result, progress
from onrecord.scripts.parts.postgres import PartError

COMMANDS = 20_000
PER_SESSION = 500
IDENTITY = Identity(issuer="https://idp.example.com", subject="agent-7", groups=("agents",), run="run-1")
RESOURCE = Resource(name="orders", type="postgres", groups=("agents",), default="allow")


class _AllowAll:
    """The engine's place: this benchmark is about the record."""

    digest = "sha256:bench"

    def decide(self, command: Command) -> Ruling:  # noqa: ARG002  # the protocol's names
        return Ruling(Allow(), "onrecord:default")

    def session_start(self, session: Session) -> Ruling | None:  # noqa: ARG002
        return None

    def session_end(self, session: Session) -> None:  # noqa: ARG002
        return None

    def outcome(self, command: Command, outcome: Outcome) -> None:  # noqa: ARG002
        return None


class _NoRefusal:
    refusal = None


def measure(rounds: int, seconds: float) -> Result:
    """`rounds` times a fresh state folder with 20,000 commands; medians.

    `seconds` is for how long one is written to beside others.
    """
    taken = [_once(number, rounds) | beside(number, rounds, seconds) for number in range(rounds)]
    progress("")
    result = Result(f"The record: {COMMANDS:,} SELECTs with one row each", ["median"])
    for name in taken[0]:
        result.rows[name] = {"median": statistics.median(figures[name] for figures in taken)}
    result.notes = [
        "a command is two records: the command, one write before it goes upstream, and the outcome",
        "ingest: FULL-synchronous transactions, hash tree, signed checkpoints, full-text index",
        f"beside busy processes: a recorder that runs, {RATE:,} commands/s, {BUSY} processes that take all they can",
        "verify: every hash, every checkpoint, every displayed column computed again",
    ]
    return result


def _once(number: int, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="onrecord-bench-") as temp:
        state = Path(temp) / "state"
        for folder in (state, state / "journal", state / "evidence"):
            folder.mkdir(mode=0o700)
        store = state / "recordings.db"
        progress(f"round {number + 1} of {rounds}: append")
        began = time.perf_counter()
        _append(state)
        append = time.perf_counter() - began
        journals = sum(path.stat().st_size for path in (state / "journal").iterdir())
        progress(f"round {number + 1} of {rounds}: ingest")
        ingest = Ingest(state, store)
        began, before = time.perf_counter(), time.thread_time()
        while ingest.step():
            pass
        took, used = time.perf_counter() - began, time.thread_time() - before
        records = ingest.size
        ingest.close()
        progress(f"round {number + 1} of {rounds}: verify")
        size = sum(path.stat().st_size for path in state.glob("recordings.db*"))
        began = time.perf_counter()
        report = verify(store, checkpoints_path(state), (state / "evidence.vkey").read_text().strip())
        verified = time.perf_counter() - began
        if not report.ok or report.records != records or records < 2 * COMMANDS:
            raise PartError(f"the record is not whole: {report}")
        return {
            "commands/s, journal append (2 records)": COMMANDS / append,
            "µs a command, journal append": append / COMMANDS * 1e6,
            "records/s, ingest": records / took,
            "µs a command, ingest (CPU)": used / records * 2e6,
            "records/s, verify": records / verified,
            "bytes a command, journal": journals / COMMANDS,
            "bytes a command, store with index": size / COMMANDS,
        }


def beside(number: int, rounds: int, seconds: float) -> dict[str, float]:
    """A recorder that runs while commands come at a steady rate: alone, and beside processes that want every core."""
    found: dict[str, float] = {}
    for busy in (0, BUSY):
        progress(f"round {number + 1} of {rounds}: a recorder beside {busy} busy processes")
        with tempfile.TemporaryDirectory(prefix="onrecord-bench-") as temp:
            seen = watch(Path(temp), _one_by_one, seconds, busy)
        where = f"beside {busy} busy processes" if busy else "alone"
        found[f"µs a command, recorder {where} (CPU)"] = seen.used
        found[f"ms, longest lag of the store, {where}"] = seen.lag
        found[f"ms, longest pause between heartbeats, {where}"] = seen.silence
    return found


def _one_by_one(state: Path) -> Paced:
    journal = Journal(state / "journal", "postgres-0")
    auditor = _auditor(journal)
    opened = _open(auditor)
    yield 1
    for texts in _sessions():
        for text, value in texts:
            _command(auditor, opened, text, value)
            yield 2
    auditor.flush()
    yield 0
    journal.close()


def _append(state: Path) -> None:
    journal = Journal(state / "journal", "postgres-0")
    auditor = _auditor(journal)
    for texts in _sessions():
        opened = _open(auditor)
        for text, value in texts:
            _command(auditor, opened, text, value)
        auditor.flush()
        auditor.end_session(opened, "the client left")
    journal.close()


def _auditor(journal: Journal) -> Auditor:
    return Auditor(journal, _AllowAll(), _NoRefusal(), redact=Redactor().clean)


def _open(auditor: Auditor) -> OpenSession:
    return auditor.open_session(
        IDENTITY, RESOURCE, run="run-1", protocol="postgres", client="127.0.0.1:50000", login="agent"
    )


def _command(auditor: Auditor, opened: OpenSession, text: str, value: str) -> None:
    command = SqlCommand(
        session=opened.session,
        action="read",
        text=text,
        kind="SELECT",
        tables_read=NameSet({"public.pgbench_accounts"}),
        columns_read=NameSet({"abalance", "aid"}),
        has_where=True,
    )
    decision = auditor.submit(opened, command)
    if not isinstance(decision, Decision):
        raise PartError("a decision without policies had to wait")
    sample = {"columns": ["abalance"], "rows": [[value]]}
    outcome = Outcome(status="ok", tag="SELECT 1", rows=1, bytes=31, duration_ms=0.2, sample=sample, size=31)
    auditor.finish(decision, outcome, flush=False)


def _sessions() -> Iterator[list[tuple[str, str]]]:
    """Sessions of statements that differ, as pgbench's do."""
    for start in range(0, COMMANDS, PER_SESSION):
        numbers = range(start, start + PER_SESSION)
        yield [
            (f"SELECT abalance FROM pgbench_accounts WHERE aid = {n * 7919 % 500_000};", str(n * 31 % 9973))  # noqa: S608
            for n in numbers
        ]
