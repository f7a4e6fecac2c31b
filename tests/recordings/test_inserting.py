"""Several rows a statement give the table that one row a statement gives."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from onrecord.recordings.inserting import insert_rows


@pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 40, 55])
def test_all_rows_arrive_in_their_order(count: int) -> None:
    rows = [(number, f"row {number}", None) for number in range(count)]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a, b, c)")
        insert_rows(connection, "t", 3, rows)
        assert connection.execute("SELECT * FROM t ORDER BY rowid").fetchall() == rows


def test_a_row_of_another_width_is_an_error() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a, b)")
        with pytest.raises(sqlite3.Error):
            insert_rows(connection, "t", 2, [(1, 2)] * 19 + [(1,)])
        with pytest.raises(sqlite3.Error):
            insert_rows(connection, "t", 2, [(1, 2, 3)])
