"""A client's request: a packet → its operation and fields, and back to bytes for the server. Pure.

What goes upstream is always encoded anew from what was read, never the client's own bytes: the server cannot read
another meaning into them than the one that was decided. READ and WRITE are decoded in `transfers`, where speed counts.
"""

from __future__ import annotations

from typing import NamedTuple

from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.wire import Attrs, Fields, SftpError

_HANDLE_LIMIT = 256  # bytes, by the draft

# Fields: p a path, t a text that is no path, h a handle, q a number of 8 bytes, i of 4, a attributes.
_PLAIN: dict[int, tuple[str, str]] = {
    wire.OPEN: ("open", "pia"),
    wire.CLOSE: ("close", "h"),
    wire.LSTAT: ("lstat", "p"),
    wire.FSTAT: ("fstat", "h"),
    wire.SETSTAT: ("setstat", "pa"),
    wire.FSETSTAT: ("fsetstat", "ha"),
    wire.OPENDIR: ("readdir", "p"),
    wire.READDIR: ("list", "h"),
    wire.REMOVE: ("remove", "p"),
    wire.MKDIR: ("mkdir", "pa"),
    wire.RMDIR: ("rmdir", "p"),
    wire.REALPATH: ("realpath", "p"),
    wire.STAT: ("stat", "p"),
    wire.RENAME: ("rename", "pp"),
    wire.READLINK: ("readlink", "p"),
    wire.SYMLINK: ("symlink", "pp"),
}
_EXTENSIONS: dict[bytes, tuple[str, str, bytes]] = {
    b"posix-rename@openssh.com": ("rename", "pp", b"1"),
    b"statvfs@openssh.com": ("statvfs", "p", b"2"),
    b"fstatvfs@openssh.com": ("fstatvfs", "h", b"2"),
    b"hardlink@openssh.com": ("link", "pp", b"1"),
    b"fsync@openssh.com": ("fsync", "h", b"1"),
    b"lsetstat@openssh.com": ("lsetstat", "pa", b"1"),
    b"limits@openssh.com": ("limits", "", b"1"),
    b"expand-path@openssh.com": ("expand-path", "p", b"1"),
    b"copy-data": ("copy", "hqqhq", b"1"),
    b"home-directory": ("home-directory", "t", b"1"),
    b"users-groups-by-id@openssh.com": ("users", "tt", b"1"),
}


class Request(NamedTuple):
    """One request. `operation` is the decoder's word; `fields` as its table says, in the protocol's order."""

    kind: int
    id: int
    operation: str
    fields: tuple[bytes | int | Attrs, ...]
    extension: bytes = b""

    def text(self, index: int) -> bytes:
        """A path, text or handle."""
        value = self.fields[index]
        if not isinstance(value, bytes):
            raise SftpError("a field of another type")
        return value

    def number(self, index: int) -> int:
        value = self.fields[index]
        if not isinstance(value, int):
            raise SftpError("a field of another type")
        return value

    def attrs(self, index: int) -> Attrs:
        value = self.fields[index]
        if not isinstance(value, Attrs):
            raise SftpError("a field of another type")
        return value

    def encode(self, *changed: bytes) -> bytes:
        """The fields for the server, behind type and id; the first strings are replaced by `changed`."""
        parts: list[bytes] = [wire.string(self.extension)] if self.kind == wire.EXTENDED else []
        left = list(changed)
        shape = shape_of(self)
        for letter, value in zip(shape, self.fields, strict=True):
            if isinstance(value, bytes):
                parts.append(wire.string(left.pop(0) if left else value))
            elif isinstance(value, Attrs):
                parts.append(wire.attrs(value))
            else:
                parts.append(wire.u64(value) if letter == "q" else wire.u32(value))
        return b"".join(parts)


class Unsupported(NamedTuple):
    """A request that the gateway does not pass on: unknown, or with a part that it does not know."""

    id: int
    what: str


def shape_of(request: Request) -> str:
    """The letters of its fields."""
    if request.kind == wire.EXTENDED:
        return _EXTENSIONS[request.extension][1]
    return _PLAIN[request.kind][1]


def read_request(data: bytes) -> Request | Unsupported:
    """A packet (not INIT, READ or WRITE). Raises SftpError."""
    kind = data[0]
    fields = Fields(data)
    id = fields.u32()
    extension = b""
    if kind == wire.EXTENDED:
        extension = fields.string()
        known = _EXTENSIONS.get(extension)
        if known is None:
            return Unsupported(id, f"the extension {extension[:100].decode('utf-8', 'backslashreplace')}")
        operation, shape, _ = known
    elif kind in _PLAIN:
        operation, shape = _PLAIN[kind]
    else:
        return Unsupported(id, f"a request of type {kind}")
    values = tuple(_field(letter, fields) for letter in shape)
    fields.end()
    for value in values:
        if isinstance(value, Attrs) and value.extended:
            return Unsupported(id, "extended attributes")
    return Request(kind, id, operation, values, extension)


def _field(letter: str, fields: Fields) -> bytes | int | Attrs:
    if letter == "a":
        return fields.attrs()
    if letter == "q":
        return fields.u64()
    if letter == "i":
        return fields.u32()
    value = fields.string()
    if letter == "p":
        if len(value) > wire.MAX_PATH:
            raise SftpError(f"a path of {len(value)} bytes: at most {wire.MAX_PATH} are allowed")
        if b"\0" in value:
            raise SftpError("a path with a NUL byte")
    elif letter == "h" and len(value) > _HANDLE_LIMIT:
        raise SftpError(f"a handle of {len(value)} bytes: at most {_HANDLE_LIMIT} are allowed")
    return value


def offered(data: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """The server's VERSION packet: its version, and its extensions that the gateway knows in that very form."""
    fields = Fields(data)
    version = fields.u32()
    found: list[tuple[bytes, bytes]] = []
    while fields.rest:
        name, value = fields.string(), fields.string()
        if name in _EXTENSIONS and _EXTENSIONS[name][2] == value:
            found.append((name, value))
        if len(found) > len(_EXTENSIONS):
            raise SftpError("an extension is offered twice")
    return version, found


def version_packet(kind: int, extensions: list[tuple[bytes, bytes]]) -> bytes:
    """INIT or VERSION of version 3 with `extensions`, ready to be sent."""
    body = bytes([kind]) + wire.u32(wire.VERSION)
    body += b"".join(wire.string(name) + wire.string(value) for name, value in extensions)
    return wire.u32(len(body)) + body
