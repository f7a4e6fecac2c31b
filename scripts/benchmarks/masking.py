"""Masking a result of ten columns in process: ten detectors, two column rules. No server and no network."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence

from onrecord.policies.config.types import MaskConfig
from onrecord.policies.masking import DETECTORS, Masks, Rule
from onrecord.policies.masking.masks import masks_of
from onrecord.scripts.benchmarks.report import Result, progress
from onrecord.shims.postgres.masking.rows import Column, Plan
from onrecord.shims.postgres.masking.ruled import Ruled
from onrecord.shims.postgres.masking.types import Types
from onrecord.shims.postgres.masking.values import Detecting
from onrecord.shims.postgres.wire import HEADER, message

ROWS = 20_000
READ = 64 * 1024  # bytes that one read gives
KEY = bytes(32)
OIDS = (23, 25, 25, 1043, 1114, 16, 25, 1700, 25, 25)
HITTING, OTHERS = (2, 3), (8, 9)  # columns
WORDS = ["lorem", "ipsum", "dolor", "sit", "amet", "consetetur", "sadipscing", "elitr", "sed", "diam", "nonumy"]


def measure(rounds: int, seconds: float) -> Result:  # noqa: ARG001  # as every benchmark is called
    """MB of DataRow messages a second of CPU, and microseconds a row."""
    masks = masks_of((MaskConfig(detect=tuple(DETECTORS)),), KEY)
    quiet, loud = _rows(hit=False), _rows(hit=True)
    cases = {
        "nothing hits, no column rule in the result": (_plan(masks), quiet),
        "nothing hits, two column rules": (_plan(masks, HITTING), quiet),
        "every row hits twice, rules on those columns": (_plan(masks, HITTING), loud),
        "every row hits twice, rules on two others": (_plan(masks, OTHERS), loud),
        "every row hits twice, no column rule": (_plan(masks), loud),
    }
    result = Result("Masking a result: ten detectors", ("MB/s", "µs a row"))
    for name, (plan, data) in cases.items():
        progress(name)
        pieces = _pieces(data)
        taken = statistics.median(_take(plan, data, pieces) for _ in range(rounds))
        result.rows[name] = {"MB/s": len(data) / taken / 1e6, "µs a row": taken / ROWS * 1e6}
    progress("")
    result.notes = [
        "bars: 150 MB/s where nothing hits, 25 MB/s where most rows hit",
        "CPU time of one core; a row has about 150 bytes, an e-mail address and a phone number where it hits",
    ]
    return result


def _plan(masks: Masks, ruled: Sequence[int] = ()) -> Plan:
    types = Types(None)
    detecting = Detecting(types, masks, masks.detectors)
    rule = Ruled(types, masks, Rule(name="rule", strategy="partial", key=KEY))
    columns = [Column(types.of(oid), False, rule if i in ruled else detecting) for i, oid in enumerate(OIDS)]
    return Plan(columns, masks.detectors, documents=False)


def _rows(*, hit: bool) -> bytes:
    chosen = random.Random(1)  # noqa: S311  # the same rows each time

    def words(count: int) -> str:
        return " ".join(chosen.choice(WORDS) for _ in range(count))

    def row(number: int) -> bytes:
        mail = f"{chosen.choice(WORDS)}.{number}@{chosen.choice(WORDS)}.example" if hit else words(2)
        phone = f"+49 151 {chosen.randrange(10**6, 10**7)}" if hit else words(2)
        when, price = "2026-11-22 10:00:00", f"{number}.50"
        cells = [str(number), words(2), mail, phone, when, "t", words(5), price, words(3), words(4)]
        body = b"".join(len(cell).to_bytes(4, "big") + cell.encode() for cell in cells)
        return message(b"D", len(cells).to_bytes(2, "big") + body)

    return b"".join(row(number) for number in range(ROWS))


def _pieces(data: bytes) -> list[tuple[int, int]]:
    found, start, at = [], 0, 0
    while at < len(data):
        at += 1 + HEADER.unpack_from(data, at)[1]
        if at - start >= READ or at >= len(data):
            found.append((start, at))
            start = at
    return found


def _take(plan: Plan, data: bytes, pieces: list[tuple[int, int]]) -> float:
    began = time.process_time()
    for start, end in pieces:
        plan.mask(data, start, end, {})
    return time.process_time() - began
