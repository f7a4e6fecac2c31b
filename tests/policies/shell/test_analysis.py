"""analyse() says what a command line does, and never raises."""

from __future__ import annotations

import pytest

from onrecord.policies.shell import analyse


def test_a_plain_pipeline_is_a_read_with_its_words_and_paths():
    found = analyse("ls -la /var/log | grep -v foo | head -n 5")
    assert found.action == "read"
    assert found.argv == (("ls", "-la", "/var/log"), ("grep", "-v", "foo"), ("head", "-n", "5"))
    assert set(found.programs) == {"ls", "grep", "head"}
    assert set(found.paths_read) == {"/var/log"}


@pytest.mark.parametrize(
    "line", ["", "\0", "ls\r", "ls \ud800", "(" * 5000, "$(" * 500, "a;" * 20000, "x" * 100000, "'", "<<<", "\\"]
)
def test_what_cannot_be_read_is_unknown_and_never_raises(line):
    assert analyse(line).action == ("read" if not line else "unknown")
