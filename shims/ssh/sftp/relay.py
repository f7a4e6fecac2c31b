"""What each request of a client means: decided, recorded, passed on, answered.

READ and WRITE take the short way: an open file was decided when it was opened, what passes is counted and hashed.
Everything else resolves its paths first, is decided as an SftpCommand, and only then goes upstream.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from onrecord.policies.errors import OnrecordError
from onrecord.policies.masking import MaskError
from onrecord.policies.model import Action, NameSet, Outcome, OutcomeStatus, SftpCommand
from onrecord.policies.verdict import Allow
from onrecord.recordings.auditor import Auditor, Decision, OpenSession, elapsed_ms
from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.core import Core, Ends, Settings
from onrecord.shims.ssh.sftp.files import Listing, OpenFile, fetch, masked_copy
from onrecord.shims.ssh.sftp.paths import SETID, join, shown
from onrecord.shims.ssh.sftp.places import Place, Places, names, read_attrs, read_status
from onrecord.shims.ssh.sftp.requests import Request, Unsupported, read_request
from onrecord.shims.ssh.sftp.transfer import Transfer
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
# Operations on one path: does a link in its last place count as what it leads to, and what they do.
_ON_PATH: dict[str, tuple[bool, Action]] = {
    "stat": (True, "read"),
    "lstat": (False, "read"),
    "statvfs": (True, "read"),
    "readlink": (False, "read"),
    "setstat": (True, "write"),
    "lsetstat": (False, "write"),
    "remove": (False, "write"),
    "rmdir": (False, "write"),
    "mkdir": (False, "write"),
}
_PLANTING_FOLDERS = frozenset((b".ssh", b".git", b".config", b".local"))
LOOK_AGAIN = 0.25  # seconds of waiting for a decision after which a path is resolved once more
_MASKS_HINT = "read it with a program whose output is masked (cat, grep), or ask for an exception"


class Relay(Core):
    """One SFTP channel."""

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
        self._files: dict[bytes, OpenFile] = {}
        self._listings: dict[bytes, Listing] = {}
        self._places = Places(self._probe, trusted=settings.ordered)
        self._dirty: set[Transfer] = set()
        self._undecided: dict[int, Decision] = {}  # allowed, their outcome is to come
        self._closing: set[OpenFile] = set()  # their CLOSE is on its way
        self._opening = 0  # opened, their handles are on the way

    # Core's

    def _take(self, data: bytes) -> Coroutine[Any, Any, None] | None:
        kind = data[0]
        try:
            if kind == wire.READ:
                self._read(data)
                return None
            if kind == wire.WRITE:
                self._write(data)
                return None
            request = read_request(data)
        except SftpError as error:
            if len(data) < 5:
                raise
            self._fault(int.from_bytes(data[1:5], "big"), str(error))
            return None
        if isinstance(request, Unsupported):
            command = self._command(f"unsupported: {request.what}", "unsupported", action="unknown")
            decision = self.auditor.deny(self.opened, command, f"{request.what} is not passed on", "onrecord:protocol")
            self._status(request.id, wire.OP_UNSUPPORTED, decision.message)
            return None
        return self._operate(request)

    def _record(self) -> bool:
        if not self._dirty:
            return False
        for transfer in self._dirty:
            transfer.record(self.auditor)
        self._dirty.clear()
        return True

    def _unreadable(self, reason: str) -> None:
        command = self._command("a request that cannot be read", "unreadable", action="unknown")
        self.auditor.deny(self.opened, command, reason, "onrecord:protocol")

    def _closed(self, reason: str) -> None:
        try:
            for file in self._all_files():
                for transfer in file.transfers:
                    transfer.finish(self.auditor, "aborted", error=reason)
            for listing in self._listings.values():
                listing.finish(self.auditor, "aborted", error=reason)
            self.auditor.flush()
        except OnrecordError:
            for file in self._all_files():
                for transfer in file.transfers:
                    if not transfer.finished:
                        self.auditor.abort(transfer.decision, reason)
        for decision in self._undecided.values():
            self.auditor.abort(decision, reason)
        self._files.clear()
        self._closing.clear()
        self._listings.clear()
        self._undecided.clear()
        self._dirty.clear()

    def _all_files(self) -> list[OpenFile]:
        return [*self._files.values(), *self._closing]

    # the short way

    def _read(self, data: bytes) -> None:
        fields = Fields(data)
        id, handle, offset, length = fields.u32(), fields.string(), fields.u64(), fields.u32()
        fields.end()
        file = self._files.get(handle)
        if file is None:
            self._status(id, wire.FAILURE, "onrecord: no such handle")
            return
        transfer = file.read
        if transfer is None:
            self._status(id, wire.PERMISSION_DENIED, "onrecord: the file was not opened for reading")
            return
        length = min(length, wire.MAX_DATA)
        if file.copy is not None:
            self._serve(id, file, transfer, offset, length)
            return

        def then(answer: bytes) -> None:
            if answer[0] == wire.DATA:
                size = int.from_bytes(answer[5:9], "big")
                if len(answer) != 9 + size or size > length:
                    raise SftpError("DATA of another size than it says or was asked for")
                if transfer.finished:
                    raise SftpError("DATA of a file that is closed")
                transfer.add(offset, memoryview(answer)[9:])
                self._dirty.add(transfer)
            else:
                code, _ = read_status(answer)
                if code == wire.EOF:
                    if transfer.sequential and offset >= transfer.next and transfer.starts_at_zero:
                        transfer.at_end(offset)
                elif code == wire.OK:
                    raise SftpError("OK is no answer to READ")
            self._reply(*wire.with_id(answer, id))

        self._send(then, wire.READ, wire.string(handle), wire.u64(offset), wire.u32(length))

    def _serve(self, id: int, file: OpenFile, transfer: Transfer, offset: int, length: int) -> None:
        """A READ from the masked copy."""
        copy = file.copy or b""
        part = copy[offset : offset + length]
        if not part:
            transfer.at_end(offset)
            self._status(id, wire.EOF)
            return
        transfer.add(offset, part)
        self._dirty.add(transfer)
        self._reply(wire.packet(wire.DATA, id, wire.string(part)))

    def _write(self, data: bytes) -> None:
        fields = Fields(data)
        id, handle, offset, length = fields.u32(), fields.string(), fields.u64(), fields.u32()
        start = 1 + 4 + 4 + len(handle) + 8 + 4
        if len(data) != start + length:
            raise SftpError("WRITE's data are of another size than it says")
        file = self._files.get(handle)
        if file is None:
            self._status(id, wire.FAILURE, "onrecord: no such handle")
            return
        transfer = file.write
        if transfer is None:
            self._status(id, wire.PERMISSION_DENIED, "onrecord: the file was not opened for writing")
            return
        transfer.add(transfer.next if file.append else offset, memoryview(data)[start:])
        self._dirty.add(transfer)

        def then(answer: bytes) -> None:
            code, _ = read_status(answer)
            if code != wire.OK:
                transfer.failed = wire.status_name(code)
            self._reply(*wire.with_id(answer, id))

        upstream = self._new_id()
        self._pending[upstream] = then
        self._to_upstream.extend(wire.with_id(data, upstream))

    # everything else

    async def _operate(self, request: Request) -> None:
        operation = request.operation
        if operation in _ON_PATH:
            await self._on_path(request)
        elif operation == "list":
            self._list(request)
        else:
            special: dict[str, Callable[[Request], Coroutine[Any, Any, None]]] = {
                "open": self._open,
                "readdir": self._open_folder,
                "close": self._close,
                "fstat": self._on_handle,
                "fsetstat": self._on_handle,
                "fstatvfs": self._on_handle,
                "fsync": self._on_handle,
                "copy": self._copy,
                "realpath": self._realpath,
                "rename": self._rename,
                "link": self._rename,
                "symlink": self._symlink,
                "expand-path": self._on_text,
                "home-directory": self._on_text,
                "users": self._on_text,
                "limits": self._on_text,
            }
            await special[operation](request)

    async def _on_path(self, request: Request) -> None:
        operation = request.operation
        follow, action = _ON_PATH[operation]
        found = await self._decided(request, operation, [(request.text(0), follow)], action)
        if found is None:
            return
        decision, places = found
        path = places[0].path
        masks = self.settings.masks
        if masks is not None and operation in ("stat", "lstat"):
            copy = await self._masked_size(path, operation)
            if copy is not None:
                self._finish(decision, "ok", code="OK")
                self._reply(wire.packet(wire.ATTRS, request.id, wire.attrs(copy)))
                return
        self._forward(request, decision, request.encode(path))

    async def _on_text(self, request: Request) -> None:
        """Requests with no path that could be resolved."""
        operation = request.operation
        text = b"" if operation in ("users", "limits") else request.text(0)
        decision = await self._ask(self._command(f"{operation} {shown(text)}".rstrip(), operation, path=shown(text)))
        if decision.allowed:
            self._forward(request, decision, request.encode())
        else:
            self._refuse(request.id, decision)

    async def _on_handle(self, request: Request) -> None:
        operation = {"fstat": "stat", "fsetstat": "setstat", "fstatvfs": "statvfs"}.get(
            request.operation, request.operation
        )
        file = self._files.get(request.text(0))
        if file is None:
            if request.operation == "fstat" and request.text(0) in self._listings:
                self._status(request.id, wire.OP_UNSUPPORTED, "onrecord: FSTAT of a folder's handle")
            else:
                self._status(request.id, wire.FAILURE, "onrecord: no such handle")
            return
        changes = request.operation in ("fsetstat", "fsync")
        action: Action = "write" if changes else "read"
        if request.operation == "fsetstat":
            action = self._changing(request, file.path)
            size = request.attrs(1).size
            if size is not None:
                for transfer in file.transfers:
                    transfer.truncated(size)
        command = self._command(
            f"{operation} {shown(file.path)}{_said(request)}",
            operation,
            path=shown(file.path),
            action=action,
            size=request.attrs(1).size if request.operation == "fsetstat" else None,
            written=[file.path] if changes else [],
        )
        decision = await self._ask(command)
        if not decision.allowed:
            self._refuse(request.id, decision)
            return
        if file.copy is not None and request.operation == "fstat" and file.attrs is not None:
            self._finish(decision, "ok", code="OK")
            self._reply(wire.packet(wire.ATTRS, request.id, wire.attrs(file.attrs)))
            return
        self._forward(request, decision, request.encode())

    async def _copy(self, request: Request) -> None:
        source, target = self._files.get(request.text(0)), self._files.get(request.text(3))
        if source is None or target is None:
            self._status(request.id, wire.FAILURE, "onrecord: no such handle")
            return
        if source.read is None or target.write is None:
            self._status(request.id, wire.PERMISSION_DENIED, "onrecord: not opened for that")
            return
        decision = await self._ask(
            self._command(
                f"copy {shown(source.path)} to {shown(target.path)}",
                "copy",
                path=shown(source.path),
                target=shown(target.path),
                action=self._writing(target.path),
                read=[source.path],
                written=[target.path],
            )
        )
        if not decision.allowed:
            self._refuse(request.id, decision)
            return
        target.write.scatter()
        self._forward(request, decision, request.encode())

    async def _realpath(self, request: Request) -> None:
        found = await self._decided(request, "realpath", [(request.text(0), True)], "read")
        if found is None:
            return
        decision, places = found
        path = places[0].path
        self._finish(decision, "ok", code="OK", sample=shown(path))
        name = wire.string(path)
        self._reply(wire.packet(wire.NAME, request.id, wire.u32(1), name, name, wire.u32(0)))

    async def _rename(self, request: Request) -> None:
        """RENAME, posix-rename and hardlink: what is at the first path will be at the second."""
        found = await self._decided(
            request, request.operation, [(request.text(0), False), (request.text(1), False)], "write"
        )
        if found is not None:
            decision, places = found
            self._forward(request, decision, request.encode(places[0].path, places[1].path))

    async def _symlink(self, request: Request) -> None:
        """The draft has the link first, OpenSSH its text; which it is follows from who speaks."""
        text, link = request.text(0), request.text(1)
        if not self.settings.client_swaps:
            text, link = link, text
        if not text:
            self._status(request.id, wire.NO_SUCH_FILE, "onrecord: a link to nothing")
            return

        async def leads() -> tuple[Place, Place]:
            at = await self._locate(link, follow=False)
            goal = text if text.startswith(b"/") else join(at.path.rpartition(b"/")[0] or b"/", text)
            led = await self._locate(goal, follow=True)
            return at, Place(led.path)  # a link may lead to what is not there

        found = await self._decided_places(request, "symlink", leads, "write")
        if found is None:
            return
        decision, places = found
        pair = (text, places[0].path) if self.settings.upstream_swaps else (places[0].path, text)
        self._forward(request, decision, request.encode(*pair))

    # opening and closing

    async def _open(self, request: Request) -> None:
        path, flags = request.text(0), request.number(1)
        if flags & ~wire.ALL_FLAGS:
            self._status(request.id, wire.OP_UNSUPPORTED, f"onrecord: unknown flags {flags:#x}")
            return
        writes = bool(flags & ~wire.FLAG_READ)
        reads = bool(flags & wire.FLAG_READ) or not flags & wire.FLAG_WRITE
        if len(self._files) + len(self._listings) + self._opening >= self.settings.max_handles:
            self._status(request.id, wire.FAILURE, f"onrecord: more than {self.settings.max_handles} open files")
            return
        exclusive = flags & wire.FLAG_EXCL and flags & wire.FLAG_CREAT
        transfers: list[Transfer | None] = [None, None]
        place = Place(b"")
        for i, operation in enumerate(("write", "read")):
            if not (writes, reads)[i]:
                continue
            found = await self._decided(request, operation, [(path, not exclusive)], "write" if i == 0 else "read")
            if found is None or (transfers[0] is not None and found[1][0] != place):
                if found is not None:
                    self._finish(found[0], "refused", error="the path leads elsewhere by now")
                    self._status(request.id, wire.PERMISSION_DENIED, "onrecord: the path leads elsewhere by now")
                if transfers[0] is not None:
                    self._finish(transfers[0].decision, "aborted", error="it may not be read")
                return
            decision, (place,) = found
            transfers[i] = Transfer(decision, "to_upstream" if i == 0 else "to_client", self.settings.capture)
        file = OpenFile(place.path, write=transfers[0], read=transfers[1], append=bool(flags & wire.FLAG_APPEND))
        if file.write is not None:
            file.write.appended = file.append
        masks = self._masks_of(file)
        body = request.encode(place.path)
        if masks is None:
            self._opening += 1
            self._send(lambda answer: self._opened(request.id, file, answer), request.kind, body)
        elif file.write is not None:
            self._end_file(file, "refused", "masks apply here: a file is opened for reading only, or for writing only")
            self._status(request.id, wire.PERMISSION_DENIED, f"onrecord: masks apply here ({_MASKS_HINT})")
        else:
            await self._open_masked(request.id, file, masks, body)

    def _opened(self, id: int, file: OpenFile, answer: bytes) -> None:
        self._opening -= 1
        handle = _handle(answer)
        if handle is None:
            code, message = read_status(answer)
            self._end_file(file, "error", message or wire.status_name(code), code=wire.status_name(code))
        else:
            self._register(handle)
            self._files[handle] = file
            for transfer in file.transfers:
                self._undecided.pop(id_of(transfer.decision), None)
        self._reply(*wire.with_id(answer, id))

    async def _open_masked(self, id: int, file: OpenFile, masks: Any, body: bytes) -> None:
        answer = await self._probe(wire.OPEN, body)
        handle = _handle(answer)
        if handle is None:
            self._opening += 1
            self._opened(id, file, answer)
            return
        self._register(handle)
        try:
            attrs, data = await fetch(self._probe, handle)
            file.copy, found = masked_copy(data, masks, file.path)
        except MaskError as error:
            await self._probe(wire.CLOSE, wire.string(handle))
            self._end_file(file, "refused", f"masks apply here, and {error}")
            text = f"onrecord:masking: masks apply here, and {error} ({_MASKS_HINT})"
            self._status(id, wire.PERMISSION_DENIED, text)
            self._note(f"{shown(file.path)}: {text}")
            return
        file.attrs = attrs._replace(size=len(file.copy))
        if file.read is not None:
            file.read.masked.update(found)
            file.read.end = len(file.copy)
        self._opening += 1
        self._opened(id, file, answer)

    async def _open_folder(self, request: Request) -> None:
        if len(self._files) + len(self._listings) + self._opening >= self.settings.max_handles:
            self._status(request.id, wire.FAILURE, f"onrecord: more than {self.settings.max_handles} open files")
            return
        found = await self._decided(request, "readdir", [(request.text(0), True)], "read")
        if found is None:
            return
        decision, places = found

        def then(answer: bytes) -> None:
            self._opening -= 1
            handle = _handle(answer)
            if handle is None:
                self._finish_status(decision, answer)
            else:
                self._register(handle)
                self._undecided.pop(id_of(decision), None)
                self._listings[handle] = Listing(decision, self.settings.capture)
            self._reply(*wire.with_id(answer, request.id))

        self._opening += 1
        self._send(then, request.kind, request.encode(places[0].path))

    def _list(self, request: Request) -> None:
        listing = self._listings.get(request.text(0))
        if listing is None:
            self._status(request.id, wire.FAILURE, "onrecord: no such handle")
            return

        def then(answer: bytes) -> None:
            if answer[0] == wire.NAME:
                listing.add(names(answer), answer)
                listing.record(self.auditor)
                self._unflushed = True
            elif read_status(answer)[0] == wire.OK:
                raise SftpError("OK is no answer to READDIR")
            self._reply(*wire.with_id(answer, request.id))

        self._send(then, request.kind, request.encode())

    async def _close(self, request: Request) -> None:
        handle = request.text(0)
        listing, file = self._listings.pop(handle, None), self._files.get(handle)
        if listing is not None:
            self._send(lambda answer: self._close_listing(request.id, listing, answer), request.kind, request.encode())
            return
        if file is None:
            self._status(request.id, wire.FAILURE, "onrecord: no such handle")
            return
        if any(transfer.wants_end for transfer in file.transfers) and file.copy is None:
            answer = await self._probe(wire.FSTAT, wire.string(handle))
            size = read_attrs(answer).size if answer[0] == wire.ATTRS else None
            for transfer in file.transfers:
                transfer.end = size if transfer.end is None else transfer.end
        self._files.pop(handle, None)
        self._closing.add(file)
        self._send(lambda answer: self._closed_file(request.id, file, answer), request.kind, request.encode())

    def _close_listing(self, id: int, listing: Listing, answer: bytes) -> None:
        code, _ = read_status(answer)
        listing.finish(self.auditor, "ok" if code == wire.OK else "error", code=wire.status_name(code))
        self._unflushed = True
        self._reply(*wire.with_id(answer, id))

    def _closed_file(self, id: int, file: OpenFile, answer: bytes) -> None:
        code, message = read_status(answer)
        self._closing.discard(file)
        for transfer in file.transfers:
            bad = transfer.failed or (message or wire.status_name(code) if code != wire.OK else "")
            status: OutcomeStatus = "error" if bad else "ok"
            transfer.finish(self.auditor, status, code=transfer.failed or wire.status_name(code), error=bad or None)
            self._dirty.discard(transfer)
        self._unflushed = True
        self._reply(*wire.with_id(answer, id))

    def _register(self, handle: bytes) -> None:
        if handle in self._files or handle in self._listings:
            raise SftpError("a handle that is in use already")

    # deciding

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
        text = f"{operation} {shown(first)}" + (f" to {shown(target)}" if target else "") + _said(request)
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
                if value.uid is not None:
                    return "admin"
        return self._writing(path)

    def _plants_below(self, path: bytes) -> bool:
        """Whether a folder that comes to stand at `path`, or a link there, could plant something with what is in it."""
        if path.rpartition(b"/")[2] in _PLANTING_FOLDERS:
            return True
        return any(self.settings.plants(shown(path) + below) for below in ("", "/x"))

    def _masks_of(self, file: OpenFile) -> Any:
        """What masks a file that is opened for reading; None where nothing does."""
        masks = self.settings.masks
        if file.read is None:
            return None
        verdict = file.read.decision.ruling.verdict
        if isinstance(verdict, Allow) and verdict.mask:
            if masks is None and self.settings.no_masks is not None:
                masks = self.settings.no_masks()
            if masks is None:
                raise SftpError("a policy asks for masks that this channel does not have")
            return masks.with_detectors(verdict.mask)
        return masks

    async def _masked_size(self, path: bytes, operation: str) -> wire.Attrs | None:
        """The attributes of a file that is shown masked, with the size that a reader will find."""
        kind = wire.STAT if operation == "stat" else wire.LSTAT
        answer = await self._probe(kind, wire.string(path))
        if answer[0] != wire.ATTRS:
            return None
        attrs = read_attrs(answer)
        if attrs.permissions is None or attrs.permissions & 0o170000 != 0o100000 or not attrs.size:
            return None
        opened = await self._probe(wire.OPEN, wire.string(path), wire.u32(wire.FLAG_READ), wire.u32(0))
        handle = _handle(opened)
        if handle is None:
            return None
        try:
            _, data = await fetch(self._probe, handle)
            copy, _ = masked_copy(data, self.settings.masks, path)
        except MaskError:
            return None
        finally:
            if not self.ended:
                await self._probe(wire.CLOSE, wire.string(handle))
        return attrs._replace(size=len(copy), extended=())

    # answering

    def _forward(self, request: Request, decision: Decision, body: bytes) -> None:
        """Send a decided request; its answer is its outcome."""
        expected = _ANSWERS.get(request.operation, wire.STATUS)

        def then(answer: bytes) -> None:
            if answer[0] == wire.STATUS:
                self._finish_status(decision, answer, expected=expected)
            elif answer[0] == expected:
                sample = [shown(name) for name in names(answer)] if expected == wire.NAME else None
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

    def _end_file(self, file: OpenFile, status: OutcomeStatus, error: str, *, code: str = "") -> None:
        for transfer in file.transfers:
            self._finish(transfer.decision, status, code=code, error=error)

    def _refuse(self, id: int, decision: Decision) -> None:
        self._status(id, wire.PERMISSION_DENIED, decision.message)
        self._note(f"{decision.command.text}: {decision.message}")


def id_of(decision: Decision) -> int:
    """A key for a decision that is held in memory."""
    return int.from_bytes(decision.raw, "big")


def _handle(answer: bytes) -> bytes | None:
    if answer[0] == wire.HANDLE:
        return Fields(answer, 5).string()
    if answer[0] != wire.STATUS or read_status(answer)[0] == wire.OK:
        raise SftpError(f"an answer of type {answer[0]} where a handle belongs")
    return None


def _size(request: Request) -> int | None:
    return next((value.size for value in request.fields if isinstance(value, wire.Attrs)), None)


def _said(request: Request) -> str:
    """What a request sets, for people."""
    if request.operation not in ("setstat", "fsetstat", "lsetstat", "mkdir"):
        return ""
    for value in request.fields:
        if isinstance(value, wire.Attrs):
            words = [f"size {value.size}"] if value.size is not None else []
            words += [f"mode {value.permissions & 0o7777:04o}"] if value.permissions is not None else []
            words += [f"owner {value.uid}:{value.gid}"] if value.uid is not None else []
            words += ["times"] if value.mtime is not None else []
            return " (" + ", ".join(words) + ")" if words else ""
    return ""


def _limited(answer: bytes, handles: int) -> bytes:
    """The server's limits, no larger than the gateway's."""
    fields = Fields(answer, 5)
    packet, read, write, opened = (fields.u64() for _ in range(4))
    own = (wire.MAX_PACKET, wire.MAX_DATA, wire.MAX_DATA, handles)
    least = (min(theirs or ours, ours) for theirs, ours in zip((packet, read, write, opened), own, strict=True))
    return answer[:5] + b"".join(wire.u64(value) for value in least)
