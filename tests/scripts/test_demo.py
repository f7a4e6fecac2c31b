"""The demo is run as a newcomer runs it: its own processes, real curl and psql."""

import subprocess
import sys

import pytest


def run_demo(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "onrecord.scripts.main", "demo", *options],
        capture_output=True,
        text=True,
        timeout=110,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def shown() -> str:
    done = run_demo("--attack")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout


def test_the_agent_sees_native_refusals(shown):
    assert "UPDATE 1" in shown
    assert "ERROR:" in shown
    assert "403" in shown


def test_the_refused_statements_never_reached_the_database(shown):
    assert "still has 200 orders" in shown


def test_the_record_is_shown_replayed_and_proved(shown):
    for command in ("$ onrecord log", "$ onrecord replay", "$ onrecord verify"):
        assert command in shown


def test_every_attack_is_on_record(shown):
    assert shown.count("on record: refused by") == 3
    assert "on record all the same" in shown
    assert "one byte changed" in shown
