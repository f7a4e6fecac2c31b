"""A shim in which one step raises: `python -m tests.shims.ssh.bomb_shim STEP PORT mitm.toml`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import uvloop
from msgspec.structs import replace

from onrecord.policies.config import Address, load_config
from onrecord.policies.errors import StoreError
from onrecord.recordings import auditor
from onrecord.recordings.datapath import open_datapath
from onrecord.recordings.process import notify_ready
from onrecord.shims.ssh import channel, cleaning, commands, entrance, exec, kept, link, names, relay, server  # noqa: A004
from onrecord.shims.ssh.server import serve

STEPS: dict[str, tuple[Any, str]] = {
    "the login name": (server, "parse_login"),
    "the resource": (server.Server, "authorised"),
    "the session's beginning": (server.Server, "begin"),
    "accepting an identity": (entrance.Entrance, "accept"),
    "the analysis": (exec, "exec_command"),
    "the decision": (auditor.Auditor, "submit_async"),
    "the command's record": (auditor.Auditor, "_settle"),
    "the environment": (relay, "passed_on"),
    "the masks": (link.Link, "masks_of"),
    "the connection upstream": (link.Link, "upstream"),
    "what is kept": (kept.Kept, "record"),
    "a chunk's record": (auditor.Auditor, "chunk"),
    "the outcome": (relay.Relay, "_outcome"),
    "the outcome's record": (auditor.Auditor, "finish"),
    "taking input": (channel.ClientSession, "attach"),
    "cleaning": (cleaning.Cleaning, "feed"),
    "the user": (names, "upstream_user"),
    "the command": (commands, "command_of"),
}
STORE = {"a chunk's record", "the outcome's record"}


async def main(step: str, port: int, path: Path) -> None:
    owner, name = STEPS[step]

    def bomb(*_arguments: object, **_more: object) -> object:
        raise StoreError("boom") if step in STORE else RuntimeError("boom")

    setattr(owner, name, bomb)
    if step == "the user":
        setattr(server, "upstream_user", bomb)  # noqa: B010  # it was imported by name
    config = load_config(path)
    config = replace(config, gateway=replace(config.gateway, ssh=Address("127.0.0.1", port)))
    datapath = await open_datapath(config, "ssh-bomb", {"ssh"})
    try:
        await serve(datapath, ready=notify_ready)
    finally:
        await datapath.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])), loop_factory=uvloop.new_event_loop)
