"""docs/howto/console.md and export.md: keys exist, filters are read, the program for proofs says what is proved."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.recordings.console.badges import Badge
from onrecord.recordings.console.conditions import compile_query
from onrecord.recordings.console.language import FIELDS, parse
from onrecord.recordings.console.screens.approvals import ApprovalsScreen
from onrecord.recordings.console.screens.replay import ReplayScreen
from onrecord.recordings.console.screens.timeline import TimelineScreen
from onrecord.recordings.export.material import Archive
from onrecord.recordings.export.proofs import proof_lines, prove
from onrecord.recordings.export.writing import FORMATS
from tests.recordings.console.story import Story, shop_story

DOCS = Path(__file__).resolve().parents[3] / "docs/howto"
CONSOLE, EXPORT = (DOCS / "console.md").read_text(), (DOCS / "export.md").read_text()


def sample(text: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


@pytest.mark.parametrize("line", sample(CONSOLE, "text").splitlines())
def test_each_filter_that_is_shown_is_read(line):
    compile_query(parse(line))


def test_each_field_and_badge_is_described():
    for field in FIELDS:
        assert f"`{field}`" in CONSOLE
    for badge in Badge:
        assert f"| `{badge.sign}` |" in CONSOLE


@pytest.mark.parametrize("screen", [TimelineScreen, ApprovalsScreen, ReplayScreen])
def test_each_key_is_described(screen):
    named = {"slash": "/", "full_stop": ".", "comma": ",", "minus": "-", "plus": "+", "left": "←", "right": "→"}
    words = {"escape", "tab", "home", "end", "space", "q"}
    for binding in screen.BINDINGS:
        key = binding.key.partition(",")[0]
        assert key in words or f"`{named.get(key, key)}`" in CONSOLE, key


def test_each_format_is_described():
    for name in FORMATS:
        assert f"| `{name}` |" in EXPORT


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = shop_story(tmp_path)
    made.store()
    yield made
    made.close()


def test_the_program_that_is_shown_checks_a_proof(story, tmp_path):
    program = tmp_path / "check.py"
    program.write_text(sample(EXPORT, "python"))
    with Archive(story.path) as archive:
        subject = archive.subject("fix-invoices")
        lines = list(proof_lines(prove(archive, archive.record_numbers(subject), story.path, story.state)))
    path = tmp_path / "proof.jsonl"

    def run() -> list[str]:
        done = subprocess.run([sys.executable, str(program), str(path)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    path.write_text("".join(lines))
    assert len(run()) == 11
    assert all(line.endswith(" proved") for line in run())
    other = json.loads(lines[3]) | {"leaf": json.loads(lines[2])["leaf"]}
    path.write_text("".join([*lines[:3], json.dumps(other) + "\n", *lines[4:]]))
    assert [line for line in run() if "NOT PROVED" in line] == [f"{other['number']} NOT PROVED"]
