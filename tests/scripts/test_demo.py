"""The demo is run as a newcomer runs it: its own processes, real curl and psql."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import wait_until

WIDE = {**os.environ, "COLUMNS": "250"}


def start_demo(*options: str, out) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "onrecord.scripts.main", "demo", *options]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=WIDE)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    log = tmp_path_factory.mktemp("demo") / "out"
    with log.open("wb") as out:
        status = start_demo("--attack", out=out).wait(110)
    assert status == 0, log.read_text()[-8000:]
    return log.read_text()


def test_the_agent_sees_native_refusals(shown):
    assert "UPDATE 1" in shown
    assert "ERROR:  onrecord: guard_destructive_sql" in shown
    assert '"policy":"onrecord:egress"' in shown


def test_the_refused_statements_never_reached_the_database(shown):
    assert "still has 200 orders" in shown


def test_a_host_is_reached_with_the_token_and_its_keys_and_files_are_safe(shown):
    assert "$ ssh app1 'grep -c ERROR ~/app.log'" in shown
    for policy in ("no_key_files", "no_destructive_files", "onrecord:unknown"):
        assert f"onrecord: {policy}: " in shown


def test_a_cluster_is_reached_without_its_credential(shown):
    assert "web-1" in shown
    assert 'pod "web-2" deleted' in shown
    assert "Error from server (Forbidden): no_secrets" in shown


def test_a_held_delete_runs_when_a_human_approves_it(shown):
    assert "waiting for approval" in shown
    assert "onrecord approve" in shown
    assert ": granted" in shown
    assert "DELETE 1" in shown


def test_the_record_is_shown_replayed_and_proved(shown):
    for command in ("$ onrecord log", "$ onrecord replay", "$ onrecord verify"):
        assert command in shown
    assert shown.index("ok: ") < shown.index("Under attack")


def test_every_attack_is_on_record(shown):
    assert shown.count("on record: refused by onrecord:identity") == 3
    assert "on record all the same: DELETE FROM payments" in shown
    assert "ALTERED" in shown


def test_no_credential_is_shown(shown):
    assert not re.search(r"eyJ[\w-]{10,}\.", shown)
    assert "Bearer" not in shown


def test_keep_leaves_it_running_until_it_is_told_to_end(tmp_path):
    log = tmp_path / "out"
    with log.open("wb") as out:
        process = start_demo("--keep", out=out)
    try:
        wait_until(lambda: process.poll() is not None or "Ctrl-C ends it all" in log.read_text(), timeout=90)
        assert process.poll() is None, log.read_text()[-8000:]
        lines = [line.strip() for line in log.read_text().splitlines() if line.startswith("  ")]
        setup = next(line for line in lines if line.startswith("eval "))
        psql = next(line for line in lines if "-d orders" in line)
        curl = next(line for line in lines if line.startswith("curl "))
        script = f"set -e; {setup}; {psql} -c 'SELECT count(*) FROM orders'; {curl}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "198" in done.stdout
        assert "inv_0001" in done.stdout
        folder = Path(re.search(r"(/\S+)/gateway/mitm\.toml", log.read_text()).group(1))  # type: ignore[union-attr]
        assert folder.exists()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert not folder.exists()


def test_a_held_delete_is_approved_on_the_page_too(shown):
    assert "approved the next DELETE on the page" in shown
