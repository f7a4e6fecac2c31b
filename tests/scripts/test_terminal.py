"""Recorded text on a terminal: nothing in it acts, and nothing of it is lost."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.scripts.terminal import clean, json_line

HOSTILE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text())
def test_no_character_that_acts_remains(text: str) -> None:
    assert all(unicodedata.category(char) not in HOSTILE for char in clean(text))
    assert all(char == "\n" or unicodedata.category(char) not in HOSTILE for char in clean(text, lines=True))


@given(st.recursive(st.text() | st.integers(-(2**53), 2**53) | st.none(), st.lists, max_leaves=5))
def test_json_says_the_same_and_nothing_in_it_acts(value: object) -> None:
    line = json_line({"value": value})
    assert json.loads(line) == {"value": value}
    assert line.endswith("\n")
    assert all(unicodedata.category(char) not in HOSTILE for char in line[:-1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 漢字", "plain ünïcode 漢字"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\U000e0041", "\\U000e0041"),
        ("\u2028", "\\u2028"),
        ("e\u0301\u0302\u0303\u0304\u0305x", "e\u0301\u0302\u0303\u0304\\u0305x"),
        ("a\u3164b\u2800c", "a\\u3164b\\u2800c"),
    ],
)
def test_what_acts_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_marks_never_stack_high_whatever_stands_between_them() -> None:
    for text in ("e" + "\u0301" * 1000, "\u0301\u20dd" * 500, "\u200d\u0301" * 500):
        for shown in (clean(text), clean(text, lines=True), json_line(text)):
            runs = re.split(r"[^\u0301\u20dd]+", shown)
            assert max(map(len, runs)) <= 4
    assert json.loads(json_line("e" + "\u0301" * 1000)) == "e" + "\u0301" * 1000
