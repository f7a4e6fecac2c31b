"""Many rows into one table: several a statement, since each statement that runs costs more than a row in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

_ROWS = 20


def insert_rows(connection: sqlite3.Connection, table: str, columns: int, rows: Sequence[Sequence[object]]) -> None:
    """Insert `rows`, each with a value for all of the table's `columns`, in their order. Raises sqlite3.Error."""
    one = f"({', '.join('?' * columns)})"
    head = f"INSERT INTO {table} VALUES "  # noqa: S608  # the caller's own words, no data
    whole = len(rows) - len(rows) % _ROWS
    if whole:
        several = (list(chain.from_iterable(rows[at : at + _ROWS])) for at in range(0, whole, _ROWS))
        connection.executemany(head + ", ".join([one] * _ROWS), several)
    if whole < len(rows):
        connection.executemany(head + one, rows[whole:])
