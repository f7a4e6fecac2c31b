"""`python -m onrecord.shims.postgres mitm.toml`: the PostgreSQL shim as a process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import uvloop

from onrecord.policies.config import load_config
from onrecord.policies.errors import OnrecordError
from onrecord.recordings.datapath import open_datapath
from onrecord.recordings.process import notify_ready
from onrecord.shims.postgres.server import serve


async def _run(path: Path, worker: int) -> None:
    datapath = await open_datapath(load_config(path), f"postgres-{worker}", {"postgres"})
    try:
        await serve(datapath, ready=notify_ready, worker=worker)
    finally:
        await datapath.close()


def main() -> int:
    """Exit status 2 where the configuration, a secret or the listener is wrong."""
    parser = argparse.ArgumentParser(prog="python -m onrecord.shims.postgres", description=__doc__)
    parser.add_argument("config", type=Path, help="mitm.toml")
    parser.add_argument("--index", type=int, default=0, help="the number of this process among those on the port")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    sys.setswitchinterval(0.001)  # of seconds: a thread that reads a long text keeps the others waiting no longer
    try:
        asyncio.run(_run(given.config, given.index), loop_factory=uvloop.new_event_loop)
    except (OnrecordError, TimeoutError) as error:
        sys.stderr.write(f"onrecord postgres: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
