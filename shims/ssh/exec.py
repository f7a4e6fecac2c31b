"""exec: one command line, decided before the host hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onrecord.shims.ssh.commands import exec_command
from onrecord.shims.ssh.copies.serve import run_copy
from onrecord.shims.ssh.terminal import relay_for

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.link import Link

MAX_COMMAND = 128 * 1024


async def run_exec(link: Link, client: ClientSession, text: str) -> None:
    """Decide, record and run `text`."""
    problem = refusal_of(text)
    if problem:
        shown = text[:2000].encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
        client.refuse_unsupported(shown, problem)
        return
    if await run_copy(link, client, text):
        return
    command = exec_command(link.opened.session, text, link.user, interactive=client.pty is not None)
    decision = await link.submit(command, client)
    if not decision.allowed:
        client.refuse(decision)
        return
    await relay_for(link, client, decision).run(text)


def refusal_of(text: str) -> str:
    """Why `text` is no command line that can be decided, or ""."""
    if not text.strip():
        return "an empty command line"  # asyncssh would ask for a shell
    if len(text) > MAX_COMMAND:
        return f"a command line of over {MAX_COMMAND} characters"
    if "\0" in text:
        return "a command line with a NUL in it"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a command line that is no UTF-8"
    return ""
