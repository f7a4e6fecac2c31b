"""scp's old protocol on its way: each file is decided before it is announced, counted and hashed as it passes.

The two sides take turns, so one thing at a time is on its way; a client that does not wait is read no further while
something is being decided. A refused file is answered as an error of the other side, and scp goes on with the next.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from onrecord.policies.errors import OnrecordError
from onrecord.policies.files import plants
from onrecord.policies.model import Action, NameSet, Outcome, SftpCommand
from onrecord.recordings.auditor import Decision
from onrecord.shims.ssh.copies.lines import Copy
from onrecord.shims.ssh.copies.look import Look
from onrecord.shims.ssh.copies.scp import Answers, Content, Done, Entry, Line, Sender
from onrecord.shims.ssh.relay import Relay
from onrecord.shims.ssh.sftp.deciding import LOOK_AGAIN
from onrecord.shims.ssh.sftp.paths import SETID, join, shown
from onrecord.shims.ssh.sftp.transfer import Transfer

if TYPE_CHECKING:
    from onrecord.shims.ssh.channel import ClientSession
    from onrecord.shims.ssh.link import Link

MAX_PENDING = 1024  # things said that were not answered
_REFUSAL = 400  # characters of a reason in one line of the protocol


class _ScpRelay(Relay, ABC):
    """What both directions share: the sender's words one by one, each file a command."""

    def __init__(self, link: Link, client: ClientSession, decision: Decision, copy: Copy, look: Look) -> None:
        super().__init__(link, client, decision)
        self._copy, self._look = copy, look
        self._sender, self._answers = Sender(), Answers()
        self._folders: list[bytes] = []
        self._file: Transfer | None = None
        self._deciding: asyncio.Task[None] | None = None
        self._offset = 0

    # what a direction says

    @abstractmethod
    def _place(self, entry: Entry) -> bytes: ...

    @abstractmethod
    def _pass(self, raw: bytes) -> None:
        """Send on what the sender said."""

    @abstractmethod
    def _turn_down(self, entry: Entry, reason: str) -> None: ...

    @abstractmethod
    def _file_done(self, transfer: Transfer, done: Done) -> None: ...

    def _said(self) -> None:
        """Something that will be answered was passed on."""

    # the sender's words

    def _heard(self, data: bytes) -> None:
        try:
            self._sender.feed(data)
        except OnrecordError as error:
            self._stop(error)
            return
        self._pump()

    def _pump(self) -> None:
        try:
            while self._deciding is None and not self.finished:
                said = self._sender.next()
                if said is None:
                    break
                self._take(said)
        except OnrecordError as error:
            self._stop(error)

    def _take(self, said: Entry | Line | Content | Done) -> None:
        if isinstance(said, Entry):
            self.client.channel.pause_reading()
            self._deciding = self.link.spawn(self._decide(said))
            return
        if isinstance(said, Content):
            if self._file is not None:
                self._file.add(self._offset, said.data)
                self._file.record(self.link.auditor)
                self.link.auditor.flush()
            self._offset += len(said.data)
            self._pass(said.data)
            return
        if isinstance(said, Done):
            transfer, self._file = self._file, None
            if transfer is not None:
                transfer.end = self._offset
                transfer.failed = "" if said.good else "the sender failed"
                self._file_done(transfer, said)
            self._pass(said.raw)
            if transfer is None:
                self._said()
            return
        if said.what == "E" and self._folders:
            self._folders.pop()
        self._pass(said.raw)
        if said.what != "error":
            self._said()

    async def _decide(self, entry: Entry) -> None:
        try:
            place = self._place(entry)
            action, operation = self._action(entry, place)
            where = place.decode("utf-8", "surrogateescape")
            found = await self._look.locate(where)
            path = shown(found.path)
            asked = time.monotonic()
            if action == "write" and plants(path):
                action = "admin"
            is_write = self._copy.direction == "write"
            decision = await self.link.submit(
                SftpCommand(
                    session=self.link.opened.session,
                    action=action,
                    text=f"scp: {operation} {path}" + (f" (mode {entry.mode:04o})" if is_write else ""),
                    operation=operation,
                    path=path,
                    size=entry.size if entry.what == "C" else None,
                    paths_read=NameSet(() if is_write else (path,)),
                    paths_written=NameSet((path,) if is_write else ()),
                ),
                self.client,
            )
            moved = False
            if decision.allowed and time.monotonic() - asked > LOOK_AGAIN:
                moved = await self._look.locate(where) != found
            self._decided(entry, place, decision, moved="its path leads elsewhere by now" if moved else "")
        except OnrecordError as error:
            self._stop(error)
            return
        finally:
            self._deciding = None
            self.client.channel.resume_reading()
        self._pump()

    def _action(self, entry: Entry, place: bytes) -> tuple[Action, str]:
        if self._copy.direction == "read":
            return "read", "read" if entry.what == "C" else "readdir"
        admin = bool(entry.mode & SETID) or plants(shown(place)) is not None
        return "admin" if admin else "write", "write" if entry.what == "C" else "mkdir"

    def _decided(self, entry: Entry, place: bytes, decision: Decision, *, moved: str) -> None:
        if self.finished:
            return
        reason = moved if decision.allowed else decision.message
        if moved:
            self.link.auditor.finish(decision, Outcome(status="refused", error=moved))
        elif not reason and self._copy.direction == "read" and self.link.masks_of(decision).detectors is not None:
            reason = "onrecord:masking: a policy asks for masks, and scp -O cannot be searched"
            self.link.auditor.finish(decision, Outcome(status="refused", error=reason))
        if reason:
            if entry.what == "C":
                self._sender.skip()
            else:
                self._sender.depth -= 1
            self._turn_down(entry, reason)
            return
        direction = "to_upstream" if self._copy.direction == "write" else "to_client"
        transfer = Transfer(decision, direction, self.link.recordings.body_limit)  # type: ignore[arg-type]
        if entry.what == "C":
            self._file, self._offset = transfer, 0
        else:
            self._folders.append(place)
            transfer.finish(self.link.auditor, "ok", code="OK")
            self.link.auditor.flush()
        self._pass(entry.raw)
        self._said()

    # the end

    def _stop(self, error: OnrecordError) -> None:
        self.abort(str(error))
        if self.client.open:
            self.client.say(f"scp ends: {error}")
            self.client.exit(1)

    def abort(self, error: str) -> None:
        if not self.finished:
            for transfer in self._open_transfers():
                try:
                    transfer.finish(self.link.auditor, "aborted", error=error)
                except OnrecordError as failure:
                    self.link.auditor.abort(transfer.decision, str(failure))
        super().abort(error)

    def _open_transfers(self) -> list[Transfer]:
        return [self._file] if self._file is not None and not self._file.finished else []

    def _finish(self, transfer: Transfer, problem: str) -> None:
        transfer.finish(
            self.link.auditor, "error" if problem else "ok", code="" if problem else "OK", error=problem or None
        )
        self.link.auditor.flush()


class ScpUpload(_ScpRelay):
    """`scp -t`: the client sends."""

    def __init__(
        self, link: Link, client: ClientSession, decision: Decision, copy: Copy, target: bytes, look: Look
    ) -> None:
        super().__init__(link, client, decision, copy, look)
        self._target = target
        self._target_is_folder: bool | None = None
        self._eof = False
        self._expected: deque[Callable[[bytes], None] | None] = deque([None])  # the first answer says: begin
        self._own: deque[bytes] = deque()
        self._ending: deque[Transfer] = deque()

    def data_received(self, data: bytes) -> None:
        self._heard(data)

    def eof_received(self) -> None:
        self._eof = True
        if self._deciding is None:
            super().eof_received()

    def _pump(self) -> None:
        super()._pump()
        if self._eof and self._deciding is None:
            super().eof_received()

    def _pass(self, raw: bytes) -> None:
        super().data_received(raw)

    def _said(self) -> None:
        if len(self._expected) >= MAX_PENDING:
            raise OnrecordError("the client does not wait for answers")
        self._expected.append(None)

    async def _decide(self, entry: Entry) -> None:
        if self._target_is_folder is None:
            self._target_is_folder = self._copy.folder or await self._look.is_folder(self._target)
        await super()._decide(entry)

    def _place(self, entry: Entry) -> bytes:
        if self._folders:
            return join(self._folders[-1], entry.name)
        return join(self._target, entry.name) if self._target_is_folder else self._target

    def _turn_down(self, entry: Entry, reason: str) -> None:
        self.client.say(reason)
        answer = b"\1scp: " + entry.name + b": " + _one_line(reason) + b"\n"
        if self._expected:
            self._own.append(answer)
        else:
            self._deliver(answer, None)

    def _file_done(self, transfer: Transfer, done: Done) -> None:
        self._ending.append(transfer)
        self._expected.append(lambda answer: self._ended(transfer, answer))

    def _ended(self, transfer: Transfer, answer: bytes) -> None:
        self._ending.remove(transfer)
        problem = transfer.failed or ("" if answer == b"\0" else answer[1:].decode("utf-8", "replace").strip())
        self._finish(transfer, problem)

    def _open_transfers(self) -> list[Transfer]:
        return [*super()._open_transfers(), *self._ending]

    def output(self, data: bytes, datatype: int | None) -> None:
        """The host's answers: a file's outcome is on record before the answer to it is delivered."""
        if datatype is not None or self.finished:
            super().output(data, datatype)
            return
        try:
            for answer in self._answers.feed(data):
                then = self._expected.popleft() if self._expected else None
                if then is not None:
                    then(answer)
                self._deliver(answer, None)
                if not self._expected:
                    while self._own:
                        self._deliver(self._own.popleft(), None)
        except OnrecordError as error:
            self._stop(error)


class ScpDownload(_ScpRelay):
    """`scp -f`: the host sends."""

    def __init__(
        self,
        link: Link,
        client: ClientSession,
        decision: Decision,
        copy: Copy,
        sources: tuple[bytes, ...],
        look: Look,
    ) -> None:
        super().__init__(link, client, decision, copy, look)
        self._sources = deque(
            zip((path.encode("utf-8", "surrogateescape") for path in copy.paths), sources, strict=False)
        )

    def output(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None or self.finished:
            super().output(data, datatype)
            return
        self._heard(data)

    def _pass(self, raw: bytes) -> None:
        self._deliver(raw, None)

    def _place(self, entry: Entry) -> bytes:
        """The folder it is in and its name; on top, the source of that name."""
        if self._folders:
            return join(self._folders[-1], entry.name)
        while self._sources:
            given, resolved = self._sources.popleft()
            if given.rstrip(b"/").rpartition(b"/")[2] in (entry.name, b".", b"..", b"", b"~"):
                return resolved
        raise OnrecordError("the host sends a file that was not asked for")

    def _turn_down(self, entry: Entry, reason: str) -> None:
        self.client.say(f"{shown(entry.name)}: {reason}")
        super().data_received(b"\1refused by the gateway\n")

    def _file_done(self, transfer: Transfer, done: Done) -> None:
        self._finish(transfer, transfer.failed)


def _one_line(text: str) -> bytes:
    return " ".join(text.split())[:_REFUSAL].encode("utf-8", "replace")
