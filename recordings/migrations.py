"""The store's schema: numbered steps, forward only; `PRAGMA user_version` says how far a database is.

Only `records` is evidence. Every other table helps to find rows, is derived from the leaves (recordings/projection.py)
or is the recorder's own bookkeeping; `verify` recomputes each of them and compares this schema word by word.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from onrecord.policies.errors import StoreError

if TYPE_CHECKING:
    from sqlite_utils import Database

_INITIAL = """
CREATE TABLE records (seq INTEGER PRIMARY KEY, link BLOB NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE TABLE commands (
  seq INTEGER PRIMARY KEY, id BLOB NOT NULL, session BLOB, kind TEXT NOT NULL, verdict TEXT NOT NULL, status TEXT,
  at INTEGER NOT NULL, outcome INTEGER, resource TEXT, subject TEXT, on_behalf_of TEXT
) STRICT;
CREATE INDEX commands_by_id ON commands (id);
CREATE INDEX commands_by_time ON commands (at);
CREATE INDEX commands_by_session ON commands (session);
CREATE TABLE sessions (
  seq INTEGER PRIMARY KEY, id BLOB NOT NULL, run TEXT NOT NULL, subject TEXT NOT NULL, on_behalf_of TEXT,
  resource TEXT NOT NULL, protocol TEXT NOT NULL, at INTEGER NOT NULL, ended INTEGER
) STRICT;
CREATE INDEX sessions_by_id ON sessions (id);
CREATE INDEX sessions_by_time ON sessions (at);
CREATE INDEX sessions_by_run ON sessions (run);
CREATE TABLE chunks (
  command BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (command, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;
CREATE TABLE tree (
  id INTEGER PRIMARY KEY CHECK (id = 0), size INTEGER NOT NULL, frontier BLOB NOT NULL, link BLOB NOT NULL
) STRICT;
CREATE TABLE journals (
  name TEXT PRIMARY KEY, position INTEGER NOT NULL, chain BLOB NOT NULL, seed BLOB NOT NULL, done INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE open_sessions (id BLOB PRIMARY KEY, journal TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE VIRTUAL TABLE search USING fts5(text, content='', columnsize=0);
"""


def _initial(database: Database) -> None:
    for statement in _INITIAL.split(";\n"):
        if statement.strip():
            database.execute(statement)


def _trouble(database: Database) -> None:
    """Denials and errors over time, without a look at all the rest."""
    database.execute("CREATE INDEX commands_in_trouble ON commands (at) WHERE verdict <> 'allow' OR status <> 'ok'")


def _approvals(database: Database) -> None:
    """The steps of each approval."""
    database.execute(
        "CREATE TABLE approvals (seq INTEGER PRIMARY KEY, approval BLOB NOT NULL, event TEXT NOT NULL) STRICT"
    )
    database.execute("CREATE INDEX approvals_by_id ON approvals (approval)")


STEPS: tuple[Callable[[Database], None], ...] = (_initial, _trouble, _approvals)
VERSION = len(STEPS)

SchemaRow = tuple[str, str, str, str | None]


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to this version, each step in its own transaction. Raises StoreError for a newer one."""
    from sqlite_utils import Database  # here: it is slow to import, and readers only need the version

    database = Database(connection)
    version = schema_version(connection)
    if version > VERSION:
        raise StoreError(
            f"the store has schema version {version}, this onrecord knows up to {VERSION}: "
            "run the version that wrote it, or a later one"
        )
    for number in range(version, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            STEPS[number](database)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def schema_version(connection: sqlite3.Connection) -> int:
    """How many steps a database has behind it; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def read_schema(connection: sqlite3.Connection) -> list[SchemaRow]:
    """Everything in the schema: type, name, table and SQL text, by name."""
    return connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_master ORDER BY 2, 1, 3").fetchall()


def expected_schema() -> list[SchemaRow]:
    """What `read_schema` gives for a store of this version."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection)
        return read_schema(connection)
    finally:
        connection.close()
