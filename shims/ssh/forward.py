"""Tunnels: refused, and the refusal is on record.

The functions here are what the entrance asks: one for each way to ask for a tunnel. They raise
asyncssh.ChannelOpenError, or answer False, where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncssh

from onrecord.policies.model import ForwardCommand
from onrecord.shims.ssh.channel import UNSUPPORTED
from onrecord.shims.ssh.transport import PROHIBITED

if TYPE_CHECKING:
    from onrecord.shims.ssh.link import Link

REASON = "tunnels are not in this version"


async def open_direct(link: Link, host: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
    """A client asks for a connection to host and port (`ssh -L`, `-D`, `-W`). Raises ChannelOpenError."""
    raise _refused(link, ForwardCommand(**_head(link), text=f"{host}:{port}", direction="local", host=host, port=port))


async def open_unix(link: Link, path: str) -> asyncssh.SSHUNIXSession[bytes]:
    """A client asks for a connection to a Unix socket. Raises ChannelOpenError."""
    raise _refused(link, ForwardCommand(**_head(link), text=f"unix:{path}", direction="local", path=path))


async def listen_remote(link: Link, host: str, port: int) -> asyncssh.SSHListener | bool:
    """A client asks the host to listen (`ssh -R`). False: refused."""
    command = ForwardCommand(**_head(link), text=f"listen {host}:{port}", direction="remote", host=host, port=port)
    _refused(link, command)
    return False


async def listen_unix(link: Link, path: str) -> asyncssh.SSHListener | bool:
    """A client asks the host to listen on a Unix socket. False: refused."""
    _refused(link, ForwardCommand(**_head(link), text=f"listen unix:{path}", direction="remote", path=path))
    return False


def _head(link: Link) -> dict[str, Any]:
    return {"session": link.opened.session, "action": "unknown"}


def _refused(link: Link, command: ForwardCommand) -> asyncssh.ChannelOpenError:
    decision = link.auditor.deny(link.opened, command, REASON, UNSUPPORTED)
    return asyncssh.ChannelOpenError(PROHIBITED, f"onrecord: {decision.message}")
