"""--since: spans and ISO times."""

from __future__ import annotations

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from onrecord.scripts.since import parse_since

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15m", NOW - 900),
        ("2h", NOW - 7200),
        ("1d", NOW - 86400),
        (" 30 s ", NOW - 30),
        ("999999999w", 0),
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15T08:00:00", NOW),
        ("2027-01-15T10:00:00+02:00", NOW),
        ("2027-01-15", NOW - 8 * 3600),
        ("1901-01-01", 0),
    ],
)
def test_a_span_or_an_iso_time_is_a_moment(text: str, seconds: float) -> None:
    assert parse_since(text, NOW) == int(seconds * 1e9)


def test_nothing_is_no_bound() -> None:
    assert parse_since(None) is None


@given(st.text(max_size=30))
def test_anything_else_is_wrong_use(text: str) -> None:
    try:
        found = parse_since(text, NOW)
    except typer.BadParameter:
        return
    assert found is not None
    assert found >= 0
