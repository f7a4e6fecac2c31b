"""Views: any committed bytes become the fixed surface's objects, and nothing is guessed."""

from __future__ import annotations

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.frames import HEADER, NO_ID, VERSION, Kind
from onrecord.recordings.views import (
    Leaf,
    chunk_view,
    command_view,
    iso_time,
    join_chunks,
    read_leaf,
    record_view,
    session_view,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list("abc")), inner, max_size=3),
    max_leaves=6,
)
NAMES = (
    "kind",
    "action",
    "text",
    "detail",
    "verdict",
    "identity",
    "status",
    "data",
    "direction",
    "what",
    "reason",
    "run",
)
PAYLOADS = st.binary(max_size=60) | st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8).map(msgspec.json.encode)


def leaf(kind: int, payload: bytes, *, key: int = 0, at: int = 0) -> Leaf:
    return read_leaf(HEADER.pack(VERSION, kind, key, b"i" * 16, b"s" * 16, b"c" * 16, at) + payload)


@given(st.sampled_from(Kind), PAYLOADS, PAYLOADS, PAYLOADS, st.integers(0, 2**64 - 1))
def test_any_payload_is_shown_and_never_an_error(kind: Kind, one: bytes, two: bytes, three: bytes, at: int) -> None:
    found = leaf(kind, one, at=at)
    for view in (
        command_view(found, leaf(Kind.SESSION, two), leaf(Kind.OUTCOME, three)),
        session_view(found, leaf(Kind.SESSION_END, two), 1),
        chunk_view(found),
        record_view(found),
    ):
        assert msgspec.json.encode(view)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", view["at"])


def test_a_sealed_or_unreadable_payload_is_listed_as_such() -> None:
    for found in (leaf(Kind.COMMAND, b"{}", key=7), leaf(Kind.COMMAND, b"junk"), leaf(Kind.REFUSAL, b"[]")):
        assert command_view(found, None, None)["kind"] == "unreadable"
    assert command_view(leaf(Kind.COMMAND, b"x"), None, leaf(Kind.OUTCOME, b"x"))["outcome"]["status"] == "unreadable"


def test_times_are_exact_to_the_microsecond() -> None:
    assert iso_time(1_795_372_514_123_456_789) == "2026-11-22T18:35:14.123456Z"
    assert iso_time(0) == "1970-01-01T00:00:00.000000Z"
    assert bytes(16) == NO_ID


def test_the_parts_of_a_result_are_joined_by_their_form() -> None:
    def parts(*data: object) -> list[dict[str, object]]:
        return [{"direction": "to_client", "data": item} for item in data]

    assert join_chunks(None, []) is None
    assert join_chunks(None, parts("a", None, "b")) == "ab"
    assert join_chunks([["x"]], parts([["y"]], [["z"]])) == [["x"], ["y"], ["z"]]
    assert join_chunks({"columns": ["c"], "rows": [["x"]]}, parts([["y"]])) == {
        "columns": ["c"],
        "rows": [["x"], ["y"]],
    }
    assert join_chunks(None, parts("a", [1])) == ["a", [1]]
    assert join_chunks("s", [{"direction": "to_upstream", "data": "up"}]) == "s"
