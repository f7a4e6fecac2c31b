"""Index rows: whatever stands in a payload, a record gets its row and never stops the recorder."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.frames import HEADER, NO_ID, VERSION, Kind, new_id
from onrecord.recordings.migrations import migrate
from onrecord.recordings.projection import Projection
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
