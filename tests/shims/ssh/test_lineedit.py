"""shims/ssh/lineedit.py: keys → lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.ssh.lineedit import Event, LineEditor


def lines(data: bytes, *, terminal: bool = True) -> list[Event]:
    editor = LineEditor(terminal=terminal)
    return editor.feed(data) + editor.finish()


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"ls -l\r", [Event("line", "ls -l")]),
        (b"lx\x7fs\r", [Event("line", "ls")]),
        (b"rm -rf x\x15ls\r", [Event("line", "ls")]),
        (b"rm -rf x\x17y\r", [Event("line", "rm -rf y")]),
        (b"l\x1b[As\x1bOC\r", [Event("line", "ls")]),
        (b"ls\x03id\r", [Event("interrupt"), Event("line", "id")]),
        (b"\x04", [Event("end")]),
        (b"a\x04\r", [Event("line", "a")]),
        ("gr\u00fc\u00dfe\r".encode(), [Event("line", "gr\u00fc\u00dfe")]),
        (b"a\r\nb\n", [Event("line", "a"), Event("line", "b")]),
        (b"a\x00\x01b\r", [Event("line", "ab")]),
    ],
)
def test_keys_make_lines(data, events):
    assert lines(data) == events


def test_a_script_needs_no_last_line_end():
    assert lines(b"one\ntwo", terminal=False) == [Event("line", "one"), Event("line", "two")]


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5), st.booleans())
def test_any_cut_gives_the_same_lines(data, cuts, terminal):
    editor = LineEditor(terminal=terminal)
    events = []
    at = 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        events += editor.feed(data[at:cut])
        at = cut
    assert events + editor.finish() == lines(data, terminal=terminal)
    assert all(event.text.isprintable() or "\t" in event.text for event in events)
