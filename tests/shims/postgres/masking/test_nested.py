"""Arrays and records as text: every leaf is seen, and what is not changed stays byte for byte."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.shims.postgres.masking.nested import NestedError, map_array, map_composite


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("{}", []),
        ('{a,NULL,"NULL","","a\\"b\\\\c"}', ["a", "NULL", "", 'a"b\\c']),
        ("[0:1][1:1]={{a},{b}}", ["a", "b"]),
        ("{{{1}}}", ["1"]),
    ],
)  # fmt: skip
def test_each_element_of_an_array_is_seen_once(text: str, leaves: list[str]) -> None:
    seen: list[str] = []

    def leaf(value: str) -> str:
        seen.append(value)
        return value

    assert map_array(text, leaf) == text
    assert seen == leaves
    assert map_array(text, lambda _: None).count("NULL") >= len(leaves)


@pytest.mark.parametrize(
    ("text", "fields"),
    [("()", []), ("(a,,b)", [(0, "a"), (2, "b")]),
     ('("a ""q"" \\\\",1)', [(0, 'a "q" \\'), (1, "1")]), ('("")', [(0, "")])],
)  # fmt: skip
def test_each_field_of_a_record_is_seen_with_its_place(text: str, fields: list[tuple[int, str]]) -> None:
    seen: list[tuple[int, str]] = []

    def field(index: int, value: str) -> str:
        seen.append((index, value))
        return value

    assert map_composite(text, field) == text
    assert seen == fields


@given(st.text(alphabet='{}()[]=,"\\ab:0 ', max_size=20))
def test_junk_is_an_error_of_ours_or_comes_back(text: str) -> None:
    with contextlib.suppress(NestedError):
        assert map_array(text, lambda value: value) == text
    with contextlib.suppress(NestedError):
        assert map_composite(text, lambda _index, value: value) == text
