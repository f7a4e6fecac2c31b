"""When a snapshot is trusted, when it is read again, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from onrecord.policies.sql.catalog import Catalog
from onrecord.shims.postgres.catalog.counter import Counter
from onrecord.shims.postgres.catalog.decode import CatalogError
from onrecord.shims.postgres.catalog.source import RELOAD, RETRY, TRUSTED, CatalogSource


class Reader:
    """A catalog that can break and that can be made to wait."""

    def __init__(self) -> None:
        self.reads = 0
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()

    def read(self) -> Catalog:
        self.reads += 1
        assert self.gate.wait(10)
        if self.broken:
            raise CatalogError("28P01 no")
        return Catalog()

    def end(self) -> None:
        self.gate.set()


class Setup:
    def __init__(self, state: Path) -> None:
        self.now = 1000.0
        self.reader = Reader()
        self.elsewhere = Counter(state, "orders")  # of another process
        self.source = CatalogSource("orders", self.reader, Counter(state, "orders"), clock=lambda: self.now)


@pytest_asyncio.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(tmp_path)
    yield made
    await made.source.close()
    made.elsewhere.close()


async def test_a_snapshot_is_read_once_and_trusted_for_a_while(setup: Setup):
    source = setup.source
    assert not source.fresh_now
    first = await source.fresh()
    assert first is not None
    setup.now += TRUSTED
    assert source.current is first
    setup.now += 1
    assert not source.fresh_now
    assert await source.fresh() is not first
    assert setup.reader.reads == 2


async def test_ddl_of_any_process_ends_the_trust(setup: Setup):
    first = await setup.source.fresh()
    setup.elsewhere.bump()
    assert setup.source.current is None
    assert await setup.source.fresh() not in (None, first)
    setup.source.changed()
    assert setup.source.current is None


async def test_a_reading_that_began_before_the_change_does_not_count(setup: Setup):
    setup.reader.gate.clear()
    setup.source.start()
    await asyncio.sleep(0.01)
    setup.source.changed()
    waiting = asyncio.create_task(setup.source.fresh())
    await asyncio.sleep(0.01)
    setup.reader.gate.set()
    assert await waiting is not None
    assert setup.reader.reads == 2


async def test_what_cannot_be_read_is_told_once_and_tried_again_later(setup: Setup, caplog: pytest.LogCaptureFixture):
    setup.reader.broken = True
    with caplog.at_level(logging.INFO):
        assert await setup.source.fresh() is None
        assert setup.source.fresh_now  # no use in waiting
        assert await setup.source.fresh() is None
        assert setup.reader.reads == 1
        setup.now += RETRY
        assert await setup.source.fresh() is None
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        setup.reader.broken = False
        setup.now += RETRY
        assert await setup.source.fresh() is not None
    assert "again" in caplog.records[-1].message


async def test_a_failed_look_for_a_new_name_keeps_what_is_known(setup: Setup):
    first = await setup.source.fresh()
    assert not setup.source.may_look_again()
    setup.now += RETRY + 1
    assert setup.source.may_look_again()
    setup.reader.broken = True
    await setup.source.look_again()
    assert setup.source.current is first
    assert not setup.source.may_look_again()


async def test_it_is_kept_warm_only_while_there_are_sessions(setup: Setup):
    setup.source.enter()
    assert await setup.source.fresh() is not None
    setup.now += RELOAD + 1
    setup.source.leave()
    assert setup.source._keeper is None
    setup.source.enter()  # a session that begins finds it being read
    await asyncio.sleep(0.05)
    assert setup.reader.reads == 2
    setup.source.leave()


async def test_names_that_are_changing_are_known_until_they_are_settled(setup: Setup):
    versions = [setup.source.unsettled_version]
    setup.source.announce(["a", "b"])
    setup.source.announce(["a"])
    setup.source.withdraw(["a", "b"])
    versions.append(setup.source.unsettled_version)
    assert list(setup.source.unsettled) == ["a"]
    setup.source.withdraw(["a"])
    assert not setup.source.unsettled
    assert versions[0] != versions[1]
