"""recordings/admin/parts.py: together the parts are the text, and each can be read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.admin.parts import MAX_CHARACTERS, MAX_LINES, paged, split


@given(st.lists(st.sampled_from(["a", "\n", "word " * 50, "\n" * 30, "x" * 3000]), max_size=40).map("".join))
def test_the_parts_are_the_text_and_none_is_too_long(text):
    parts = split(text)
    assert "".join(parts) == text
    assert all(part or not text for part in parts)
    assert all(len(part) <= MAX_CHARACTERS and part.count("\n") <= MAX_LINES for part in parts)


def test_a_short_text_is_one_part():
    assert split("SELECT 1") == ["SELECT 1"]
    assert split("") == [""]


def test_a_cut_is_behind_a_line():
    assert split("line\n" * 2000)[0].endswith("\n")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y\n" * 100, "z" * 9000])), max_size=5))
def test_pages_hold_every_part_of_every_section_in_order(sections):
    pages = paged(sections)
    assert pages
    flat = [part for page in pages for part in page]
    assert "".join(part.text for part in flat) == "".join(text for _, text in sections)
    assert [part.section for part in flat if part.number == 1] == [name for name, _ in sections]
    assert all(sum(len(part.text) for part in page) <= MAX_CHARACTERS for page in pages)


def test_short_sections_share_a_page():
    assert [[part.section for part in page] for page in paged([("command", "a"), ("detail", "b")])] == [
        ["command", "detail"]
    ]
