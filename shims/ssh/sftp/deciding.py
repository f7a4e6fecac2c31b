"""What every request has in common: paths resolved, a command decided, its answer turned into its outcome."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from onrecord.policies.model import Action, NameSet, Outcome, OutcomeStatus, SftpCommand
from onrecord.recordings.auditor import Auditor, Decision, OpenSession, elapsed_ms
from onrecord.shims.ssh.sftp import attributes, wire
from onrecord.shims.ssh.sftp.core import Core, Ends, Settings
from onrecord.shims.ssh.sftp.paths import SETID, shown
from onrecord.shims.ssh.sftp.places import Place, Places, names, read_attrs, read_status
from onrecord.shims.ssh.sftp.requests import ATOMIC, NATIVE, OVERWRITE, Request
from onrecord.shims.ssh.sftp.wire import Fields, SftpError

_ANSWERS = {
    "readlink": wire.NAME,
    "expand-path": wire.NAME,
    "home-directory": wire.NAME,
    "stat": wire.ATTRS,
    "lstat": wire.ATTRS,
    "fstat": wire.ATTRS,
    "statvfs": wire.EXTENDED_REPLY,
    "fstatvfs": wire.EXTENDED_REPLY,
    "limits": wire.EXTENDED_REPLY,
    "users": wire.EXTENDED_REPLY,
}
_PLANTING_FOLDERS = frozenset((b".ssh", b".git", b".config", b".local"))
LOOK_AGAIN = 0.25  # seconds of waiting for a decision after which a path is resolved once more


class Deciding(Core):
    """Core, and what makes commands of requests."""

    def __init__(
        self,
        auditor: Auditor,
        opened: OpenSession,
        ends: Ends,
        settings: Settings,
        *,
        submit: Callable[[SftpCommand], Awaitable[Decision]] | None = None,
    ) -> None:
        super().__init__(auditor, opened, ends, settings)
        self._submit = submit or (lambda command: auditor.submit_async(opened, command))
        self._places = Places(self._probe, trusted=settings.ordered)
        self._undecided: dict[int, Decision] = {}  # allowed, their outcome is to come

    def _negotiated(self) -> None:
        self._places.speak(self.version)

    async def _locate(self, path: bytes, *, follow: bool) -> Place:
        return await self._places.locate(path, follow=follow)

    async def _decided(
        self, request: Request, operation: str, paths: list[tuple[bytes, bool]], action: Action
    ) -> tuple[Decision, tuple[Place, ...]] | None:
        async def leads() -> tuple[Place, ...]:
            return tuple([await self._locate(path, follow=follow) for path, follow in paths])

        return await self._decided_places(request, operation, leads, action)

    async def _decided_places(
        self,
        request: Request,
        operation: str,
        leads: Callable[[], Coroutine[Any, Any, tuple[Place, ...]]],
        action: Action,
    ) -> tuple[Decision, tuple[Place, ...]] | None:
        """The decision and where the paths lead; None where the client has its answer: refused, or not there."""
        places = await leads()
        command = self._command_on(request, operation, places, action)
        asked = time.monotonic()
        decision = await self._ask(command)
        if not decision.allowed:
            self._refuse(request.id, decision)
            return None
        if time.monotonic() - asked > LOOK_AGAIN and await leads() != places:
            error = "the path leads elsewhere than when the decision was asked for"
            self._finish(decision, "refused", error=error)
            self._status(request.id, wire.PERMISSION_DENIED, f"onrecord: {error}")
            return None
        for place in places:
            if place.code != wire.OK:
                self._finish(decision, "error", code=wire.status_name(place.code), error=place.message or None)
                self._status(request.id, place.code, place.message)
                return None
        return decision, places

    def _command_on(self, request: Request, operation: str, places: tuple[Place, ...], action: Action) -> SftpCommand:
        first = places[0].path
        target = places[1].path if len(places) > 1 else b""
        read: list[bytes] = []
        written: list[bytes] = []
        if action == "read":
            read = [first] if operation in ("read", "readdir") else []
        else:
            action = self._changing(request, first)
            written = [first]
            if target:
                written = [first] if operation == "symlink" else [first, target]
                read = [] if operation == "symlink" else [first]
                if self._plants_below(target) or self._plants_below(first):
                    action = "admin"
        text = f"{operation} {shown(first)}" + (f" to {shown(target)}" if target else "") + said(request)
        return self._command(
            text,
            operation,
            path=shown(first),
            target=shown(target),
            action=action,
            size=_size(request),
            read=read,
            written=written,
        )

    def _command(
        self,
        text: str,
        operation: str,
        *,
        path: str = "",
        target: str = "",
        action: Action = "read",
        size: int | None = None,
        read: list[bytes] | tuple[()] = (),
        written: list[bytes] | tuple[()] = (),
    ) -> SftpCommand:
        return SftpCommand(
            session=self.opened.session,
            action=action,
            text=text,
            operation=operation,
            path=path,
            target=target,
            size=size,
            paths_read=NameSet(map(shown, read)),
            paths_written=NameSet(map(shown, written)),
        )

    async def _ask(self, command: SftpCommand) -> Decision:
        decision = await self._submit(command)
        if decision.allowed:
            self._undecided[id_of(decision)] = decision
        return decision

    def _writing(self, path: bytes) -> Action:
        return "admin" if self.settings.plants(shown(path)) else "write"

    def _changing(self, request: Request, path: bytes) -> Action:
        """`admin` where it plants code or access, or sets a set-user-id bit or an owner."""
        for value in request.fields:
            if isinstance(value, wire.Attrs):
                if value.permissions is not None and value.permissions & SETID:
                    return "admin"
                if value.uid is not None or value.owner is not None:
                    return "admin"
        return self._writing(path)

    def _plants_below(self, path: bytes) -> bool:
        """Whether a folder that comes to stand at `path`, or a link there, could plant something with what is in it."""
        if path.rpartition(b"/")[2] in _PLANTING_FOLDERS:
            return True
        return any(self.settings.plants(shown(path) + below) for below in ("", "/x"))

    # answering

    def _forward(self, request: Request, decision: Decision, body: bytes) -> None:
        """Send a decided request; its answer is its outcome."""
        expected = _ANSWERS.get(request.operation, wire.STATUS)

        def then(answer: bytes) -> None:
            if answer[0] == wire.STATUS:
                self._finish_status(decision, answer, expected=expected)
            elif answer[0] == expected:
                sample = [shown(name) for name in names(answer, self.version)] if expected == wire.NAME else None
                if expected == wire.ATTRS and self.version > wire.VERSION:
                    read_attrs(answer, self.version)
                self._finish(decision, "ok", code="OK", sample=sample)
            else:
                raise SftpError(f"an answer of type {answer[0]} to {request.operation}")
            if request.operation == "limits" and answer[0] == expected:
                answer = _limited(answer, self.settings.max_handles)
            self._reply(*wire.with_id(answer, request.id))

        self._send(then, request.kind, body)

    def _finish_status(self, decision: Decision, answer: bytes, *, expected: int = wire.HANDLE) -> None:
        code, message = read_status(answer)
        if code == wire.OK and expected != wire.STATUS:
            raise SftpError("OK where an answer with content belongs")
        good = code == wire.OK
        self._finish(
            decision,
            "ok" if good else "error",
            code=wire.status_name(code),
            error=None if good else message or wire.status_name(code),
        )

    def _finish(
        self,
        decision: Decision,
        status: OutcomeStatus,
        *,
        code: str = "",
        error: str | None = None,
        sample: object = None,
    ) -> None:
        self._undecided.pop(id_of(decision), None)
        duration = elapsed_ms(decision.started)
        outcome = Outcome(status=status, code=code, error=error, sample=sample, duration_ms=duration)
        self.auditor.finish(decision, outcome, flush=False)
        self._unflushed = True

    def _refuse(self, id: int, decision: Decision) -> None:
        self._status(id, wire.PERMISSION_DENIED, decision.message)
        self._note(f"{decision.command.text}: {decision.message}")


def id_of(decision: Decision) -> int:
    """A key for a decision that is held in memory."""
    return int.from_bytes(decision.raw, "big")


def _size(request: Request) -> int | None:
    return next((value.size for value in request.fields if isinstance(value, wire.Attrs)), None)


def said(request: Request) -> str:
    """What a request sets, or how, for people."""
    if request.operation == "rename" and request.version >= 5 and request.kind == wire.RENAME:
        flags = ((OVERWRITE, "overwrite"), (ATOMIC, "atomic"), (NATIVE, "native"))
        found = [word for flag, word in flags if request.number(2) & flag]
        return " (" + ", ".join(found) + ")" if found else ""
    if request.operation not in ("setstat", "fsetstat", "lsetstat", "mkdir"):
        return ""
    for value in request.fields:
        if isinstance(value, wire.Attrs):
            words = [f"size {value.size}"] if value.size is not None else []
            words += [f"mode {value.permissions & 0o7777:04o}"] if value.permissions is not None else []
            owner = attributes.owner_of(value)
            words += [f"owner {owner}"] if owner else []
            times = (value.mtime, value.atime, value.createtime)
            words += ["times"] if any(time is not None for time in times) else []
            return " (" + ", ".join(words) + ")" if words else ""
    return ""


def _limited(answer: bytes, handles: int) -> bytes:
    """The server's limits, no larger than the gateway's."""
    fields = Fields(answer, 5)
    packet, read, write, opened = (fields.u64() for _ in range(4))
    own = (wire.MAX_PACKET, wire.MAX_DATA, wire.MAX_DATA, handles)
    least = (min(theirs or ours, ours) for theirs, ours in zip((packet, read, write, opened), own, strict=True))
    return answer[:5] + b"".join(wire.u64(value) for value in least)
