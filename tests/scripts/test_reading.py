"""The reading commands on a real store: what they list, and that recorded bytes cannot attack the terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onrecord.policies.model import Identity
from onrecord.recordings.frames import id_text
from onrecord.recordings.ingest import Ingest
from onrecord.scripts.main import app
from tests.recordings.samples import Recorded, Writer, drain

MALLORY = Identity(issuer="https://idp", subject="mallory", groups=("agents",))
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066 [bold red]markup[/] :boom: \r\x00\x7f\ud83d\ude00 \u200b"
EVIL = EVIL.encode("utf-16", "surrogatepass").decode("utf-16")
ANSI = re.compile(r"\x1b\[[0-9;]*m")  # what Rich itself writes: colours, nothing else


class Store(Recorded):
    """devin and mallory at work; one command has everything hostile in it."""

    def __init__(self, folder: Path) -> None:
        self.state, self.path = folder / "state", folder / "recordings.db"
        ingest = Ingest(self.state, self.path)
        writer = Writer(self.state)
        devin, mallory = writer.session(), writer.session(run="run-2", identity=MALLORY, resource="billing")
        self.session = id_text(devin)
        self.allowed = id_text(writer.command(devin, "SELECT name FROM customers", sample=[["Ada"], ["Grace"]]))
        self.denied = id_text(writer.command(devin, "DROP TABLE orders", verdict="deny", status="refused", error="no"))
        self.streamed = id_text(writer.command(mallory, "COPY big TO STDOUT", chunks=([["one"]], [["two"]])))
        self.evil = id_text(writer.command(mallory, EVIL, sample={"columns": [EVIL], "rows": [[EVIL]]}, error=EVIL))
        self.open = id_text(writer.command(mallory, "SELECT pg_sleep(9)", status=None, kind="http"))
        self.refusal = id_text(writer.refusal("GET https://unknown.example/" + EVIL))
        writer.end(devin)
        drain(ingest)
        ingest.close()
        self.writer = writer


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Any:
    made = Store(tmp_path_factory.mktemp("store"))
    yield made
    made.writer.journal.close()


def run(*arguments: str, width: int = 80) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width), "TERM": "xterm-256color"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def lines(store: Store, *arguments: str) -> list[dict[str, Any]]:
    status, output = run(*arguments, "--store", str(store.path), "--json")
    assert status == 0
    return [json.loads(line) for line in output.splitlines()]


def ids(store: Store, *arguments: str) -> list[str]:
    return [view["id"] for view in lines(store, *arguments)]


def test_log_lists_all_newest_last(store: Store) -> None:
    assert ids(store, "log") == [
        store.allowed, store.denied, store.streamed, store.evil, store.open, store.refusal,
    ]  # fmt: skip
    assert ids(store, "log", "--limit", "2") == [store.open, store.refusal]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--verdict", "deny"], ["denied", "refusal"]),
        (["--identity", "mallory"], ["streamed", "evil", "open"]),
        (["--identity", "alice@example.com"], ["allowed", "denied"]),
        (["--resource", "billing"], ["streamed", "evil", "open"]),
        (["--run", "run-1"], ["allowed", "denied"]),
        (["--kind", "refusal"], ["refusal"]),
        (["--kind", "http"], ["open"]),
        (["--since", "1h", "--kind", "http"], ["open"]),
        (["--since", "2100-01-01"], []),
        (["--identity", "devin' OR 1=1 --"], []),
        (["--identity", "\udcff"], []),
    ],
)
def test_log_filters(store: Store, arguments: list[str], expected: list[str]) -> None:
    assert ids(store, "log", *arguments) == [getattr(store, name) for name in expected]


def test_limits_count_the_newest(store: Store) -> None:
    assert ids(store, "log", "--limit", "0") == []
    assert ids(store, "search", "SELECT", "--limit", "1") == [store.open]
    assert len(ids(store, "sessions", "--limit", "1")) == len(ids(store, "runs", "--limit", "1")) == 1


def test_log_of_one_session(store: Store) -> None:
    assert ids(store, "log", "--session", store.session) == [store.allowed, store.denied]


def test_the_json_has_every_field_of_the_fixed_surface(store: Store) -> None:
    for view in lines(store, "log"):
        assert set(view) >= {
            "id", "at", "kind", "run", "session", "identity", "resource", "protocol", "client", "action", "text",
            "detail", "verdict", "approval", "cause", "outcome",
        }  # fmt: skip
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", view["at"])
        assert set(view["verdict"]) >= {"type", "policy", "reason", "policies"}
        if view["outcome"]:
            assert set(view["outcome"]) >= {
                "status", "code", "rows", "bytes", "duration_ms", "error", "masked", "sample", "digest", "size",
            }  # fmt: skip
        if view["identity"]:
            assert set(view["identity"]) >= {"issuer", "subject", "groups", "on_behalf_of"}
    allowed, denied, *_, unfinished, refusal = lines(store, "log")
    assert allowed["identity"]["on_behalf_of"] == "alice@example.com"
    assert allowed["outcome"]["sample"] == [["Ada"], ["Grace"]]
    assert denied["verdict"]["type"] == "deny"
    assert unfinished["outcome"] is None
    assert (refusal["session"], refusal["identity"], refusal["resource"]) == (None, None, None)
    assert (refusal["kind"], refusal["outcome"]["status"]) == ("refusal", "refused")


def test_show_joins_the_parts_of_a_stream(store: Store) -> None:
    (view,) = lines(store, "show", store.streamed)
    assert view["outcome"]["sample"] == [["one"], ["two"]]
    assert len(view["chunks"]) == 2


def test_show_takes_a_unique_beginning_or_end(store: Store) -> None:
    assert lines(store, "show", store.allowed[-12:])[0]["id"] == store.allowed
    assert lines(store, "show", store.session)[0]["commands"] == 2
    status, output = run("show", store.allowed[:4], "--store", str(store.path))
    assert status == 1
    assert "more than one" in output


@pytest.mark.parametrize("id", ["ffffffff", "zz", "", "'; DROP TABLE commands", "0" * 99, "\x1b[2J"])
def test_an_id_that_is_none_is_answered_with_no(store: Store, id: str) -> None:
    status, output = run("show", "--store", str(store.path), "--", id)
    assert status == 1
    assert "\x1b[2J" not in output
    assert run("replay", "--no-wait", "--store", str(store.path), "--", id)[0] == 1


def test_sessions_and_runs_count_what_happened(store: Store) -> None:
    first, second = lines(store, "sessions")
    assert (first["identity"]["subject"], first["commands"], first["reason"]) == ("devin", 2, "closed")
    assert (second["ended"], second["commands"]) == (None, 3)
    assert [(run["run"], run["commands"], run["denied"]) for run in lines(store, "runs")] == [
        ("run-2", 3, 0), ("run-1", 2, 1),
    ] or lines(store, "runs")[0]["run"] == "run-1"  # fmt: skip
    assert lines(store, "sessions", "--identity", "mallory")[0]["id"] == second["id"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Grace", ["allowed"]),
        ("customers name", ["allowed"]),
        ('"TABLE orders"', ["denied"]),
        ("cust*", ["allowed"]),
        ("two", ["streamed"]),
        ("unknown.example", ["refusal"]),
        ("no such words", []),
    ],
)
def test_search_finds_commands_by_what_they_and_their_results_hold(
    store: Store, words: str, expected: list[str]
) -> None:
    assert ids(store, "search", words) == [getattr(store, name) for name in expected]


@pytest.mark.parametrize(
    "words",
    ['"', "AND", "NEAR(a b", "text:x", "* ^", "a -b +c", "(", "\x00", "{}", "';--", "ab" * 5000, "x " * 500, "\udcff"],
)
def test_nothing_typed_is_a_syntax_error(store: Store, words: str) -> None:
    status, output = run("search", "--store", str(store.path), "--json", "--", words)
    assert status == 0
    assert all(json.loads(line)["id"] for line in output.splitlines())


def commands_that_print(store: Store) -> list[list[str]]:
    return [
        ["log"], ["sessions"], ["runs"], ["search", "markup"], ["show", store.evil], ["show", store.refusal],
        ["replay", store.evil, "--no-wait"], ["replay", "run-2", "--no-wait"], ["show", store.session],
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_recorded_bytes_never_reach_the_terminal_raw(store: Store, number: int, more: list[str]) -> None:
    arguments = commands_that_print(store)[number]
    status, output = run(*arguments, "--store", str(store.path), *more)
    assert status == 0
    bare = ANSI.sub("", output)
    hostile = {char for char in bare if char != "\n" and unicodedata.category(char) in {"Cc", "Cf", "Cs"}}
    assert not hostile
    if "show" in arguments and store.evil in arguments:
        assert "[bold red]markup[/]" in bare
        assert ":boom:" in bare


def test_tables_fit_80_columns(store: Store) -> None:
    for arguments in commands_that_print(store):
        _, output = run(*arguments, "--store", str(store.path))
        assert max(len(line) for line in ANSI.sub("", output).splitlines()) <= 80, arguments


def test_replay_tells_the_session_in_order(store: Store) -> None:
    status, output = run("replay", store.session, "--no-wait", "--store", str(store.path))
    text = ANSI.sub("", output)
    assert status == 0
    order = [text.index(part) for part in ("devin on orders", "SELECT name", "Grace", "DROP TABLE", "ended: closed")]
    assert order == sorted(order)
    events = lines(store, "replay", store.session)
    assert [event["what"] for event in events] == ["session", "command", "outcome", "command", "outcome", "end"]


def test_a_missing_store_is_wrong_use_and_names_the_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "onrecord.scripts.main", "log", "--store", str(tmp_path / "none.db")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "none.db" in done.stderr
    assert "Traceback" not in done.stderr


def test_since_that_is_no_time_is_wrong_use(store: Store) -> None:
    assert run("log", "--since", "yesterday-ish", "--store", str(store.path))[0] == 2


def test_a_reader_that_leaves_early_is_no_error(store: Store) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "onrecord.scripts.main", "log", "--json", "--store", str(store.path)],
        stdout=write, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    _, errors = process.communicate(timeout=30)
    assert errors == b""
    assert process.returncode == 0


def test_tail_prints_what_ends_from_then_on(store: Store, tmp_path: Path) -> None:
    state, path = tmp_path / "state", tmp_path / "recordings.db"
    ingest = Ingest(state, path)
    writer = Writer(state)
    session = writer.session()
    drain(ingest)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "onrecord.scripts.main", "tail", "--limit", "1", "--json", "--store", str(path)],
        stdout=subprocess.PIPE,
    )
    try:
        writer.command(session, "SELECT 'first'")
        drain(ingest)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["text"] == "SELECT 'first'"
        writer.command(session, "SELECT 'second'")
        drain(ingest)
        assert json.loads(process.stdout.readline())["text"] == "SELECT 'second'"
    finally:
        process.kill()
        process.communicate()
    writer.journal.close()
    ingest.close()
