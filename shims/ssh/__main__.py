"""`python -m onrecord.shims.ssh mitm.toml`: the SSH shim as a process."""

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
from onrecord.shims.ssh.server import serve


async def _run(path: Path) -> None:
    datapath = await open_datapath(load_config(path), "ssh-0", {"ssh"})
    try:
        await serve(datapath, ready=notify_ready)
    finally:
        await datapath.close()


def main() -> int:
    """Exit status 2 where the configuration, a secret or the listener is wrong."""
    parser = argparse.ArgumentParser(prog="python -m onrecord.shims.ssh", description=__doc__)
    parser.add_argument("config", type=Path, help="mitm.toml")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(given.config), loop_factory=uvloop.new_event_loop)  # no eager tasks: asyncssh hangs in them
    except (OnrecordError, TimeoutError) as error:
        sys.stderr.write(f"onrecord ssh: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
