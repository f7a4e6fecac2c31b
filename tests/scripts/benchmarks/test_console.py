"""The benchmark of the console: what it builds is a real store, what it times is the real program."""

from __future__ import annotations

import pytest

from onrecord.recordings.evidence.custody import checkpoints_path, vkey_path
from onrecord.recordings.evidence.verify import verify
from onrecord.scripts.benchmarks import console


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "RECORDS", 3000)
    monkeypatch.setattr(console, "BATCH", 700)
    state = tmp_path / "state"
    (state / "evidence").mkdir(mode=0o700, parents=True)
    assert console._build(state, state / "recordings.db") == 11 * 252
    return state / "recordings.db"


def test_the_store_it_builds_verifies(store):
    report = verify(store, checkpoints_path(store.parent), vkey_path(store.parent).read_text())
    assert report.ok, report.damage


def test_it_times_pages_and_keys_of_the_program(store):
    assert console._page(store, "verdict:deny") > 0
    with console._Program(store) as program:
        assert program.started > 0
        assert program.press(b"\x1b[A") > 0
