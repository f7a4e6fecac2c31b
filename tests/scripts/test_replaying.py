"""Replay and live tail of terminals, on a real terminal: what is seen; nothing recorded gets there as it is."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from onrecord.policies.model import Outcome
from onrecord.recordings.frames import Kind, id_text, new_id
from onrecord.recordings.ingest import Ingest
from onrecord.recordings.records import ChunkRecord, CommandRecord, VerdictRecord
from onrecord.recordings.terminal.film import Film
from onrecord.recordings.terminal.pieces import Piece
from onrecord.scripts.replaying import parse_moment
from onrecord.scripts.terminal_screen import printed_lines
from tests.recordings.samples import Writer, drain

SECOND = 1_000_000_000
ATTACK = "\x1b]52;c;ZXZpbA==\x07\x1b]0;owned\x07\x1bP+q\x1b\\\x1b[6n\x1b[3J\x9b21t\u202e"
OWN = re.compile(r"\x1b\[(?:\?1049[hl]|\?25[hl]|2J|[0-9;]*[HKm])")


class Shell:
    """A store with one session in which a shell ran on a terminal, and a command without one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "recordings.db"
        self.ingest = Ingest(folder / "state", self.path)
        self.writer = Writer(folder / "state")
        self.raw = self.writer.session(resource="prod")
        self.session = id_text(self.raw)

    def begin(self, text: str) -> bytes:
        command = new_id()
        ruling = VerdictRecord(type="allow", policy="guard", policies="sha256:0")
        record = CommandRecord(kind="kubernetes", action="write", text=text, detail={}, verdict=ruling)
        self.writer.journal.append(Kind.COMMAND, record, id=command, session=self.raw, command=command)
        return command

    def chunk(self, command: bytes, data: object, channel: str, *, up: bool = False, at: int = 0) -> None:
        size = len(data.encode()) if isinstance(data, str) else 0
        record = ChunkRecord(direction="to_upstream" if up else "to_client", size=size, data=data, channel=channel)
        self.writer.journal.append(Kind.CHUNK, record, session=self.raw, command=command, at=at)

    def finish(self, command: bytes, code: str = "0") -> None:
        outcome = Outcome(status="ok", code=code)
        self.writer.journal.append(Kind.OUTCOME, outcome, session=self.raw, command=command)
        self.writer.journal.flush()
        drain(self.ingest)

    def close(self) -> None:
        self.ingest.close()
        self.writer.journal.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.close()


def record_shell(shell: Shell) -> bytes:
    command = shell.begin("kubectl exec -it web -- sh")
    start = time.time_ns()
    shell.chunk(command, {"columns": 60, "rows": 12}, "resize", up=True, at=start)
    shell.chunk(command, "$ ", "terminal", at=start + SECOND // 10)
    shell.chunk(command, "ls\r", "terminal", up=True, at=start + SECOND)
    shell.chunk(command, f"ls{ATTACK}\r\n\x1b[31mred.txt\x1b[0m\r\n$ ", "terminal", at=start + 2 * SECOND)
    shell.chunk(command, "exit\r\n", "terminal", at=start + 60 * SECOND)
    shell.finish(command, "0")
    return command


def on_terminal(*arguments: str, columns: int = 80, rows: int = 24, until: str = "") -> str:
    """What `onrecord ARGUMENTS` writes to a terminal."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": str(rows), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "onrecord.scripts.main", *arguments],
        stdin=slave, stdout=slave, stderr=slave, env=environment,
    )  # fmt: skip
    os.close(slave)
    written = b""
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    part = os.read(master, 65536)
                except OSError:
                    break
                written += part
                if until and until.encode() in written:
                    break
            elif process.poll() is not None:
                break
    finally:
        process.terminate()
        process.wait(30)
        os.close(master)
    return written.decode("utf-8", "replace")


def test_a_shell_is_played_on_the_terminal_with_our_own_sequences_only(shell: Shell) -> None:
    command = id_text(record_shell(shell))
    seen = on_terminal("replay", command, "--store", str(shell.path), "--speed", "20", "--idle", "0.2")
    assert "red.txt" in seen
    assert "\x1b[31m" in seen
    assert seen.count("\x1b[?1049h") == seen.count("\x1b[?1049l") == 1
    assert not re.search(r"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202e]", OWN.sub("", seen))
    assert "\x1b" not in OWN.sub("", seen)
    assert "evil" not in seen
    assert "owned" not in seen


def test_a_seek_begins_in_the_middle(shell: Shell) -> None:
    command = id_text(record_shell(shell))
    seen = on_terminal("replay", command, "--store", str(shell.path), "--from", "0:30", "--idle", "0.1")
    first_picture = seen.partition("\x1b[?1049h")[2]
    assert "red.txt" in first_picture.partition("exit")[0]
    assert re.search("00:(29|30)/0", OWN.sub("", seen))


def test_without_a_terminal_the_lines_are_printed(shell: Shell) -> None:
    command = id_text(record_shell(shell))
    done = subprocess.run(
        [sys.executable, "-m", "onrecord.scripts.main", "replay", command, "--store", str(shell.path), "--no-wait"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "  red.txt" in done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert "owned" not in done.stdout


def test_output_without_a_terminal_is_shown_by_channel(shell: Shell) -> None:
    command = shell.begin("kubectl exec web -- ls")
    shell.chunk(command, "bin\netc\n", "stdout")
    shell.chunk(command, "warned\x1b]0;owned\x07\n", "stderr")
    shell.finish(command, "3")
    done = subprocess.run(
        [
            sys.executable, "-m", "onrecord.scripts.main", "replay", id_text(command), "--store", str(shell.path),
            "--no-wait",
        ],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "← stdout 8 bytes" in done.stdout
    assert "← stderr" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\\x1b]0;owned\\x07" in done.stdout


def test_tail_of_a_session_follows_a_shell_as_it_happens(shell: Shell) -> None:
    command = shell.begin("kubectl exec -it web -- sh")
    shell.chunk(command, "first\r\n", "terminal")
    shell.writer.journal.flush()
    drain(shell.ingest)
    found: list[str] = []
    follower = threading.Thread(
        target=lambda: found.append(on_terminal("tail", shell.session, "--store", str(shell.path)))
    )
    follower.start()
    time.sleep(2)  # nothing depends on it: what came before is shown too
    shell.chunk(command, f"second{ATTACK}\r\n", "terminal")
    shell.finish(command)
    shell.writer.end(shell.raw)
    drain(shell.ingest)
    follower.join(60)
    assert not follower.is_alive()
    assert "first" in found[0]
    assert "second" in found[0]
    assert "ended: closed" in found[0]
    assert "owned" not in found[0]
    assert "\x1b]" not in found[0]


def test_tail_of_a_session_prints_json(shell: Shell) -> None:
    record_shell(shell)
    shell.writer.end(shell.raw)
    drain(shell.ingest)
    done = subprocess.run(
        [
            sys.executable, "-m", "onrecord.scripts.main", "tail", shell.session[:18], "--store", str(shell.path),
            "--json",
        ],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["what"] for event in events] == ["session", "command", *["chunk"] * 5, "outcome", "end"]
    assert events[2]["channel"] == "resize"


def test_tail_of_no_session_says_so(shell: Shell) -> None:
    record_shell(shell)
    done = subprocess.run(
        [sys.executable, "-m", "onrecord.scripts.main", "tail", "ffffffff", "--store", str(shell.path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no record" in done.stderr


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1:30", 90), ("1:02:03", 3723), ("0.5", 0.5), (None, 0)])
def test_moments_are_read(text: str | None, seconds: float) -> None:
    assert parse_moment(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1", "1:2:3:4", "1e9"])
def test_what_is_no_moment_is_wrong_use(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_moment(text)


def test_lines_that_were_overwritten_show_what_was_left() -> None:
    film = Film([Piece(0, "output", "10%\r50%\r100%\r\ndone\r\n")])
    assert list(printed_lines(film)) == ["100%", "done", ""]
