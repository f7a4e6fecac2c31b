"""`python -m onrecord.shims.postgres mitm.toml`: the PostgreSQL shim as a process."""

from __future__ import annotations

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


async def _run(path: Path) -> None:
    datapath = await open_datapath(load_config(path), "postgres-0", {"postgres"})
    try:
        await serve(datapath, ready=notify_ready)
    finally:
        await datapath.close()


def main() -> int:
    """Exit status 2 where the configuration, a secret or the listener is wrong."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m onrecord.shims.postgres mitm.toml\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(Path(sys.argv[1])), loop_factory=uvloop.new_event_loop)
    except (OnrecordError, TimeoutError) as error:
        sys.stderr.write(f"onrecord postgres: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
