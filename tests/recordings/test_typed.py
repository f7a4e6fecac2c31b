"""recordings/typed.py: what typed text is shown by its echo, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.typed import Lines, Typed


def shown(*steps: tuple[str, bytes]) -> tuple[bytes, int]:
    """What is kept and how much hidden after typing (">") and output ("<")."""
    keys = Typed()
    found = []
    for what, data in steps:
        found += keys.typed(data) if what == ">" else keys.output(data)
    found += keys.finish()
    return b"".join(one.text for one in found), sum(one.hidden for one in found)


@pytest.mark.parametrize(
    ("steps", "text", "hidden"),
    [
        ([(">", b"ls"), ("<", b"ls"), (">", b"\r")], b"ls\r", 0),
        ([(">", b"l"), ("<", b"l"), (">", b"s"), ("<", b"s"), (">", b"\r"), ("<", b"\r\nfile\r\n")], b"ls\r", 0),
        ([(">", b"ls\r"), ("<", b"ls\r\nfile\r\n$ ")], b"ls\r", 0),
        ([(">", b"ls\rid\r"), ("<", b"ls\r\nid\r\nfile\r\n")], b"ls\rid\r", 0),
        ([(">", b"secret\r"), ("<", b"\r\nSorry\r\n")], b"\r", 6),
        ([(">", b"s"), (">", b"e"), (">", b"\r"), ("<", b"\r\n")], b"\r", 2),
        ([(">", b"secret\r"), ("<", b"\r\n$ "), (">", b"ls"), ("<", b"ls"), (">", b"\r")], b"\rls\r", 6),
        ([(">", b"l"), ("<", b"\x1b[4ml\x1b[24m"), (">", b"\r")], b"l\r", 0),
        # letter by letter, as a terminal sends them; what comes later begins with some of the letters
        (
            [(">", b"p"), (">", b"u"), (">", b"r"), (">", b"\r"), ("<", b"\r\n"), ("<", b"user$ "), ("<", b"r")],
            b"\r",
            3,
        ),
        ([(">", b"h"), (">", b"u"), (">", b"\r"), ("<", b"hello")], b"\r", 2),
        ([(">", b"h"), ("<", b"\r\nnews\r\n"), (">", b"i"), ("<", b"i"), (">", b"\r")], b"i\r", 1),
        ([(">", b"secret"), ("<", b"******"), (">", b"\r")], b"\r", 6),
        ([(">", b"secret\r")], b"\r", 6),
        ([(">", b"\x1b[A\r")], b"\x1b[A\r", 0),
        ([(">", b"\x03")], b"\x03", 0),
    ],
)
def test_only_what_is_echoed_is_kept(steps, text, hidden):
    assert shown(*steps) == (text, hidden)


@given(st.lists(st.tuples(st.sampled_from("<>"), st.binary(max_size=40)), max_size=30))
def test_it_takes_anything_and_loses_no_count(steps):
    keys = Typed()
    found = []
    for what, data in steps:
        found += keys.typed(data) if what == ">" else keys.output(data)
    found += keys.finish()
    typed = sum(len(data) for what, data in steps if what == ">")
    assert sum(len(one.text) + one.hidden for one in found) == typed


@given(st.binary(min_size=4, max_size=30).filter(lambda data: min(data) >= 0x20 and 0x7F not in data))
def test_without_output_nothing_typed_is_kept(secret):
    assert shown((">", secret), (">", b"\r"), ("<", b"\r\n")) == (b"\r", len(secret))


def test_the_line_is_what_the_screen_shows():
    lines = Lines(80)
    assert lines.output(b"old\r\n$ lss\b \b -l\x1b[K") == []
    lines.typed(b"\r")
    assert lines.output(b"\r\nfile\r\n$ ") == ["$ ls -l"]
    assert lines.output(b"x\r\n") == []


def test_a_line_that_is_pasted_with_its_end_is_recognised_too():
    lines = Lines(80)
    lines.output(b"$ ")
    lines.typed(b"id\r")
    assert lines.output(b"id\r") == []
    assert lines.output(b"\nuid=0\n$ ") == ["$ id"]


@given(st.binary(max_size=300))
def test_any_output_gives_a_line(data):
    lines = Lines(80)
    lines.typed(b"\r" * 20)
    lines.output(data)
