"""The corpus of command lines: each is what its row says, and no way out of a program is a read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onrecord.policies.shell import analyse

CORPUS = Path(__file__).parents[2] / "corpora" / "shell"


def _rows(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


ROWS = [row for name in ("read", "write", "admin", "unknown") for row in _rows(name)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: repr(row["text"])[:60])
def test_a_line_is_what_the_corpus_says(row):
    found = analyse(row["text"])
    assert found.action == row["action"], found.reasons
    assert sorted(found.programs) == row["programs"]
    assert [list(words) for words in found.argv] == row["argv"]
    assert sorted(found.paths_read) == row.get("paths_read", [])
    assert sorted(found.paths_written) == row.get("paths_written", [])
    assert [list(pair) for pair in found.dials] == row.get("dials", [])
    assert bool(found.reasons) == (row["action"] != "read")


@pytest.mark.parametrize("row", _rows("escapes"), ids=lambda row: repr(row["text"])[:60])
def test_no_way_out_of_a_program_is_a_read(row):
    assert analyse(row["text"]).action != "read"
    assert analyse(row["text"] + " | cat").action != "read"
    assert analyse("echo $(" + row["text"] + ")").action != "read"


@pytest.mark.parametrize(
    "shape",
    ["{}; foo", "foo; {}", "{} | foo", "foo | {}", "{} && foo", "foo || {}", "{} & foo", "(foo); {}", "{{ foo; }}; {}",
     "{}\nfoo", "{} $(foo)", '{} "$(foo)"', "{} `foo`", "{} <(foo)", "if foo; then {}; fi", "while foo; do {}; done",
     "for x in $(foo); do {}; done", "case $(foo) in a) {};; esac", "x=$(foo) {}", "! foo; {}", "f() {{ foo; }}; {}",
     "sh -c foo; {}", "sh -c '{}; foo'", "eval foo; {}", "sudo foo; {}", "env foo; {}", "timeout 5 foo; {}",
     "nice -n 5 foo; {}", "nohup foo; {}", "exec foo; {}", "command foo; {}", "xargs foo; {}", "find . -exec foo \\;; {}",
     "ls > $(foo); {}", "cat <<E\n$(foo)\nE\n{}", "time foo; {}", "busybox foo; {}", "stdbuf -oL foo; {}", "trap foo EXIT; {}",
     "parallel foo; {}", "watch foo; {}", "strace foo; {}", "su -c foo; {}", "ssh h foo; {}", "flock l foo; {}",
     "chroot / foo; {}", "nsenter -t 1 foo; {}", "setsid foo; {}", "script -c foo; {}", "ionice foo; {}", "bash <<E\nfoo\nE\n{}"],
)  # fmt: skip
def test_a_program_added_anywhere_is_among_the_programs(shape):
    for text in ("ls -l", "cat a | grep b", "echo 'x y'"):
        if "'{}" in shape and "'" in text:
            continue
        found = analyse(shape.format(text))
        assert "foo" in found.programs, found
        assert found.action == "unknown"
