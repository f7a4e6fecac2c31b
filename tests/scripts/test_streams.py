"""The command line whose output is no UTF-8, full, closed or read by nobody: answer and status stay true."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.recordings.samples import Recorded

NARROW = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "utf-16"},
]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path, 5)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "onrecord.scripts.main", *arguments]


def verify(recorded: Recorded, *arguments: str) -> list[str]:
    paths = ["--store", str(recorded.path), "--checkpoints", str(recorded.checkpoints)]
    return command("verify", *paths, "--vkey", str(recorded.state / "evidence.vkey"), *arguments)


def alter(recorded: Recorded) -> None:
    with closing(sqlite3.connect(recorded.path, isolation_level=None)) as connection:
        connection.execute("UPDATE commands SET verdict = 'allow' WHERE verdict = 'deny'")


@pytest.mark.parametrize("narrow", NARROW)
def test_a_locale_without_utf8_changes_neither_the_answer_nor_the_json(recorded: Recorded, narrow) -> None:
    environment = os.environ | narrow
    proved = subprocess.run(verify(recorded, "--json"), env=environment, capture_output=True, check=False)
    assert (proved.returncode, proved.stderr) == (0, b"")
    assert json.loads(proved.stdout)["checkpoint"] == recorded.verify().checkpoint
    for listing in (["log"], ["sessions"], ["search", "orders"]):
        said = subprocess.run(
            command(*listing, "--store", str(recorded.path)), env=environment, capture_output=True, check=False
        )
        assert (said.returncode, said.stderr) == (0, b"")
        assert said.stdout.isascii()


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_an_output_that_cannot_be_written_is_neither_an_answer_nor_a_traceback(recorded: Recorded, as_json) -> None:
    for asked in (verify(recorded, *as_json), command("log", "--store", str(recorded.path), *as_json)):
        with Path("/dev/full").open("wb") as full:
            said = subprocess.run(asked, stdout=full, stderr=subprocess.PIPE, check=False)
        assert said.returncode == 2
        assert said.stderr == b"onrecord: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("closed", [(0,), (1,), (1, 2), (0, 1, 2)])
def test_closed_streams_change_no_status(recorded: Recorded, closed: tuple[int, ...]) -> None:
    def status() -> int:
        shell = " ".join(f"{descriptor}>&-" for descriptor in closed)
        said = subprocess.run(["sh", "-c", f'"$@" {shell}', "sh", *verify(recorded)], capture_output=True, check=False)
        assert b"Traceback" not in said.stderr
        return said.returncode

    assert status() == 0
    alter(recorded)
    assert status() == 1


def test_an_altered_store_is_no_less_altered_where_nobody_reads_it(recorded: Recorded) -> None:
    alter(recorded)
    for as_json in ([], ["--json"]):
        reader, writer = os.pipe()
        os.close(reader)
        said = subprocess.run(verify(recorded, *as_json), stdout=writer, stderr=subprocess.PIPE, check=False)
        os.close(writer)
        assert (said.returncode, said.stderr) == (1, b"")
