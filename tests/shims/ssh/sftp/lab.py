"""A relay before a real sftp-server, on a Unix socket, with a real journal: SFTP without SSH around it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any, cast

import msgspec
import uvloop

from onrecord.policies.masking import Masks
from onrecord.policies.model import Command, Identity, Outcome, Resource, Session, SftpCommand
from onrecord.policies.verdict import Allow, Deny, Ruling
from onrecord.recordings.auditor import Auditor
from onrecord.recordings.frames import FILE_HEADER_SIZE, Kind, decode_frames, id_text, read_file_header
from onrecord.recordings.journal import Journal
from onrecord.shims.ssh.sftp.core import Settings
from onrecord.shims.ssh.sftp.relay import Relay

SERVER = "/usr/lib/openssh/sftp-server"
_BRIDGE = """
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
def up():
    while data := os.read(0, 65536): s.sendall(data)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536): os.write(1, data)
"""

Rule = Callable[[Command], Ruling | Awaitable[Ruling]]


@dataclass
class LabEngine:
    rule: Rule
    digest: str = "sha256:test"
    asked: list[SftpCommand] = field(default_factory=list)

    def decide(self, command: Command) -> Ruling | Awaitable[Ruling]:
        assert isinstance(command, SftpCommand)
        self.asked.append(command)
        return self.rule(command)

    def session_start(self, session: Session) -> Ruling | None:
        return None

    def session_end(self, session: Session) -> None:
        return None

    def outcome(self, command: Command, outcome: Outcome) -> None:
        return None


class _Control:
    refusal: str | None = None


def allow(command: Command) -> Ruling:
    return Ruling(Allow(), "test")


def plants(path: str) -> bool:
    return path.endswith("/authorized_keys") or ("/.ssh/" in path + "/" and not path.endswith("/.ssh"))


@dataclass
class Lab:
    """`rule` and `settings` may be changed at any time; they hold for the channels opened later."""

    folder: Path
    home: Path
    path: Path
    engine: LabEngine
    settings: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)
    server: tuple[str, ...] = (SERVER,)

    def serve_with_asyncssh(self, version: int) -> None:
        """Channels opened from now on lead to asyncssh's server, which speaks up to `version`."""
        self.server = (sys.executable, str(Path(__file__).with_name("asyncssh_server.py")), str(version))
        self.settings |= {"ordered": False, "client_swaps": False, "upstream_swaps": False}

    def batch(self, *lines: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """OpenSSH's sftp with these commands."""
        bridge = self.folder / "bridge.py"
        bridge.write_text(_BRIDGE)
        done = subprocess.run(
            ["sftp", "-b", "-", "-D", f"{sys.executable} {bridge} {self.path}"],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=60,
        )
        if check:
            assert done.returncode == 0, done.stderr + done.stdout
        return done

    def connect(self) -> socket:
        raw = socket(AF_UNIX)
        raw.settimeout(30)
        raw.connect(str(self.path))
        return raw

    def records(self) -> list[tuple[Kind, str, dict[str, Any]]]:
        """(kind, the command's id, body) of all that was written."""
        found = []
        for path in sorted((self.folder / "journal").glob("*.journal")):
            data = path.read_bytes()
            chain = read_file_header(data)
            found += [
                (frame.kind, id_text(frame.command), cast(dict[str, Any], msgspec.json.decode(frame.payload)))
                for frame in decode_frames(data[FILE_HEADER_SIZE:], chain, FILE_HEADER_SIZE)
            ]
        return found

    def commands(self) -> list[dict[str, Any]]:
        """Each command's body with its "outcome" and "chunks"."""
        found: dict[str, dict[str, Any]] = {}
        for kind, command, body in self.records():
            if kind is Kind.COMMAND:
                found[command] = body | {"chunks": [], "outcome": None}
            elif kind is Kind.CHUNK:
                assert found[command]["outcome"] is None, "a chunk behind its outcome"
                found[command]["chunks"].append(body)
            elif kind is Kind.OUTCOME:
                assert found[command]["outcome"] is None, "two outcomes of one command"
                found[command]["outcome"] = body
        return list(found.values())

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [one for one in self.commands() if one["detail"]["operation"] == operation]

    def one(self, operation: str) -> dict[str, Any]:
        (found,) = self.of(operation)
        return found


class _Channel(asyncio.Protocol):
    def __init__(self, lab: Lab, auditor: Auditor) -> None:
        self._lab, self._auditor = lab, auditor
        self._server: asyncio.subprocess.Process | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        identity = Identity(issuer="test", subject="devin", groups=("agents",))
        resource = Resource(name="app1", type="ssh", default="allow", admin="allow")
        self._opened = self._auditor.open_session(identity, resource, run="r1", protocol="ssh", client="test")
        settings = Settings(**cast(Any, {"plants": plants} | self._lab.settings))
        self.relay = Relay(self._auditor, self._opened, self, settings)
        self._lab.relays.append(self.relay)
        self._early: list[bytes] = []
        self._gone = False
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        self._server = await asyncio.create_subprocess_exec(
            *self._lab.server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self._lab.home
        )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        for data in self._early:
            self._server.stdin.write(data)
        if self._gone:
            self._server.kill()
        while data := await self._server.stdout.read(65536):
            self.relay.from_upstream(data)
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self.relay.from_client(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._gone = True
        self.relay.close("the client left")
        self._auditor.end_session(self._opened, "done")
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                self._server.terminate()

    async def over(self) -> None:
        self._transport.abort()
        self.relay.close("over")
        self._gone = True
        if self._server is not None and self._server.returncode is None:
            self._server.kill()
        await asyncio.wait_for(self._task, 60)
        if self._server is not None:
            await self._server.wait()
        await asyncio.sleep(0)

    def to_client(self, data: bytes) -> None:
        self._transport.write(data)

    def to_upstream(self, data: bytes) -> None:
        if self._server is None or self._server.stdin is None:
            self._early.append(data)
        else:
            self._server.stdin.write(data)

    def pause_writing(self) -> None:
        self.relay.client_full(full=True)

    def resume_writing(self) -> None:
        self.relay.client_full(full=False)

    def note(self, text: str) -> None:
        self._lab.notes.append(text)

    def pause(self, *, paused: bool) -> None:
        (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def eof(self) -> None:
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.write_eof()

    def eof_received(self) -> bool:
        self.relay.client_eof()
        return False  # a client that closes its end is gone

    def end(self, reason: str) -> None:
        self._lab.ends.append(reason)
        self._transport.close()


@contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    home = folder / "home"
    home.mkdir()
    journal = Journal(folder / "journal", "ssh-0")
    engine = LabEngine(allow)
    lab = Lab(folder, home, folder / "sock", engine, {})
    auditor = Auditor(journal, engine, _Control())
    started = threading.Event()
    box: dict[str, Any] = {}
    channels: list[_Channel] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def factory() -> _Channel:
            channels.append(_Channel(lab, auditor))
            return channels[-1]

        server = await loop.create_unix_server(factory, str(lab.path))
        box.update(loop=loop, stop=asyncio.Event())
        started.set()
        await box["stop"].wait()
        server.close()
        for channel in channels:
            await channel.over()

    thread = threading.Thread(target=lambda: asyncio.run(main(), loop_factory=uvloop.new_event_loop), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield lab
    finally:
        box["loop"].call_soon_threadsafe(box["stop"].set)
        thread.join(20)
        journal.close()
        assert not thread.is_alive()


def refusing(operation: str, reason: str = "not for agents") -> Rule:
    def rule(command: Command) -> Ruling:
        if getattr(command, "operation", "") == operation:
            return Ruling(Deny(reason), "guard")
        return Ruling(Allow(), "guard")

    return rule


def masks(**detect: Any) -> Masks:
    return Masks(key=b"k" * 32, detect=detect)
