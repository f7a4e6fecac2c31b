"""search_path as PostgreSQL splits it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres.search_path import split_identifiers


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("  ", ()),
        ("public", ("public",)),
        (' A , "B c",d', ("a", "B c", "d")),
        ('"$user", public', ("$user", "public")),
        ('"a""b"', ('a"b',)),
        ("É", ("É",)),  # only A to Z fold
        ("a,", None),
        ("a b", None),
        ("a" * 70 + ', "' + "é" * 32 + '"', ("a" * 63, "é" * 31)),  # 63 bytes of a name count
        ('"a', None),
        ('""', None),
        (",a", None),
    ],
)
def test_names_are_split_as_the_server_does(text: str, names: tuple[str, ...] | None):
    assert split_identifiers(text) == names


@given(st.lists(st.text(min_size=1, max_size=15), min_size=1, max_size=5))
def test_quoted_names_come_back_as_they_were(names: list[str]):
    text = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    assert split_identifiers(text) == tuple(names)


@given(st.text())
def test_no_text_makes_it_fail(text: str):
    split_identifiers(text)
