"""The schema: made in numbered steps, never from a newer one, and always the same text."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from onrecord.policies.errors import StoreError
from onrecord.recordings.migrations import VERSION, expected_schema, migrate, read_schema, schema_version


def test_a_fresh_database_gets_every_step_and_a_second_time_nothing() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        assert schema_version(connection) == 0
        migrate(connection)
        migrate(connection)
        assert schema_version(connection) == VERSION
        assert read_schema(connection) == expected_schema()


def test_a_newer_schema_is_refused() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        with pytest.raises(StoreError, match="later one"):
            migrate(connection)
