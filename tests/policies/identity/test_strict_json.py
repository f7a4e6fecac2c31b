from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.identity.strict_json import JsonError, parse_object

VALUES = st.recursive(st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(), st.lists, max_leaves=8)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"sub": "a", "sub": "b"}', "twice"),
        (b'{"x": {"act": 1, "act": 2}}', "twice"),
        (b'{"exp": NaN}', "NaN"),
        (b'{"exp": -Infinity}', "NaN"),
        (b'{"exp": 1e999}', "too large"),
        (b'{"exp": ' + b"9" * 41 + b"}", "too long"),
        (b'{"exp": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"exp": 0.' + b"1" * 5000 + b"}", "too long"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"", "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "not"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_text_with_no_or_two_meanings_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(JsonError, match=why) if why != "not" else pytest.raises(JsonError):
        parse_object(text)


@given(st.dictionaries(st.text(), VALUES))
def test_whatever_json_writes_is_read_back(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value).encode()) == value


@given(st.binary())
def test_junk_raises_only_its_own_error(data: bytes) -> None:
    with contextlib.suppress(JsonError):
        assert isinstance(parse_object(data), dict)
