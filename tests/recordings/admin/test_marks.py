"""recordings/admin/marks.py: nothing in a text can hide from whoever approves it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.admin.marks import MAX_LINES, MAX_SPACES, oddities, pieces


def odd(text, **more):
    return [(piece.text, piece.odd) for piece in pieces(text, **more) if piece.odd]


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM orders WHERE id = 7;",
        "SELECT 'Straße', 'café', 'Ærø' -- naïve",
        "SELECT 'Привет, мир' || '日本語'",
        "a\n  b\n\tc\n\n\nd",
        "x" + " " * MAX_SPACES + "y",
    ],
)
def test_ordinary_text_is_not_marked(text):
    marked = [piece for piece in pieces(text) if piece.odd]
    # whole words of another script: only letters that an ASCII letter could be taken for
    assert all(piece.odd == "lookalike" and "looks like" in piece.note for piece in marked)
    assert "".join(piece.text for piece in pieces(text)) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("drop\u202etable", "turned"),
        ("a\u2066b", "turned"),
        ("or\u200bders", "hidden"),
        ("or\u00adders", "hidden"),
        ("a\x00b", "hidden"),
        ("a\x1b[31mb", "hidden"),
        ("a\rb", "hidden"),
        ("a\ufeffb", "hidden"),
        ("a\U000e0041b", "hidden"),
        ("a\ufe0fb", "hidden"),
        ("a\u3164b", "hidden"),
        ("a\u2028b", "hidden"),
        ("a\ud800b", "hidden"),
        ("a\u00a0b", "blank"),
        ("a\u2003b", "blank"),
        ("оrders", "lookalike"),  # a Cyrillic о
        ("ΑLTER", "lookalike"),  # a Greek Α
        ("ｏrders", "lookalike"),  # fullwidth
        ("𝐨rders", "lookalike"),  # mathematical
        ("abcⰀ", "lookalike"),  # Glagolitic beside ASCII letters
        ("id\u037e DROP", "lookalike"),  # the Greek question mark looks like a semicolon
        ("‐‐ no comment", "lookalike"),
        ("it’s", "lookalike"),
        ("a" + " " * (MAX_SPACES + 1) + "; DROP TABLE x", "gap"),
        ("a" + "\n" * 50 + "; DROP TABLE x", "gap"),
        ("a" + "\n   \t" * 50 + "; DROP TABLE x", "gap"),
        ("a" + "\u0301" * 40, "stacked"),
    ],
)
def test_what_could_deceive_a_reader_is_marked(text, kind):
    assert kind in oddities(text)


def test_a_word_of_look_alikes_alone_is_marked_too():
    assert odd("раураl")[:5] == [(char, "lookalike") for char in "раура"]


def test_blanks_beyond_sight_are_counted():
    assert odd("SELECT 1;" + " " * 5000 + "DROP TABLE orders") == [("⟨5000 spaces⟩", "gap")]
    assert odd("SELECT 1;" + "\n" * 300 + "DROP TABLE orders") == [("\n⟨299 empty lines⟩\n", "gap")]


def test_in_a_name_line_feeds_and_tabs_are_marked():
    assert odd("a\nb\tc", lines=False) == [("⟨newline⟩", "hidden"), ("⟨tab⟩", "hidden")]


@given(st.text(st.characters(exclude_categories=()), max_size=60), st.booleans())
def test_no_character_is_lost_and_none_that_acts_is_left(text, lines):
    found = list(pieces(text, lines=lines))
    shown = "".join(piece.text for piece in found)
    kept = "\n\t" if lines else ""
    for char in shown:
        assert char in kept or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    if not any(piece.odd and piece.odd != "lookalike" for piece in found):
        assert shown == text
    for word in text.split():
        if word.isascii() and word.isprintable():
            assert word in shown


@given(st.lists(st.sampled_from(["a", " ", "\n", "\t", "; DROP"]), max_size=200).map("".join))
def test_no_run_of_blanks_is_longer_than_a_reader_sees(text):
    shown = "".join(piece.text for piece in pieces(text))
    assert " " * (MAX_SPACES + 1) not in shown
    assert "\n" * (MAX_LINES + 3) not in shown
    assert shown.count("DROP") == text.count("DROP")
