"""A flood of refusals: the first ones one by one, the rest counted, none lost."""

from __future__ import annotations

from typing import Any, cast

from msgspec.structs import replace

from onrecord.recordings.auditor import Auditor
from onrecord.recordings.records import RefusalRecord
from onrecord.recordings.refusals import BURST, Refusals


class Written:
    """An auditor's `refuse` alone: what it was given, in order."""

    def __init__(self) -> None:
        self.records: list[RefusalRecord] = []

    def refuse(self, record: RefusalRecord) -> str:
        self.records.append(record)
        return f"id-{len(self.records)}"


def refusal(text: str) -> RefusalRecord:
    return RefusalRecord(what="onrecord:protocol", reason="junk", protocol="http", client="a", text=text)


def make(**more: Any) -> tuple[Refusals, Written]:
    written = Written()
    return Refusals(cast("Auditor", written), **more), written


async def test_what_goes_beyond_the_burst_is_counted_and_the_count_recorded_at_the_end() -> None:
    refusals, written = make()
    ids = [refusals.record("10.0.0.1", refusal(str(number))) for number in range(BURST + 7)]
    assert all(ids[:BURST])
    assert not any(ids[BURST:])
    assert refusals.record("10.0.0.2", refusal("other")), "another address has a burst of its own"
    assert refusals.record("10.0.0.1", replace(refusal("x"), reason="a bad token")), "and so has another reason"
    refusals.close()
    assert len(written.records) == BURST + 3
    assert sum(record.count for record in written.records) == BURST + 9
    assert (written.records[-1].count, written.records[-1].text) == (7, str(BURST + 6))


async def test_the_count_is_recorded_when_the_minute_is_over_though_nobody_comes_again() -> None:
    import asyncio

    refusals, written = make(window=0.05)
    for number in range(BURST + 3):
        refusals.record("10.0.0.1", refusal(str(number)))
    while len(written.records) == BURST:
        await asyncio.sleep(0.01)
    assert written.records[-1].count == 3
    assert refusals.record("10.0.0.1", refusal("again"))
    refusals.close()


async def test_more_addresses_than_are_kept_lose_no_count() -> None:
    refusals, written = make()
    for _ in range(BURST + 1):
        refusals.record("first", refusal("x"))
    for number in range(10_000):
        refusals.record(f"10.{number}", refusal("y"))
    assert sum(record.count for record in written.records) == BURST + 1 + 10_000
    refusals.close()


async def test_numbers_in_a_reason_do_not_make_it_another() -> None:
    refusals, written = make()
    for number in range(BURST + 3):
        refusals.record("10.0.0.1", replace(refusal("x"), reason=f"a message of {number} bytes"))
    assert len(written.records) == BURST
    refusals.close()
