"""`onrecord console` in a real terminal (tmux), on a store that a real recorder writes meanwhile; export and prove."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onrecord.recordings.ingest import Ingest
from onrecord.scripts.main import app
from tests.helpers import wait_until
from tests.recordings.console.story import EVIL, Story, shop_story
from tests.recordings.samples import Writer, drain


class Tmux:
    """A terminal of its own with one program in it."""

    def __init__(self, folder: Path, command: str, columns: int = 80, rows: int = 24) -> None:
        assert shutil.which("tmux"), "tmux is missing: scripts/setup-debian tmux:tmux"
        self._name = f"onrecord-{secrets.token_hex(6)}"
        self._environment = {
            **os.environ,
            "XDG_CONFIG_HOME": str(folder),
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
        }
        self._run(
            "-u", "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), f"{command}; sleep 300"
        )

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._name, *words], env=self._environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    def keys(self, *names: str) -> None:
        self._run("send-keys", *names)

    def text(self) -> str:
        return self._run("capture-pane", "-p")

    def wait(self, text: str) -> str:
        try:
            wait_until(lambda: text in self.text(), timeout=60)
        except TimeoutError:
            raise AssertionError(f"{text!r} is not on the screen:\n{self.text()}") from None
        return self.text()

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Tmux]]:
    opened: list[Tmux] = []

    def start(*words: str, columns: int = 80, rows: int = 24) -> Tmux:
        command = shlex.join([sys.executable, "-m", "onrecord.scripts.main", "console", *words])
        opened.append(Tmux(tmp_path, command, columns, rows))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_the_console_runs_in_a_terminal_while_a_recorder_writes(tmp_path, terminal):
    state, store = tmp_path / "state", tmp_path / "recordings.db"
    ingest, stop = Ingest(state, store), threading.Event()

    def record() -> None:
        while not stop.wait(0.02):
            ingest.step()

    writer = Writer(state)
    session = writer.session()
    writer.command(session, "SELECT 'the first'" + EVIL)
    drain(ingest)
    recorder = threading.Thread(target=record)
    recorder.start()
    try:
        screen = terminal("--store", str(store))
        screen.wait("the first")
        for number in range(200):
            writer.command(session, f"SELECT {number}", verdict="deny" if number == 77 else "allow")
        screen.wait("SELECT 199")
        screen.keys("N")
        screen.wait("deny    SELECT 77")
        screen.keys("/")
        screen.keys("-l", "text:first")
        screen.keys("Enter")
        text = screen.wait("the first")
        wait_until(lambda: "SELECT 199" not in screen.text(), timeout=30, what="the filter")
        assert "[bold red]markup[/]" in text or "\\x1b]0;owned" in text
        screen.keys("q")
        wait_until(lambda: "onrecord" not in screen.text(), timeout=30, what="the console's end")
    finally:
        stop.set()
        recorder.join()
        writer.journal.close()
        ingest.close()


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = shop_story(tmp_path)
    made.store()
    yield made
    made.close()


def test_the_console_fills_a_large_terminal_and_plays_a_shell(story, terminal):
    screen = terminal("--store", str(story.path), "kind:ssh", columns=200, rows=60)
    screen.wait("app1")
    screen.keys("p")
    screen.wait("deploy@app1$ ls")
    screen.keys("Escape")
    screen.wait("kind:ssh")


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_a_pipe_is_no_place_for_the_console(story):
    from onrecord.policies.errors import OnrecordError

    with pytest.raises(OnrecordError, match="needs a terminal"):
        run("console", "--store", str(story.path))


def test_export_writes_a_file_or_standard_output(story, tmp_path):
    status, output = run("export", "fix-invoices", "--store", str(story.path))
    assert status == 0
    assert len([json.loads(line) for line in output.splitlines()]) == 5
    path = tmp_path / "out.html"
    assert run("export", "restart-app", "--store", str(story.path), "--format", "html", "-o", str(path))[0] == 0
    assert "no proofs" in path.read_text()
    status, output = run("export", "nobody", "--store", str(story.path))
    assert status == 1
    assert run("export", "fix-invoices", "--store", str(story.path), "--format", "cast")[0] == 1
    assert run("export", "x", "--store", str(story.path), "--format", "pdf")[0] == 2


def test_prove_prints_what_an_outsider_checks(story, tmp_path, monkeypatch):
    import onrecord.scripts.exporting as exporting

    monkeypatch.setattr(exporting, "_places", lambda config, store: (story.path, story.state))
    status, output = run("prove", "fix-invoices")
    assert status == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert re.match(r"onrecord/[0-9a-f]{16}\n\d+\n", lines[0]["checkpoint"])
    assert {"number", "leaf", "leaf_hash", "path"} == set(lines[1])
