"""The old scp protocol: any chunking says the same; junk raises ScpError and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.ssh.copies.refs import Refs
from onrecord.shims.ssh.copies.scp import Answers, Content, Done, Entry, Line, Said, ScpError, Sender

TALK = b"T1 0 1 0\nD0755 0 d\nC0644 5 f\nhello\0C0600 0 empty\n\0E\nC0644 3 g\nabc\1scp: gone\n"


def said(data: bytes, steps: list[int]) -> list[Said]:
    sender = Sender()
    found: list[Said] = []
    for step in [*steps, len(data)]:
        sender.feed(data[:step])
        data = data[step:]
        while (one := sender.next()) is not None:
            if isinstance(one, Content) and found and isinstance(found[-1], Content):
                found[-1] = Content(found[-1].data + one.data)
            else:
                found.append(one)
    return found


@given(st.lists(st.integers(0, 9)))
def test_any_chunking_says_the_same(steps: list[int]) -> None:
    assert said(TALK, steps) == [
        Line("T", b"T1 0 1 0\n"),
        Entry("D", 0o755, 0, b"d", b"D0755 0 d\n"),
        Entry("C", 0o644, 5, b"f", b"C0644 5 f\n"),
        Content(b"hello"),
        Done(b"\0"),
        Entry("C", 0o600, 0, b"empty", b"C0600 0 empty\n"),
        Done(b"\0"),
        Line("E", b"E\n"),
        Entry("C", 0o644, 3, b"g", b"C0644 3 g\n"),
        Content(b"abc"),
        Done(b"\1scp: gone\n"),
    ]


@given(st.binary())
def test_junk_raises_only_scp_error(data: bytes) -> None:
    for start in (b"", b"C0644 3 f\nabc", b"D0755 0 d\n"):
        with contextlib.suppress(ScpError):
            said(start + data, [])
    with contextlib.suppress(ScpError):
        list(Answers().feed(data))
    Refs().feed(data)


@pytest.mark.parametrize(
    "line",
    [
        b"C0644 5 ../x\n",
        b"C0644 5 a/b\n",
        b"D0755 0 ..\n",
        b"D0755 0 .\n",
        b"C0644 5 a\0b\n",
        b"C99 5 a\n",
        b"E\n",
        b"X\n",
    ],
)
def test_lines_that_lead_elsewhere_are_refused(line: bytes) -> None:
    with pytest.raises(ScpError):
        said(line, [])


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(ScpError):
        said(b"C0644 5 " + b"x" * 10_000, [])


def test_the_refs_of_a_push_are_read_in_front_of_the_pack() -> None:
    old, new = b"0" * 40, b"a" * 40
    lines = [old + b" " + new + b" refs/heads/main\0report-status", new + b" " + old + b" refs/tags/v1"]
    data = b"".join(b"%04x" % (len(line) + 4) + line for line in lines) + b"0000PACK..."
    refs = Refs()
    for at in range(0, len(data), 7):
        refs.feed(data[at : at + 7])
    assert [(change.ref, change.new[:1]) for change in refs.changes] == [
        ("refs/heads/main", "a"),
        ("refs/tags/v1", "0"),
    ]
    assert refs.done
