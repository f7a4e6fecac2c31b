"""The reading commands on a store that is none, or was damaged: one plain line, an exit status, no traceback."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.scripts.main import app
from tests.recordings.samples import Recorded

COMMANDS = (["log"], ["log", "--json"], ["runs"], ["sessions", "--json"], ["search", "orders"], ["show", "01"])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("damage"), commands=200)


def run(store: Path, command: list[str]) -> Result:
    return CliRunner().invoke(app, [*command, "--store", str(store)])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("what", ["missing", "empty", "junk", "a folder", "damaged pages"])
def test_a_store_that_cannot_be_read_is_an_error_in_words(
    recorded: Recorded, tmp_path: Path, what: str, command: list[str]
) -> None:
    store = tmp_path / "store.db"
    if what == "empty":
        store.touch()
    elif what == "junk":
        store.write_bytes(b"junk" * 2000)
    elif what == "a folder":
        store.mkdir()
    elif what == "damaged pages":
        data = recorded.path.read_bytes()
        store.write_bytes(data[:8192] + b"\xa5" * (len(data) - 8192))
    result = run(store, command)
    assert isinstance(result.exception, OnrecordError), result.output
    assert "store.db" in str(result.exception)


@pytest.mark.parametrize("leaf", [b"", b"short", b"\xff" * 88], ids=["nothing", "short", "junk"])
def test_a_record_that_is_none_any_more_is_listed_as_unreadable(
    recorded: Recorded, tmp_path: Path, leaf: bytes
) -> None:
    store = tmp_path / "store.db"
    shutil.copy(recorded.path, store)
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("UPDATE records SET leaf = ?", (leaf,))
    for command in (["log"], ["log", "--json"], ["runs"], ["sessions"], ["search", "orders"]):
        result = run(store, command)
        assert result.exit_code == 0, (command, result.exception)
    assert "unreadable" in run(store, ["log", "--json", "--limit", "1"]).output


@pytest.mark.parametrize(
    "arguments",
    [
        ["log", "--limit", "-1"], ["log", "--limit", "x"], ["log", "--since", "yesterday-ish"], ["log", "--nope"],
        ["show"], ["search"], ["replay"], ["replay", "01", "--speed", "0"], ["tail", "--limit", "-1"],
        ["log", "--since", "999999999w", "extra"], ["show", "01", "02"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_use_has_status_2(recorded: Recorded, arguments: list[str]) -> None:
    result = run(recorded.path, arguments)
    assert result.exit_code == 2
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "since", ["999999999w", "0001-01-01", "9999-12-31", "1970-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_any_time_is_answered(recorded: Recorded, since: str) -> None:
    assert run(recorded.path, ["log", "--since", since]).exit_code == 0


@pytest.mark.parametrize("id", ["zz", "", "01", "0" * 32, "01a2\x1b[2J"])
@pytest.mark.parametrize("command", ["show", "replay"])
def test_an_id_that_names_nothing_or_too_much_has_status_1(recorded: Recorded, command: str, id: str) -> None:
    result = run(recorded.path, [command, id])
    assert result.exit_code == 1
    assert "\x1b" not in result.output


def test_a_session_that_is_no_id_is_wrong_use(recorded: Recorded) -> None:
    result = run(recorded.path, ["log", "--session", "nope"])
    assert isinstance(result.exception, OnrecordError)
    assert not isinstance(result.exception, StoreError)
