"""What each request of a client means: decided, recorded, passed on, answered.

Everything but READ and WRITE resolves its paths first, is decided as an SftpCommand, and only then goes upstream.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Action
from onrecord.shims.ssh.sftp import attributes, wire
from onrecord.shims.ssh.sftp.deciding import said
from onrecord.shims.ssh.sftp.opening import Opening
from onrecord.shims.ssh.sftp.paths import join, shown
from onrecord.shims.ssh.sftp.places import Place, read_attrs, read_status
from onrecord.shims.ssh.sftp.requests import NO_CHECK, STAT_ALWAYS, Request, Unsupported, read_request, stat_fields
from onrecord.shims.ssh.sftp.wire import SftpError

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


class Relay(Opening):
    """One SFTP channel."""

    def _take(self, data: bytes) -> Coroutine[Any, Any, None] | None:
        kind = data[0]
        try:
            if kind == wire.READ:
                self._read(data)
                return None
            if kind == wire.WRITE:
                self._write(data)
                return None
            request = read_request(data, self.version)
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
        for file in self._all_files():
            self._forget(file)
        self._files.clear()
        self._closing.clear()
        self._listings.clear()
        self._undecided.clear()
        self._dirty.clear()

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
                self._reply(self._attrs_packet(request.id, copy))
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
                self._no_handle(request.id)
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
            f"{operation} {shown(file.path)}{said(request)}",
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
            self._reply(self._attrs_packet(request.id, file.attrs))
            return
        self._forward(request, decision, request.encode())

    async def _copy(self, request: Request) -> None:
        source, target = self._files.get(request.text(0)), self._files.get(request.text(3))
        if source is None or target is None:
            self._no_handle(request.id)
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
        if source.copy is not None:
            # The server would copy the file itself: a piece of it, or another name, may be read where no mask finds it.
            error = "masks apply here: the file is not copied (upload the masked copy, or ask for an exception)"
            self._finish(decision, "refused", error=error)
            self._status(request.id, wire.PERMISSION_DENIED, f"onrecord:masking: {error}")
            return
        target.write.scatter()
        self._forward(request, decision, request.encode())

    async def _realpath(self, request: Request) -> None:
        found = await self._decided(request, "realpath", [(request.text(0), True)], "read")
        if found is None:
            return
        decision, places = found
        path = places[0].path
        attrs: wire.Attrs | None = wire.Attrs()
        if self.version >= 6 and request.number(1) != NO_CHECK:
            attrs = await self._stat_of(request, path)
        if attrs is None:
            self._finish(decision, "error", error="its attributes were asked for too, and are not to be had")
            return
        self._finish(decision, "ok", code="OK", sample=shown(path))
        name = wire.string(path)
        long = name if self.version == wire.VERSION else b""
        self._reply(
            wire.packet(wire.NAME, request.id, wire.u32(1), name, long, attributes.encoded(attrs, self.version))
        )

    async def _stat_of(self, request: Request, path: bytes) -> wire.Attrs | None:
        """What REALPATH of version 6 asks for besides: a command of its own. None where the client has its answer."""
        found = await self._decided(request, "stat", [(path, True)], "read")
        if found is None:
            return None
        decision, places = found
        if self.settings.masks is not None and (copy := await self._masked_size(places[0].path, "stat")) is not None:
            self._finish(decision, "ok", code="OK")
            return copy
        answer = await self._probe(wire.STAT, stat_fields(places[0].path, self.version))
        if answer[0] != wire.STATUS:
            attrs = read_attrs(answer, self.version)
            self._finish(decision, "ok", code="OK")
            return attrs
        code, message = read_status(answer)
        if code == wire.OK:
            raise SftpError("OK is no answer to STAT")
        self._finish(decision, "error", code=wire.status_name(code), error=message or None)
        if request.number(1) == STAT_ALWAYS:
            self._status(request.id, code, message)
            return None
        return wire.Attrs()

    async def _rename(self, request: Request) -> None:
        """RENAME, posix-rename and hard links: what is at the first path will be at the second.

        Version 6 has a hard link's new name first. A server that is not OpenSSH's may link what a symbolic link leads
        to: it is asked for that by its own name.
        """
        turned = request.kind == wire.LINK
        source, target = request.text(1 if turned else 0), request.text(0 if turned else 1)
        follow = request.operation == "link" and not self._places.trusted
        found = await self._decided(request, request.operation, [(source, follow), (target, False)], "write")
        if found is not None:
            decision, places = found
            first, second = places[0].path, places[1].path
            self._forward(request, decision, request.encode(*((second, first) if turned else (first, second))))

    async def _symlink(self, request: Request) -> None:
        """The drafts have the link first, OpenSSH its text (in version 3, the only one that it speaks)."""
        text, link = request.text(0), request.text(1)
        swaps = self.version == wire.VERSION
        if not (swaps and self.settings.client_swaps):
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
        pair = (text, places[0].path) if swaps and self.settings.upstream_swaps else (places[0].path, text)
        self._forward(request, decision, request.encode(*pair))
