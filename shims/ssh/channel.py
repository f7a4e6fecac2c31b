"""One session channel of a client: its requests, and who handles its bytes once its command is decided."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import asyncssh

from onrecord.policies.model import SshCommand
from onrecord.recordings.auditor import Decision
from onrecord.shims.ssh.transport import GatewayChannel

if TYPE_CHECKING:
    from onrecord.shims.ssh.link import Link

_log = logging.getLogger("onrecord.ssh")

REFUSED = 126
FAILED = 255
UNSUPPORTED = "onrecord:protocol"
Runner = Callable[["Link", "ClientSession"], Coroutine[Any, Any, None]]


class Handler(Protocol):
    """Who takes what the client sends on a channel. Exceptions end the whole connection."""

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None: ...

    def signal_received(self, signal: str) -> None: ...

    def resized(self, columns: int, rows: int, width: int, height: int) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def closed(self) -> None:
        """The client closed the channel, or is gone. Nothing more can be sent."""


class Pty:
    """What a client asked of a terminal; sizes in characters and pixels, modes as in RFC 4254."""

    __slots__ = ("modes", "size", "term")

    def __init__(self, term: str, size: tuple[int, int, int, int], modes: dict[int, int]) -> None:
        self.term, self.size, self.modes = term, size, modes


class ClientSession(asyncssh.SSHServerSession[bytes]):
    """Waits for exec, shell or subsystem, and runs it as a task that ends with the channel.

    Until `attach` the client's bytes stay in the channel's window. `say` writes a line of the gateway to stderr.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.pty: Pty | None = None
        self.handler: Handler | None = None
        self.channel: GatewayChannel = cast("GatewayChannel", None)
        self._runner: Runner | None = None
        self._task: asyncio.Task[None] | None = None
        self._eof = self._closed = False
        self._refused: set[str] = set()

    # ------------------------------------------------------------------ what handlers use

    def attach(self, handler: Handler) -> None:
        """From here on `handler` gets what the client sends, also what waited."""
        self.handler = handler
        self.channel.release()
        if self._eof and not self._closed:
            handler.eof_received()

    @property
    def open(self) -> bool:
        """Whether the client can still be told something."""
        return not self._closed and not self.channel.is_closing()

    def say(self, text: str) -> None:
        """One line of the gateway on the client's stderr. Never raises."""
        with contextlib.suppress(OSError):
            clean = "".join(char if char.isprintable() else " " for char in text)
            self.channel.write_stderr(f"onrecord: {clean}{self._newline}".encode("utf-8", "replace"))

    def exit(self, status: int) -> None:
        """Send the exit status and close. Never raises."""
        with contextlib.suppress(OSError):
            self.channel.exit(status)

    def refuse(self, decision: Decision) -> None:
        """Tell that a command was refused, as a shell tells that it cannot run one."""
        self.say(decision.message)
        self.exit(REFUSED)

    def refuse_unsupported(self, text: str, reason: str, hint: str = "") -> None:
        """Put on record and refuse what the gateway does not do."""
        link = self.link
        command = SshCommand(session=link.opened.session, action="unknown", text=text, user=link.user)
        decision = link.auditor.deny(link.opened, command, reason, UNSUPPORTED, hint, code=str(REFUSED))
        self.refuse(decision)

    def refused_request(self, name: str, what: str) -> None:
        """A channel request that is always refused: it is on record, and the channel goes on."""
        link = self.link
        if name in self._refused:
            return  # once is enough on record: a client could ask without end
        self._refused.add(name)
        command = SshCommand(session=link.opened.session, action="admin", text=f"({name})", user=link.user)
        link.auditor.deny(link.opened, command, f"{what} is always refused", UNSUPPORTED)

    @property
    def _newline(self) -> str:
        return "\r\n" if self.pty is not None else "\n"

    # ------------------------------------------------------------------ asyncssh's side

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self.channel = cast("GatewayChannel", chan)

    def pty_requested(
        self,
        term_type: str,
        term_size: tuple[int, int, int, int],
        term_modes: Mapping[int, int],
    ) -> bool:
        if self._runner is not None or len(term_type) > 64 or not term_type.isprintable():
            return False
        self.pty = Pty(term_type, term_size, dict(term_modes))
        return True

    def exec_requested(self, command: str) -> bool:
        from onrecord.shims.ssh.exec import run_exec

        return self._run(lambda link, client: run_exec(link, client, command))

    def shell_requested(self) -> bool:
        from onrecord.shims.ssh.shell import run_shell

        return self._run(run_shell)

    def subsystem_requested(self, subsystem: str) -> bool:
        from onrecord.shims.ssh.sftp import serve_sftp

        if subsystem == "sftp":
            return self._run(serve_sftp)

        async def refuse(link: Link, client: ClientSession) -> None:  # noqa: ARG001
            name = subsystem.encode("utf-8", "replace").decode()[:200]
            client.refuse_unsupported(f"(subsystem {name})", "subsystems other than sftp are refused")

        return self._run(refuse)

    def _run(self, runner: Runner) -> bool:
        if self.link.ended:
            return False
        self._runner = runner
        return True

    def session_started(self) -> None:
        if self._runner is not None:
            self._task = self.link.spawn(self._guarded(self._runner))

    async def _guarded(self, runner: Runner) -> None:
        """Whatever goes wrong ends this channel and no other."""
        try:
            await runner(self.link, self)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever goes wrong, nothing passes
            _log.exception("a channel of session %s failed", self.link.opened.session.id)
            self.say(f"internal error of the gateway: {type(error).__name__}")
            self.exit(FAILED)

    def data_received(self, data: bytes, datatype: int | None) -> None:  # clients send no other kind
        if self.handler is not None:
            self.handler.data_received(data)

    def eof_received(self) -> bool:
        self._eof = True
        if self.handler is not None:
            self.handler.eof_received()
        return True  # half-closed: output goes on

    def signal_received(self, signal: str) -> None:
        if self.handler is not None and len(signal) <= 32 and signal.isascii() and signal.isprintable():
            self.handler.signal_received(signal)

    def break_received(self, msec: int) -> bool:
        return False

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self.pty is not None:
            self.pty.size = (width, height, pixwidth, pixheight)
            if self.handler is not None:
                self.handler.resized(width, height, pixwidth, pixheight)

    def pause_writing(self) -> None:
        if self.handler is not None:
            self.handler.pause_writing()

    def resume_writing(self) -> None:
        if self.handler is not None:
            self.handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        if self.handler is not None:
            self.handler.closed()
