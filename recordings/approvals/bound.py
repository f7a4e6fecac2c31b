"""What a protocol tells about a command that may have to wait for a human."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from onrecord.policies.approvals import Preview
from onrecord.policies.model import Command, ForwardCommand, KubeCommand, SftpCommand, SshCommand

DATA = "the data that it meets when it runs"
HIDDEN = "secrets and masked values in it, which are not shown"
_STREAMS = frozenset({"exec", "attach", "portforward", "proxy"})

Previewer = Callable[[Command], Awaitable[Preview]]
"""Finds out what a command would do, without doing it. Sees the real command; what it answers is shown to approvers."""

Recheck = Callable[[], Awaitable[Command | None]]
"""The command as it is understood now, when it was granted; None where it cannot be understood any more."""


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """What an approval of this command binds to, beside the command itself.

    `exact`: the command's digest covers every byte that will run (no redacted secret, no streamed body): only then a
    repeat of it may have its approval. `keep`: the approval lives on while no client waits (HTTP: they give up and try
    again). `rests_on`: digests by name of what the command relies on (bodies of views and functions, a
    resourceVersion, a script). `unbound` says what may still change. `limits_rows`: the protocol rolls back more than
    `max_rows` rows. `together`: commands that run all or not at all. `deferred`: nothing runs yet, and what will run is
    decided then (a statement that is only prepared): it need not wait now.
    """

    exact: bool = True
    keep: bool = False
    rests_on: tuple[tuple[str, str], ...] = ()
    unbound: tuple[str, ...] = (DATA,)
    recheck: Recheck | None = None
    limits_rows: bool = False
    together: Together | None = None
    deferred: bool = False


class Together:
    """`count` commands of one message: no grant among them is used before each of them may run."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._met = asyncio.Event()
        self._failed = False

    def arrive(self, *, allowed: bool) -> None:
        """One of them may run, or may not. Once all have arrived nothing changes that any more."""
        if self._met.is_set():
            return
        self._left -= 1
        self._failed = self._failed or not allowed
        if self._failed or self._left <= 0:
            self._met.set()

    async def all_allowed(self) -> bool:
        """Wait until all have arrived; whether all may run."""
        await self._met.wait()
        return not self._failed


PLAIN = Bound()


def loose(command: Command) -> tuple[str, ...]:
    """What of a command's kind never is in its digest, in words for whoever decides: it follows once it runs."""
    if isinstance(command, SshCommand):
        if command.interactive:
            return ("what is typed into it while it runs",)
        return ("what the client sends to its standard input",)
    if isinstance(command, SftpCommand):
        return () if command.action == "read" else ("the content that is written",)
    if isinstance(command, ForwardCommand) or (isinstance(command, KubeCommand) and command.subresource in _STREAMS):
        return ("all that is sent through it, both ways",)
    return ()
