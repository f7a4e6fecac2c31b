"""policies/masking/strategies.py: no strategy gives a value back, equal values stay equal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.masking import Rule

KEY = b"k" * 32


@given(st.text(max_size=30), st.sampled_from(["partial", "pseudonymise", "format"]))
def test_a_value_never_comes_back(value, strategy):
    made = Rule(name="x", strategy=strategy, key=KEY).apply(value)
    assert made != value or value == "[redacted]"


def test_spellings_of_one_address_have_one_pseudonym():
    rule = Rule(name="x", strategy="pseudonymise", key=KEY)
    assert rule.apply(" John@Example.com") == rule.apply("john@example.com")
    assert rule.apply("john@example.com") != Rule(name="x", strategy="pseudonymise", key=b"z").apply("john@example.com")


def test_a_card_in_format_keeps_no_digit():
    card = "4111 1111 1111 1111"
    made = Rule(name="x", strategy="format", key=KEY).apply(card)
    assert made is not None
    assert all((a == b) is (a == " ") for a, b in zip(card, made, strict=True))


def test_partial_shows_nothing_of_a_short_value():
    assert Rule(name="x", strategy="partial").apply("1234") == "***"
