"""Shells: refused, recorded whole, or one line at a time, as the resource says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onrecord.shims.ssh.commands import shell_command
from onrecord.shims.ssh.perline import PerLine
from onrecord.shims.ssh.terminal import relay_for

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.link import Link


async def run_shell(link: Link, client: ClientSession) -> None:
    """A shell, with or without a terminal."""
    mode = link.resource.interactive
    if mode == "per-line":
        await PerLine(link, client).run()
        return
    if mode != "record":
        hint = "give the command on ssh's command line"
        client.refuse_unsupported("(shell)", "shells are refused on this resource", hint)
        return
    decision = await link.submit(shell_command(link.opened.session, link.user), client)
    if not decision.allowed:
        client.refuse(decision)
        return
    await relay_for(link, client, decision).run(None)
