"""`interactive = "per-line"`: a shell of the gateway's own, in which each line is decided before the host runs it.

Each line is an exec of its own. Only the working directory lives on from line to line; what is decided and recorded is
the whole of what the host runs, the change of directory in front of it included.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from typing import TYPE_CHECKING

from onrecord.shims.ssh.commands import exec_command
from onrecord.shims.ssh.exec import refusal_of
from onrecord.shims.ssh.lineedit import Event, LineEditor
from onrecord.shims.ssh.relay import Relay
from onrecord.shims.ssh.terminal import relay_for

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.link import Link

MAX_WAITING = 256  # lines; beyond them the client is not read
HELLO = "each line is decided before it runs, and is on record; `exit` leaves"


class PerLine:
    """One such shell: the client channel's handler between commands."""

    def __init__(self, link: Link, client: ClientSession) -> None:
        self._link, self._client = link, client
        self._terminal = client.pty is not None
        self._editor = LineEditor(terminal=self._terminal)
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._deciding: asyncio.Task[None] | None = None
        self._folder = ""
        self._status = 0

    async def run(self) -> None:
        """Until `exit`, Ctrl-D, or the end of the input."""
        client = self._client
        if self._terminal:
            client.say(HELLO)
        client.attach(self)
        while True:
            self._prompt()
            event = await self._events.get()
            if self._events.empty():
                client.channel.resume_reading()
            if event.kind == "end":
                break
            words = event.text.split()
            if event.kind != "line" or not words:
                continue
            if words[0] in ("exit", "logout"):
                self._status = int(words[1]) & 0xFF if len(words) == 2 and words[1].isdecimal() else self._status
                break
            self._deciding = asyncio.get_running_loop().create_task(self._run(event.text.strip()))
            try:
                await asyncio.shield(self._deciding)
            except asyncio.CancelledError:
                if not self._deciding.cancelled():  # it is this shell that ends
                    self._deciding.cancel()
                    raise
                self._status = 130
            finally:
                self._deciding = None
            client.handler = self
        client.exit(self._status)

    async def _run(self, line: str) -> None:
        """Decide one line, and have the host run it."""
        link, client = self._link, self._client
        moves = line == "cd" or (line.startswith("cd ") and "\n" not in line)
        text = self._composed(f"{line} && pwd" if moves else line)
        problem = refusal_of(text)
        if problem:
            client.say(problem)
            self._status = 126
            return
        command = exec_command(link.opened.session, text, link.user, interactive=True)
        decision = await link.submit(command, client)
        if not decision.allowed:
            client.say(decision.message)
            self._status = 126
            return
        relay: Relay = relay_for(link, client, decision)
        relay.closes = False
        relay.takes_input = self._terminal
        await relay.run(text)
        self._status = relay.status if relay.status is not None else 255
        if moves and self._status == 0:
            self._move(relay)

    def _composed(self, line: str) -> str:
        """What the host runs. A line of its own: nothing in it can end the braces without breaking the syntax."""
        return f"cd {shlex.quote(self._folder)} && {{\n{line}\n}}" if self._folder else line

    def _move(self, relay: Relay) -> None:
        """Where `pwd` says that the next lines start."""
        sample = relay.got.sample
        lines = sample.split("\n") if isinstance(sample, str) else []
        found = [line.strip("\r") for line in lines if line.strip()]
        if found and found[-1].startswith("/") and found[-1].isprintable():
            self._folder = found[-1]

    def _prompt(self) -> None:
        if self._terminal:
            link = self._link
            folder = "".join(char if char.isprintable() else "?" for char in self._folder or "~")
            with contextlib.suppress(OSError):
                self._client.channel.write(f"{link.user}@{link.resource.name}:{folder}> ".encode())

    # ------------------------------------------------------------------ the client channel's handler

    def data_received(self, data: bytes) -> None:
        """Typed while no command runs: lines to come."""
        events = self._editor.feed(data)
        with contextlib.suppress(OSError):
            self._client.channel.write(self._editor.take_echo())
        for event in events:
            if event.kind == "interrupt" and self._deciding is not None:
                self._deciding.cancel()  # it waits for an approval
            self._events.put_nowait(event)
        if self._events.qsize() > MAX_WAITING:
            self._client.channel.pause_reading()

    def eof_received(self) -> None:
        for event in (*self._editor.finish(), Event("end")):
            self._events.put_nowait(event)

    def signal_received(self, signal: str) -> None:
        """There is nothing to send it to."""

    def resized(self, columns: int, rows: int, width: int, height: int) -> None:
        """The next command gets the new size."""

    def pause_writing(self) -> None:
        """What is written here is short."""

    def resume_writing(self) -> None:
        """Nothing was stopped."""

    def closed(self) -> None:
        if self._deciding is not None:
            self._deciding.cancel()
