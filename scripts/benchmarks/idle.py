"""Memory: an idle gateway with all its children, and the shim with 1,000 idle PostgreSQL sessions.

PSS (shared pages divided among those who share them) from /proc/PID/smaps_rollup, and RSS.
"""

from __future__ import annotations

import contextlib
import resource
import tempfile
from pathlib import Path
from typing import Any

from onrecord.scripts.benchmarks.postgres import USER, Target
from onrecord.scripts.benchmarks.processes import descendants
from onrecord.scripts.benchmarks.report import Result, progress
from onrecord.scripts.parts.gateway import make_config, postgres_resource, running_gateway
from onrecord.scripts.parts.postgres import PartError, PostgresPart

SESSIONS = 1000
MIB = 1024 * 1024


def measure(rounds: int, seconds: float) -> Result:
    """One gateway, measured idle and with its sessions open. `rounds` and `seconds` are not used."""
    del rounds, seconds
    _raise_file_limit()
    result = Result("Memory", ["PSS MiB", "RSS MiB"])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onrecord-bench-")))
        server = stack.enter_context(
            PostgresPart(settings={"max_connections": str(SESSIONS + 50), "shared_buffers": "16MB"})
        )
        password = server.create_shop()
        setup = make_config(
            folder,
            resources={"orders": postgres_resource(server, user=USER)},
            policies=[],
            env={"SHOP_PASSWORD": password},
        )
        gateway = stack.enter_context(running_gateway(setup))
        pids = [gateway.process.pid, *descendants(gateway.process.pid)]
        for pid in pids:
            result.rows[f"idle: {_name(pid)}"] = _memory(pid)
        rows = list(result.rows.values())
        result.rows["idle: all together"] = {
            column: sum(value for row in rows if isinstance(value := row[column], float)) for column in result.columns
        }
        shim = next((pid for pid in pids if "onrecord.shims.postgres" in _name(pid)), None)
        if shim is None:
            raise PartError("no PostgreSQL shim runs")
        target = Target(setup.postgres_port, "orders", "bench", setup.mint("bench"))
        connections = []
        for number in range(SESSIONS):
            if number % 100 == 0:
                progress(f"{number} sessions")
            connections.append(_connect(target))
        progress("")
        result.rows[f"shim with {SESSIONS:,} idle sessions"] = _memory(shim)
        for connection in connections:
            connection.finish()
    result.notes = ["bars: an idle gateway under 350 MB together; the shim with 1,000 idle sessions under 200 MB"]
    return result


def _connect(target: Target) -> Any:
    from psycopg import pq

    connection = pq.PGconn.connect(target.conninfo().encode())
    if connection.status != pq.ConnStatus.OK:
        raise PartError(connection.error_message.decode())
    return connection


def _name(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return next((word for word in words if word.startswith("onrecord.")), words[-1] or words[0]) + f" ({pid})"


def _memory(pid: int) -> dict[str, float | str]:
    """PSS needs the right to look into an undumpable process (root); RSS is for everyone."""
    rss = pss = 0.0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            rss = int(line.split()[1]) * 1024 / MIB
    with contextlib.suppress(PermissionError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                pss = int(line.split()[1]) * 1024 / MIB
    return {"PSS MiB": pss or "needs root", "RSS MiB": rss}


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 4 * SESSIONS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4 * SESSIONS, hard) if hard > 0 else 4 * SESSIONS, hard))
