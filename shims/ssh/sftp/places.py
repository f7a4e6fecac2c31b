"""Where a path leads: asked of the server before anything is decided, so that a symbolic link hides nothing.

A server that is known to resolve links in REALPATH is asked that; any other is walked component by component, with
LSTAT and READLINK. What then goes upstream is the resolved path, not the client's. Between the look and the operation
another process of the host may still exchange a folder: SFTP has no way to exclude that.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from onrecord.shims.ssh.sftp import attributes, wire
from onrecord.shims.ssh.sftp.paths import is_canonical, join, lexical, split
from onrecord.shims.ssh.sftp.requests import NO_CHECK, stat_fields
from onrecord.shims.ssh.sftp.wire import Fields, SftpError

MAX_LINKS = 40


class Probe(Protocol):
    """Sends a request of the gateway's own: its type and fields; gives the answer's packet."""

    def __call__(self, kind: int, *parts: bytes) -> Awaitable[bytes]: ...


class Place(NamedTuple):
    """A resolved path. `code` and `message` are the server's answer where the path cannot be there at all."""

    path: bytes
    code: int = wire.OK
    message: str = ""


class Places:
    """Resolves paths through `probe`, which sends a request and gives the answer."""

    def __init__(self, probe: Probe, *, trusted: bool) -> None:
        self._probe, self._trusted = probe, trusted
        self._version = wire.VERSION
        self._home: bytes | None = None

    def speak(self, version: int) -> None:
        """What the server speaks. From version 4 on it is not OpenSSH's, whatever its host says."""
        self._version = version
        self._trusted = self._trusted and version == wire.VERSION

    @property
    def trusted(self) -> bool:
        """Whether the server is known to do as OpenSSH's does."""
        return self._trusted

    async def locate(self, path: bytes, *, follow: bool) -> Place:
        """Where `path` leads; a link in its last place is followed where `follow`. Raises SftpError."""
        folder, name = (path, b"") if follow else split(path)
        if self._trusted:
            found = await self._real(folder or b".")
            if found.code == wire.OK:
                return Place(join(found.path, name)) if name else found
        return await self._walk(path, follow=follow or not name)

    async def home(self) -> bytes:
        """The folder that relative paths begin in."""
        if self._home is None:
            found = await self._real(b".")
            self._home = found.path if found.code == wire.OK else b"/"
        return self._home

    async def _real(self, path: bytes) -> Place:
        control = wire.byte(NO_CHECK) if self._version >= 6 else b""
        answer = await self._probe(wire.REALPATH, wire.string(path) + control)
        if answer[0] == wire.STATUS:
            return failed(answer, path)
        found = one_name(answer)
        if not is_canonical(found):
            raise SftpError("REALPATH's answer is no absolute path")
        return Place(found)

    async def _walk(self, path: bytes, *, follow: bool) -> Place:
        """Component by component. A last one that is not there is fine: it may be about to be made."""
        base = b"" if path.startswith(b"/") else await self.home()
        left = [part for part in (base + b"/" + path).split(b"/") if part not in (b"", b".")]
        made: list[bytes] = []
        links = 0
        while left:
            part = left.pop(0)
            if part == b"..":
                del made[-1:]
                continue
            here = b"/" + b"/".join([*made, part])
            if not left and not follow:
                return Place(here)
            text = await self._link_text(here)
            if isinstance(text, bytes):
                links += 1
                if links > MAX_LINKS:
                    return Place(here, wire.FAILURE, "too many levels of symbolic links")
                if text.startswith(b"/"):
                    made = []
                left = [one for one in text.split(b"/") if one not in (b"", b".")] + left
                continue
            if text is not None and (left or text.code not in (wire.NO_SUCH_FILE, wire.NO_SUCH_PATH)):
                return Place(lexical(here, b"/".join(left)), text.code, text.message)
            made.append(part)
        return Place(b"/" + b"/".join(made))

    async def kind(self, path: bytes) -> int | Place:
        """What is at `path`, not followed: its type, or the server's answer where that is not known."""
        answer = await self._probe(wire.LSTAT, stat_fields(path, self._version))
        if answer[0] == wire.STATUS:
            return failed(answer, path)
        kind = _kind_of(read_attrs(answer, self._version))
        if kind == wire.UNKNOWN:
            return Place(path, wire.FAILURE, "the server does not say what kind of file this is")
        return kind

    async def _link_text(self, path: bytes) -> bytes | Place | None:
        """What the link at `path` holds; None where it is no link; the server's answer where it is not there."""
        kind = await self.kind(path)
        if isinstance(kind, Place):
            return kind
        if kind != wire.SYMBOLIC_LINK:
            return None
        answer = await self._probe(wire.READLINK, wire.string(path))
        if answer[0] == wire.STATUS:
            return failed(answer, path)
        text = one_name(answer)
        if not text or b"\0" in text:
            raise SftpError("READLINK's answer is no path")
        return text


def _kind_of(attrs: wire.Attrs) -> int:
    """A link where either the type or the permissions say so: a server may contradict itself."""
    by_mode = attrs._replace(kind=wire.UNKNOWN).file_type
    return wire.SYMBOLIC_LINK if by_mode == wire.SYMBOLIC_LINK else attrs.file_type


def failed(answer: bytes, path: bytes) -> Place:
    """A STATUS that is an error, as the place that cannot be reached."""
    code, message = read_status(answer)
    if code in (wire.OK, wire.EOF):
        raise SftpError("a status that answers nothing")
    return Place(path, code, message)


def read_status(answer: bytes) -> tuple[int, str]:
    """Code and message of a STATUS; a server may leave the message out."""
    if answer[0] != wire.STATUS:
        raise SftpError(f"an answer of type {answer[0]} where a status belongs")
    fields = Fields(answer, 5)
    code = fields.u32()
    message = fields.string()[:1024].decode("utf-8", "replace") if fields.rest else ""
    return code, message


def read_attrs(answer: bytes, version: int = wire.VERSION) -> wire.Attrs:
    """The attributes of an ATTRS answer."""
    if answer[0] != wire.ATTRS:
        raise SftpError(f"an answer of type {answer[0]} where attributes belong")
    return attributes.read(Fields(answer, 5), version)


def one_name(answer: bytes) -> bytes:
    """The name of a NAME answer with exactly one."""
    if answer[0] != wire.NAME:
        raise SftpError(f"an answer of type {answer[0]} where a name belongs")
    fields = Fields(answer, 5)
    if fields.u32() != 1:
        raise SftpError("not exactly one name")
    return fields.string()


def names(answer: bytes, version: int = wire.VERSION) -> list[bytes]:
    """The file names of a NAME answer, all of them checked. Version 6 may say behind them that they are the last."""
    if answer[0] != wire.NAME:
        raise SftpError(f"an answer of type {answer[0]} where names belong")
    fields = Fields(answer, 5)
    found: list[bytes] = []
    for _ in range(fields.u32()):
        found.append(fields.string())
        if version == wire.VERSION:
            fields.string()
        attributes.read(fields, version)
    if version >= 6 and fields.rest:
        fields.byte()
    if version > wire.VERSION:
        fields.end()
    return found
