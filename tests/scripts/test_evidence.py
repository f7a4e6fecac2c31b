"""`onrecord verify`: what it prints and its exit status."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onrecord.policies.errors import StoreError
from onrecord.scripts.main import app
from tests.helpers import make_config
from tests.recordings.samples import Recorded


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path, 5)


def run(recorded: Recorded, *arguments: str) -> tuple[int, str]:
    paths = ["--store", str(recorded.path), "--checkpoints", str(recorded.checkpoints)]
    vkey = recorded.state / "evidence.vkey"
    result = CliRunner().invoke(app, ["verify", *paths, "--vkey", str(vkey), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_an_unaltered_store_is_ok_with_status_0(recorded: Recorded) -> None:
    status, output = run(recorded, "--json")
    report = json.loads(output)
    assert status == 0
    assert report["ok"] is True
    assert report["records"] == recorded.verify().records
    assert report["checkpoint"]
    assert run(recorded)[1].startswith("ok: ")


def test_an_altered_store_is_named_with_status_1(recorded: Recorded) -> None:
    with closing(sqlite3.connect(recorded.path, isolation_level=None)) as connection:
        connection.execute("UPDATE commands SET verdict = 'allow' WHERE verdict = 'deny'")
    status, output = run(recorded, "--json")
    report = json.loads(output)
    assert status == 1
    assert set(report) == {"ok", "first_bad", "damage"}
    assert report["ok"] is False
    assert report["first_bad"]
    assert report["first_bad"] in run(recorded)[1]


def test_a_trusted_checkpoint_is_read_from_a_file(recorded: Recorded, tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text(recorded.verify().checkpoint)
    assert run(recorded, "--trusted", str(note))[0] == 0
    note.write_text("junk")
    assert run(recorded, "--trusted", str(note))[0] == 1


def test_before_the_first_record_there_is_nothing_to_verify(tmp_path: Path) -> None:
    setup = make_config(tmp_path)
    with pytest.raises(StoreError, match=r"evidence\.vkey"):
        CliRunner().invoke(app, ["verify", "-c", str(setup.path)], catch_exceptions=False)
