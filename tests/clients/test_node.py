"""node-postgres through the gateway."""

from __future__ import annotations

from pathlib import Path

from tests.clients.lab import HERE, Lab


def test_queries_cursors_streams_pools_and_notifications(each_lab: Lab, node_modules: Path):
    done = each_lab.run(["node", HERE / "node_postgres.js"], env={"NODE_PATH": str(node_modules)})
    assert done.stdout.strip() == "ok", done.stderr
