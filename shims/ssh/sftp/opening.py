"""Open files and folders: how they are opened, read, written and closed.

READ and WRITE take the short way: an open file was decided when it was opened, what passes is counted and hashed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from onrecord.policies.masking import MaskError
from onrecord.policies.model import OutcomeStatus, SftpCommand
from onrecord.policies.verdict import Allow
from onrecord.recordings.auditor import Auditor, Decision, OpenSession
from onrecord.shims.ssh.sftp import attributes, wire
from onrecord.shims.ssh.sftp.access import Access, access_of
from onrecord.shims.ssh.sftp.core import Ends, Settings
from onrecord.shims.ssh.sftp.deciding import Deciding, id_of
from onrecord.shims.ssh.sftp.files import Listing, OpenFile, fetch, masked_copy, with_size
from onrecord.shims.ssh.sftp.paths import shown
from onrecord.shims.ssh.sftp.places import Place, names, read_attrs, read_status
from onrecord.shims.ssh.sftp.requests import Request, reading_fields, stat_fields
from onrecord.shims.ssh.sftp.transfer import Transfer
from onrecord.shims.ssh.sftp.wire import Fields, SftpError

_MASKS_HINT = "read it with a program whose output is masked (cat, grep), or ask for an exception"
# Larger files are searched on a thread, one after the other: it takes seconds, and sessions and kills must not wait.
_AT_ONCE = 16 * 1024
_SEARCHING = ThreadPoolExecutor(1, thread_name_prefix="masked-files")


class Opening(Deciding):
    """Deciding, and the tables of what is open."""

    def __init__(
        self,
        auditor: Auditor,
        opened: OpenSession,
        ends: Ends,
        settings: Settings,
        *,
        submit: Callable[[SftpCommand], Awaitable[Decision]] | None = None,
    ) -> None:
        super().__init__(auditor, opened, ends, settings, submit=submit)
        self._files: dict[bytes, OpenFile] = {}
        self._listings: dict[bytes, Listing] = {}
        self._dirty: set[Transfer] = set()
        self._closing: set[OpenFile] = set()  # their CLOSE is on its way
        self._opening = 0  # opened, their handles are on the way

    def _all_files(self) -> list[OpenFile]:
        return [*self._files.values(), *self._closing]

    # the short way

    def _read(self, data: bytes) -> None:
        fields = Fields(data)
        id, handle, offset, length = fields.u32(), fields.string(), fields.u64(), fields.u32()
        fields.end()
        file = self._files.get(handle)
        if file is None:
            self._no_handle(id)
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
                more = len(answer) - 9 - size
                if (more and not (more == 1 and self.version >= 6)) or size > length:
                    raise SftpError("DATA of another size than it says or was asked for")
                if transfer.finished:
                    raise SftpError("DATA of a file that is closed")
                transfer.add(offset, memoryview(answer)[9 : 9 + size])
                self._dirty.add(transfer)
                if more and answer[-1] and transfer.sequential and transfer.starts_at_zero:
                    transfer.at_end(offset + size)
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
            self._no_handle(id)
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

    # opening and closing

    async def _open(self, request: Request) -> None:
        path, access = request.text(0), access_of(self.version, request.numbers)
        if isinstance(access, str):  # read_request has refused it already
            raise SftpError(access)
        if not access.writes:
            request = request.without_attrs()  # they are for a file that is made
        if len(self._files) + len(self._listings) + self._opening >= self.settings.max_handles:
            self._status(request.id, wire.FAILURE, f"onrecord: more than {self.settings.max_handles} open files")
            return
        follow = not access.exclusive and not access.nofollow
        transfers: list[Transfer | None] = [None, None]
        place = Place(b"")
        for i, operation in enumerate(("write", "read")):
            if not (access.writes, access.reads)[i]:
                continue
            found = await self._decided(request, operation, [(path, follow)], "write" if i == 0 else "read")
            if found is None or (transfers[0] is not None and found[1][0] != place):
                if found is not None:
                    self._finish(found[0], "refused", error="the path leads elsewhere by now")
                    self._status(request.id, wire.PERMISSION_DENIED, "onrecord: the path leads elsewhere by now")
                if transfers[0] is not None:
                    self._finish(transfers[0].decision, "aborted", error="it may not be read")
                return
            decision, (place,) = found
            transfers[i] = Transfer(decision, "to_upstream" if i == 0 else "to_client", self.settings.capture)
        file = OpenFile(place.path, write=transfers[0], read=transfers[1], append=access.append)
        if file.write is not None:
            file.write.appended = file.append
            if not access.offsets:
                file.write.scatter()
        if await self._is_link(request.id, file, access):
            return
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

    async def _is_link(self, id: int, file: OpenFile, access: Access) -> bool:
        """Whether an open that must not follow a link meets one. A server might follow it all the same: not asked."""
        if not access.nofollow and (not access.exclusive or self._places.trusted):
            return False
        if await self._places.kind(file.path) != wire.SYMBOLIC_LINK:
            return False
        code = wire.LINK_LOOP if access.nofollow else wire.FAILURE
        self._end_file(file, "error", "there is a symbolic link", code=wire.status_name(code))
        self._status(id, code, "onrecord: there is a symbolic link")
        return True

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
            attrs, file.copy, found = await self._masked(handle, masks, file.path)
            self.settings.budget.take(len(file.copy))
        except MaskError as error:
            file.copy = None
            await self._probe(wire.CLOSE, wire.string(handle))
            self._end_file(file, "refused", f"masks apply here, and {error}")
            text = f"onrecord:masking: masks apply here, and {error} ({_MASKS_HINT})"
            self._status(id, wire.PERMISSION_DENIED, text)
            self._note(f"{shown(file.path)}: {text}")
            return
        file.attrs = with_size(attrs, len(file.copy))
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
            self._no_handle(request.id)
            return

        def then(answer: bytes) -> None:
            if answer[0] == wire.NAME:
                listing.add(names(answer, self.version), answer)
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
            self._no_handle(request.id)
            return
        if any(transfer.wants_end for transfer in file.transfers) and file.copy is None:
            answer = await self._probe(wire.FSTAT, stat_fields(handle, self.version))
            size = read_attrs(answer, self.version).size if answer[0] == wire.ATTRS else None
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
        self._forget(file)
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

    async def _masked(self, handle: bytes, masks: Any, path: bytes) -> tuple[wire.Attrs, bytes, dict[str, int]]:
        """The attributes, the masked copy and what was found in it. Raises MaskError."""
        budget = self.settings.budget
        budget.take()
        try:
            attrs, data = await fetch(self._probe, handle, self.version)
            if len(data) <= _AT_ONCE:
                return attrs, *masked_copy(data, masks, path)
            loop = asyncio.get_running_loop()
            return attrs, *await loop.run_in_executor(_SEARCHING, masked_copy, data, masks, path)
        finally:
            budget.give()

    def _forget(self, file: OpenFile) -> None:
        """A file that is closed."""
        if file.copy is not None:
            self.settings.budget.give(len(file.copy))
            file.copy = None

    async def _masked_size(self, path: bytes, operation: str) -> wire.Attrs | None:
        """The attributes of a file that is shown masked, with the size that a reader will find."""
        kind = wire.STAT if operation == "stat" else wire.LSTAT
        answer = await self._probe(kind, stat_fields(path, self.version))
        if answer[0] != wire.ATTRS:
            return None
        attrs = read_attrs(answer, self.version)
        if attrs.file_type != wire.REGULAR or not attrs.size:
            return None
        opened = await self._probe(wire.OPEN, reading_fields(path, self.version))
        handle = _handle(opened)
        if handle is None:
            return None
        try:
            _, copy, _ = await self._masked(handle, self.settings.masks, path)
        except MaskError:
            return None
        finally:
            if not self.ended:
                await self._probe(wire.CLOSE, wire.string(handle))
        return with_size(attrs, len(copy))

    def _attrs_packet(self, id: int, attrs: wire.Attrs) -> bytes:
        return wire.packet(wire.ATTRS, id, attributes.encoded(attrs, self.version))

    def _no_handle(self, id: int) -> None:
        code = wire.INVALID_HANDLE if self.version >= 4 else wire.FAILURE
        self._status(id, code, "onrecord: no such handle")

    def _end_file(self, file: OpenFile, status: OutcomeStatus, error: str, *, code: str = "") -> None:
        for transfer in file.transfers:
            self._finish(transfer.decision, status, code=code, error=error)


def _handle(answer: bytes) -> bytes | None:
    if answer[0] == wire.HANDLE:
        return Fields(answer, 5).string()
    if answer[0] != wire.STATUS or read_status(answer)[0] == wire.OK:
        raise SftpError(f"an answer of type {answer[0]} where a handle belongs")
    return None
