"""policies/answers.py"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.answers import MAX_TEXT, presentable, printable, sound
from onrecord.policies.verdict import Deny, Hold

ANY_TEXT = st.text(st.characters(), max_size=50)  # lone surrogates too


@given(ANY_TEXT)
def test_any_text_becomes_one_printable_line_that_encodes(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    shown.encode()
    assert printable(shown) == shown


def test_long_text_is_cut():
    assert len(printable("x" * 10_000)) == MAX_TEXT


def test_what_is_presentable_already_stays_the_same_object():
    for verdict in (Deny("no", "ask"), Hold("dba", "why", 5.0)):
        assert presentable(verdict) is verdict


def test_fields_stay_in_their_places():
    assert presentable(Deny("a\n", "b\n")) == Deny("a ", "b ")
    assert presentable(Hold("a\n", "b\n", 5.0)) == Hold("a ", "b ", 5.0)


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({}, True),
        ({"timeout": 1}, True),
        ({"timeout": 0}, False),
        ({"timeout": float("inf")}, False),
        ({"reason": b""}, False),
    ],
)
def test_a_hold_needs_texts_and_a_finite_time(fields: Any, good):
    assert sound(Hold(**fields)) is good


@pytest.mark.parametrize(
    ("fields", "good"), [({"reason": "x"}, True), ({"reason": None}, False), ({"reason": "", "hint": 1}, False)]
)
def test_a_deny_needs_texts(fields: Any, good):
    assert sound(Deny(**fields)) is good
