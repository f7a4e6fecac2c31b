"""pgbench makes its tables through the gateway and runs in every mode."""

from __future__ import annotations

import pytest

from onrecord.scripts.parts.postgres import debian_bindir, embedded_bindir
from tests.clients.lab import Lab

TABLES = ("pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history")
FOREVER = ["-n", "-c", "2", "-j", "1", "-t", "20"]


@pytest.mark.parametrize("version", ["15", "18"])
def test_every_mode_runs_under_the_strict_defaults(lab: Lab, version: str):
    program = (debian_bindir() if version == "15" else embedded_bindir()) / "pgbench"
    lab.run([program, "-i", "-q", "-s", "1"])
    try:
        for mode in ("simple", "extended", "prepared"):
            for script in ("select-only", "tpcb-like", "simple-update"):
                done = lab.run([program, *FOREVER, "-M", mode, "-b", script])
                assert "number of transactions actually processed: 40/40" in done.stdout
        assert lab.direct("SELECT count(*) FROM pgbench_history") == [[3 * 2 * 40]]
    finally:
        lab.remove(*TABLES)
