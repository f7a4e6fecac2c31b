"""Index rows: whatever stands in a payload, a record gets its row and never stops the recorder."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onrecord.recordings.frames import HEADER, NO_ID, VERSION, Kind, new_id
from onrecord.recordings.migrations import migrate
from onrecord.recordings.projection import _SKIPPED, TEXT_LIMIT, Projection
from onrecord.recordings.views import command_view, read_leaf

ODD = {
    "an integer of 5000 digits": b"9" * 5000,
    "a number out of range": b"1e400",
    "one deep inside": b'{"a":[{"b":[1e308,1e309]}]}',
    "half a surrogate pair": b'"\\ud800"',
    "bytes that are no text": b'"\xff\xfe"',
    "a NUL": b'"a\\u0000b"',
    "depth": b"[" * 900 + b"]" * 900,
    "more depth": b"[" * 5000 + b"]" * 5000,
}


def leaf(kind: Kind, payload: bytes) -> bytes:
    return HEADER.pack(VERSION, kind, 0, new_id(), new_id(), NO_ID, 1) + payload


def project(data: bytes) -> list[tuple[str, str]]:
    """Kind and verdict of the command rows that a record makes."""
    with closing(sqlite3.connect(":memory:")) as connection:
        migrate(connection)
        projection = Projection()
        projection.add(0, data)
        projection.write(connection)
        return connection.execute("SELECT kind, verdict FROM commands").fetchall()


@pytest.mark.parametrize("what", ODD)
def test_a_command_with_odd_values_has_the_kind_that_log_shows(what: str) -> None:
    head = b'{"kind":"sql","action":"read","text":"x","verdict":{"type":"allow","policy":"p"},"detail":{"odd":'
    data = leaf(Kind.COMMAND, head + ODD[what] + b"}}")
    ((kind, _),) = project(data)
    assert kind == command_view(read_leaf(data), None, None)["kind"]


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize(
    ("kind", "head"),
    [
        (Kind.OUTCOME, b'{"status":"ok","sample":'),
        (Kind.CHUNK, b'{"direction":"to_client","size":1,"data":'),
        (Kind.REFUSAL, b'{"what":"w","reason":"r","protocol":"p","client":"c","text":'),
        (Kind.SESSION, b'{"run":"r","resource":"r","protocol":"p","client":"c","identity":'),
    ],
)
def test_no_odd_value_in_any_record_stops_the_recorder(what: str, kind: Kind, head: bytes) -> None:
    project(leaf(kind, head + ODD[what] + b"}"))


@given(st.sampled_from(list(Kind)), st.binary(max_size=200))
def test_junk_never_stops_the_recorder(kind: Kind, payload: bytes) -> None:
    project(leaf(kind, payload))


_SAME_IDS = st.tuples(
    st.sampled_from((Kind.COMMAND, Kind.OUTCOME, Kind.SESSION, Kind.SESSION_END, Kind.REFUSAL)),
    st.integers(0, 2),
)


@given(st.lists(_SAME_IDS, max_size=12), st.sets(st.integers(0, 12)))
def test_rows_do_not_depend_on_where_batches_end(records: list[tuple[Kind, int]], ends: set[int]) -> None:
    leaves = []
    for kind, number in records:
        id = bytes([number]) * 16
        own = new_id() if kind in (Kind.OUTCOME, Kind.SESSION_END) else id
        leaves.append(HEADER.pack(VERSION, kind, 0, own, id, id, 1) + b"{}")

    def rows(ends: set[int]) -> tuple[list[object], ...]:
        with closing(sqlite3.connect(":memory:")) as connection:
            migrate(connection)
            projection, open_now = Projection(), set[bytes]()
            for seq, data in enumerate(leaves):
                projection.add(seq, data)
                if seq in ends or seq == len(leaves) - 1:
                    open_now = (open_now | set(projection.opened)) - set(projection.ended)
                    projection.write(connection)
            tables = [connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("commands", "sessions")]
            return (*tables, sorted(open_now))

    assert rows(ends) == rows(set())


def test_an_outcome_belongs_to_the_last_command_before_it() -> None:
    id = new_id()
    with closing(sqlite3.connect(":memory:")) as connection:
        migrate(connection)
        projection = Projection()
        for seq, kind in enumerate((Kind.COMMAND, Kind.COMMAND, Kind.OUTCOME, Kind.OUTCOME)):
            projection.add(seq, HEADER.pack(VERSION, kind, 0, id, NO_ID, id, 1) + b"{}")
        projection.write(connection)
        assert connection.execute("SELECT seq, outcome FROM commands").fetchall() == [(0, None), (1, 2)]


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["kind", "role", "rows", "a", ""]) | st.text(), inner)
    ),
)


def words_one_by_one(value: object) -> list[str]:
    """What the index held since its first day, written as plainly as it can be."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [word for name, item in value.items() if name not in _SKIPPED for word in words_one_by_one(item)]
    if isinstance(value, list):
        return [word for item in value for word in words_one_by_one(item)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    return []


@settings(deadline=None)
@given(_JSON, st.sampled_from(["", "SELECT 1", "x" * (TEXT_LIMIT - 2), " "]), st.integers(1, 3000))
def test_a_search_finds_every_string_and_number_in_their_order(value: object, head: str, times: int) -> None:
    many = [value] * times if times > 2990 else value
    raw = msgspec.json.encode(many)
    expected = words_one_by_one(msgspec.json.decode(raw)) if len(raw) > 4 else []
    text = "\n".join([head, *expected])[:TEXT_LIMIT].strip()
    for kind, data in (
        (Kind.OUTCOME, {"status": "ok", "error": head, "sample": msgspec.Raw(raw)}),
        (Kind.COMMAND, {"kind": "sql", "text": head, "verdict": {"type": "allow"}, "detail": msgspec.Raw(raw)}),
    ):
        for _ in range(2):  # the second time it may be remembered
            projection = Projection()
            projection.add(7, leaf(kind, msgspec.json.encode(data)))
            if kind is Kind.COMMAND:
                text = "\n".join([f"{head}\n\n", *expected])[:TEXT_LIMIT].strip()
            assert projection._texts == ([(7, text)] if text else [])


def test_an_approval_whose_request_cannot_be_read_gets_one_row_and_never_stops_the_recorder() -> None:
    for odd in ODD.values():
        data = b'{"approval":"","event":"requested","request":' + odd + b"}"
        with closing(sqlite3.connect(":memory:")) as connection:
            migrate(connection)
            projection = Projection()
            projection.add(3, leaf(Kind.APPROVAL, data))
            projection.write(connection)
            assert [seq for (seq,) in connection.execute("SELECT seq FROM approvals")] == [3]
