"""A database goes through pg_dump and back, both ends through the gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from onrecord.scripts.parts.postgres import debian_bindir, embedded_bindir
from tests.clients.lab import WIDE, Lab

SCHEMA = """
DROP SCHEMA IF EXISTS dumped CASCADE;
CREATE SCHEMA dumped;
CREATE TABLE dumped.people (id int PRIMARY KEY, name text, photo bytea, tags text[], born date);
CREATE INDEX ON dumped.people (name);
CREATE VIEW dumped.names AS SELECT name FROM dumped.people;
INSERT INTO dumped.people SELECT n, E'na\\tme\\\\' || n, decode('00ff0a', 'hex'), ARRAY['a', NULL, 'b c'], '2000-01-01'
FROM generate_series(1, 500) n;
"""
DIGEST = "SELECT count(*)::int, md5(string_agg(p::text, '|' ORDER BY id)) FROM dumped.people p"


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_a_schema_is_dumped_and_restored(each_lab: Lab, tmp_path: Path, form: str):
    bindir = debian_bindir() if each_lab.tls else embedded_bindir()
    each_lab.psql(SCHEMA)
    before = each_lab.direct(DIGEST)
    file = tmp_path / "dump"
    each_lab.run([bindir / "pg_dump", "-n", "dumped", f"--format={form}", "-f", file], database=WIDE)
    each_lab.direct("DROP SCHEMA dumped CASCADE")
    if form == "plain":
        each_lab.run([bindir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file], database=WIDE)
    else:
        each_lab.run([bindir / "pg_restore", "--exit-on-error", "-d", WIDE, file], database=WIDE)
    assert each_lab.direct(DIGEST) == before
    assert each_lab.direct("SELECT count(*)::int FROM dumped.names") == [[500]]
