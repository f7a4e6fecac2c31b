"""The whole shim before a real PostgreSQL, with ordinary clients."""

from __future__ import annotations

import subprocess

import psycopg
import pytest

from onrecord.recordings.frames import Kind
from tests.shims.postgres.conftest import Shim


def psql(shim: Shim, sql: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["psql", "-X", "-A", "-t", "-d", shim.dsn(**more), "-c", sql], capture_output=True, text=True, timeout=30
    )


def test_psql_gets_rows_and_the_record_has_identity_text_and_response(shim: Shim) -> None:
    done = psql(shim, "SELECT 41 + 1 AS answer")
    assert (done.stdout.strip(), done.returncode) == ("42", 0), done.stderr
    shim.wait_ended()
    ((text, verdict, outcome),) = shim.commands()
    assert (text, verdict) == ("SELECT 41 + 1 AS answer", "allow")
    assert outcome["status"] == "ok"
    assert outcome["tag"] == "SELECT 1"
    assert outcome["sample"] == {"columns": ["answer"], "rows": [["42"]]}
    (session,) = shim.of(Kind.SESSION)
    assert session["identity"]["subject"] == "devin"
    assert session["login"] == "devin"


def test_a_denied_statement_looks_native_and_never_runs(shim: Shim) -> None:
    done = psql(shim, "DELETE FROM orders")
    assert done.returncode == 1
    assert "ERROR:  onrecord: guard: destructive statements are not for agents" in done.stderr
    assert "HINT:  open a migration pull request" in done.stderr
    with shim.connect() as connection:
        assert connection.execute("SELECT count(*) > 0 FROM orders").fetchone() == (True,)
    assert shim.commands()[0][1] == "deny"
    with shim.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DROP TABLE orders")


def test_a_wrong_token_is_refused_and_recorded(shim: Shim) -> None:
    done = psql(shim, "SELECT 1", token="no.such.token")
    assert done.returncode == 2
    assert "the token was not accepted" in done.stderr
    assert shim.refusals()[0]["what"] == "onrecord:identity"
