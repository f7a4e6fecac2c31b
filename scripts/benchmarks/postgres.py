"""`pgbench -S` and a 100k-row result: direct, through pgbouncer (session mode) and through onrecord.

Plaintext on loopback for all three. onrecord checks identity, asks one policy and records whole statements and
outcomes before they pass.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onrecord.scripts.benchmarks.processes import Meter, descendants
from onrecord.scripts.benchmarks.report import Result, in_turns
from onrecord.scripts.benchmarks.servers import pgbouncer
from onrecord.scripts.parts.gateway import Gateway, make_config, postgres_resource, running_gateway
from onrecord.scripts.parts.ports import free_port
from onrecord.scripts.parts.postgres import PartError, PostgresPart

DATABASE, USER = "bench", "svc_agent"
SCALE = 5
COLUMNS = (
    "direct",
    "pgbouncer",
    "onrecord",
    "onrecord / pgbouncer",
    "onrecord / direct",
    "pgbouncer, CPU µs",
    "onrecord, CPU µs",
)
MODES = ("simple", "extended", "prepared")
CLIENTS = (1, 8)
ROWS = "SELECT aid, bid, abalance, filler FROM pgbench_accounts LIMIT 100000"
POLICY = '''
from onrecord.policies import Deny, SqlCommand, Verdict


class NoDrops:
    """One ordinary policy: no DROP."""

    def sql(self, command: SqlCommand) -> Verdict | None:
        return Deny("no drops") if command.kind == "DROP" else None


addons = [NoDrops()]
'''


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client connects, and as whom."""

    port: int
    database: str
    user: str
    password: str

    def environment(self) -> dict[str, str]:
        """libpq's variables."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
            "PGSSLMODE": "disable",
        }

    def conninfo(self) -> str:
        """libpq's connection string."""
        return (
            f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} "
            f"dbname={self.database} sslmode=disable"
        )


def measure(rounds: int, seconds: float) -> Result:
    """Start all servers, then measure them in turns."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onrecord-bench-")))
        folder.chmod(0o755)  # pgbouncer runs as another user
        server = stack.enter_context(PostgresPart(settings={"shared_buffers": "256MB", "max_connections": "200"}))
        password = prepare(server)
        bouncer = Target(free_port(), DATABASE, USER, password)
        pooler = stack.enter_context(
            pgbouncer(folder, bouncer.port, (server.host, server.port, DATABASE), USER, password)
        )
        gateway = stack.enter_context(start_gateway(folder, server, password))
        targets = {
            "direct": Target(server.port, DATABASE, USER, password),
            "pgbouncer": bouncer,
            "onrecord": Target(gateway.setup.postgres_port, "orders", "bench", gateway.setup.mint("bench")),
        }
        pids = {"direct": (), "pgbouncer": (pooler.pid,), "onrecord": tuple(descendants(gateway.process.pid))}
        result = Result("PostgreSQL: pgbench -S and a 100k-row result", COLUMNS)
        length = max(1, round(seconds))
        for mode in MODES:
            for clients in CLIENTS:
                case = f"{mode} c{clients}, tps"
                meters = {name: Meter(*pids[name]) for name in targets}
                cases = {
                    name: meters[name].wrap(partial(pgbench, server, target, mode, clients, length), length)
                    for name, target in targets.items()
                }
                result.rows[case] = _row(in_turns(cases, rounds, say=case))
                result.rows[case] |= {f"{name}, CPU µs": meters[name].median for name in ("pgbouncer", "onrecord")}
        case = "simple c8, p99 ms"
        waits: dict[str, Callable[[], float]] = {
            name: partial(slow, server, target, "simple", 8, length) for name, target in targets.items()
        }
        result.rows[case] = _row(in_turns(waits, rounds, say=case))
        second = folder / "two"
        second.mkdir()
        two = stack.enter_context(start_gateway(second, server, password, postgres_workers=2))
        for case, running in (("prepared c32, tps", gateway), ("prepared c32, two processes, tps", two)):
            token = running.setup.mint("bench")
            crowd = targets | {"onrecord": Target(running.setup.postgres_port, "orders", "bench", token)}
            loads: dict[str, Callable[[], float]] = {
                name: partial(pgbench, server, target, "prepared", 32, length) for name, target in crowd.items()
            }
            result.rows[case] = _row(in_turns(loads, rounds, say=case))
        taken = in_turns({name: partial(fetch, target) for name, target in targets.items()}, max(rounds, 5), say="100k")
        result.rows["100k rows, ms"] = _row(taken)
    result.notes = [
        "bars: onrecord at least 0.72 of pgbouncer's tps in each case, its p99 at most 1.5 x; 100k rows 1.15 x direct",
        "CPU: a transaction, all processes of the proxy together, onrecord's recorder included",
        "onrecord: identity, one policy, every statement and outcome in the journal before it passes",
    ]
    return result


def prepare(server: PostgresPart) -> str:
    """pgbench's tables, owned by the gateway's login; its password."""
    password = server.create_shop(database="shop", user=USER)
    server.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}")
    owner = Target(server.port, DATABASE, USER, password)
    _run([str(server.bindir / "pgbench"), "-i", "-q", "-s", str(SCALE)], owner)
    return password


def start_gateway(
    folder: Path, server: PostgresPart, password: str, **settings: int
) -> contextlib.AbstractContextManager[Gateway]:
    """`onrecord up` with the resource `orders` and one policy."""
    policy = folder / "policy.py"
    policy.write_text(POLICY)
    setup = make_config(
        folder,
        gateway={"http": None, **settings},
        resources={"orders": postgres_resource(server, user=USER, database=DATABASE)},
        policies=[{"file": str(policy)}],
        env={"SHOP_PASSWORD": password},
    )
    return running_gateway(setup)


def pgbench(server: PostgresPart, target: Target, mode: str, clients: int, length: int) -> float:
    """Transactions per second without the time to connect."""
    argv = [str(server.bindir / "pgbench"), "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1"]
    output = _run([*argv, "-T", str(length)], target)
    found = re.search(r"tps = ([\d.]+) \(without initial", output)
    if found is None:
        raise PartError(f"pgbench printed no tps: {output}")
    return float(found.group(1))


def slow(server: PostgresPart, target: Target, mode: str, clients: int, length: int) -> float:
    """Milliseconds that 99 of 100 transactions take at most."""
    with tempfile.TemporaryDirectory(prefix="onrecord-bench-") as folder:
        argv = [str(server.bindir / "pgbench"), "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1"]
        _run([*argv, "-T", str(length), "--log", f"--log-prefix={folder}/log"], target)
        lines = [line for path in Path(folder).iterdir() for line in path.read_text().splitlines()]
    taken = sorted(int(line.split()[2]) for line in lines)
    return taken[len(taken) * 99 // 100] / 1000


def fetch(target: Target) -> float:
    """Milliseconds for a 100k-row result in libpq, on an open connection; the best of three."""
    from psycopg import pq

    connection = pq.PGconn.connect(target.conninfo().encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            raise PartError(connection.error_message.decode())
        took = []
        for _ in range(3):
            began = time.perf_counter()
            answer = connection.exec_(ROWS.encode())
            took.append((time.perf_counter() - began) * 1000)
            if answer.ntuples != 100_000:
                raise PartError(f"expected 100000 rows: {answer.error_message.decode()}")
        return min(took)
    finally:
        connection.finish()


def _run(argv: list[str], target: Target) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, **target.environment()}, timeout=120
    )
    if done.returncode:
        raise PartError(f"{Path(argv[0]).name} failed: {done.stderr.strip()[-1500:]}")
    return done.stdout


def _row(taken: dict[str, float]) -> dict[str, float | str]:
    return {
        **taken,
        "onrecord / pgbouncer": taken["onrecord"] / taken["pgbouncer"],
        "onrecord / direct": taken["onrecord"] / taken["direct"],
    }
