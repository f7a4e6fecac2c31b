"""A client's request: a packet → its operation and fields, and back to bytes for the server. Pure.

Client and server speak the same version: the lower of theirs, at most 6. What goes upstream is always encoded anew from
what was read, never the client's own bytes: the server cannot read another meaning into them than the one that was
decided. READ and WRITE are decoded in `opening`, where speed counts.
"""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from onrecord.shims.ssh.sftp import attributes, wire
from onrecord.shims.ssh.sftp.access import OPEN_EXISTING, READ_ATTRIBUTES, READ_DATA, access_of
from onrecord.shims.ssh.sftp.wire import Attrs, Fields, SftpError

_HANDLE_LIMIT = 256  # bytes, by the draft
_MAX_COMPOSED = 16  # paths that one REALPATH puts together
_MAX_PAIRS = 64  # extensions of an INIT or VERSION

# Fields: p a path, t a text that is no path, h a handle, q a number of 8 bytes, i of 4, b of 1, w which attributes are
# wanted (a hint to the server), a attributes.
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
# What other versions say differently; None is a request that they do not have.
_FROM_4: dict[int, tuple[str, str] | None] = {
    wire.LSTAT: ("lstat", "pw"),
    wire.FSTAT: ("fstat", "hw"),
    wire.STAT: ("stat", "pw"),
}
_FROM_5: dict[int, tuple[str, str] | None] = {wire.OPEN: ("open", "piia"), wire.RENAME: ("rename", "ppi")}
_FROM_6: dict[int, tuple[str, str] | None] = {wire.SYMLINK: None, wire.LINK: ("link-or-symlink", "ppb")}
_LATER: dict[int, dict[int, tuple[str, str] | None]] = {
    3: {},
    4: _FROM_4,
    5: _FROM_4 | _FROM_5,
    6: _FROM_4 | _FROM_5 | _FROM_6,
}
_NOT_DECIDED = {wire.BLOCK: "a byte-range lock (BLOCK)", wire.UNBLOCK: "a byte-range lock (UNBLOCK)"}

OVERWRITE, ATOMIC, NATIVE = 1, 2, 4  # RENAME's flags from version 5 on
NO_CHECK, STAT_IF_EXISTS, STAT_ALWAYS = 1, 2, 3  # REALPATH's control byte of version 6

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
    """One request. `operation` is the decoder's word; `fields` as `shape` says, in the protocol's order."""

    kind: int
    id: int
    operation: str
    fields: tuple[bytes | int | Attrs, ...]
    extension: bytes = b""
    shape: str = ""
    version: int = wire.VERSION

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
        for letter, value in zip(self.shape, self.fields, strict=True):
            if isinstance(value, bytes):
                parts.append(wire.string(left.pop(0) if left else value))
            elif isinstance(value, Attrs):
                parts.append(attributes.encoded(value, self.version))
            else:
                parts.append(_PACK[letter](value))
        return b"".join(parts)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its numbers, in order."""
        return tuple(value for value in self.fields if isinstance(value, int))

    def without_attrs(self) -> Request:
        """The same, setting nothing."""
        made = tuple(Attrs() if isinstance(value, Attrs) else value for value in self.fields)
        return self._replace(fields=made)


class Unsupported(NamedTuple):
    """A request that the gateway does not pass on: unknown, or with a part that it does not know."""

    id: int
    what: str


def read_request(data: bytes, version: int = wire.VERSION) -> Request | Unsupported:
    """A packet (not INIT, READ or WRITE). Raises SftpError."""
    kind = data[0]
    fields = Fields(data)
    id = fields.u32()
    extension = b""
    later = _LATER[version]
    found = later[kind] if kind in later else _PLAIN.get(kind)
    if kind == wire.EXTENDED:
        extension = fields.string()
        known = _EXTENSIONS.get(extension)
        if known is None:
            return Unsupported(id, f"the extension {extension[:100].decode('utf-8', 'backslashreplace')}")
        operation, shape, _ = known
    elif found is not None:
        operation, shape = found
    else:
        return Unsupported(id, (_NOT_DECIDED.get(kind) if version >= 6 else None) or f"a request of type {kind}")
    if kind == wire.REALPATH and version >= 6:
        return _realpath(id, fields, version)
    values = tuple(_field(letter, fields, version) for letter in shape)
    fields.end()
    request = Request(kind, id, operation, values, extension, shape, version)
    what = _refused(request)
    return Unsupported(id, what) if what else _told_apart(request)


def _refused(request: Request) -> str:
    """What of a request that can be read is not passed on, in words; "" where nothing is."""
    for value in request.fields:
        if isinstance(value, Attrs) and (what := attributes.refused(value)):
            return what
    if request.operation == "open":
        access = access_of(request.version, request.numbers)
        return access if isinstance(access, str) else ""
    if request.operation == "rename" and request.version >= 5 and request.kind == wire.RENAME:
        unknown = request.number(2) & ~(OVERWRITE | ATOMIC | NATIVE)
        return f"a RENAME with the flags {unknown:#x}" if unknown else ""
    return ""


def _told_apart(request: Request) -> Request:
    """LINK of version 6 is a hard link or a symbolic one: two operations."""
    if request.operation != "link-or-symlink":
        return request
    is_symbolic = request.number(2)
    if is_symbolic > 1:
        raise SftpError(f"LINK with {is_symbolic} where yes or no belongs")
    return request._replace(operation="symlink" if is_symbolic else "link")


def _realpath(id: int, fields: Fields, version: int) -> Request | Unsupported:
    """REALPATH of version 6: path, control byte, paths that are put together with it. Joined here, as POSIX does."""
    path, control, composed = _field("p", fields, version), NO_CHECK, 0
    if fields.rest:
        control = fields.byte()
    while fields.rest:
        composed += 1
        more = _field("p", fields, version)
        if composed > _MAX_COMPOSED or not isinstance(path, bytes) or not isinstance(more, bytes):
            raise SftpError(f"REALPATH of more than {_MAX_COMPOSED} paths")
        path = posixpath.join(path, more)
        if len(path) > wire.MAX_PATH:
            raise SftpError(f"REALPATH of a path over {wire.MAX_PATH} bytes")
    if not NO_CHECK <= control <= STAT_ALWAYS:
        return Unsupported(id, f"REALPATH with the control byte {control}")
    return Request(wire.REALPATH, id, "realpath", (path, control), b"", "pb", version)


_PACK = {"q": wire.u64, "i": wire.u32, "w": wire.u32, "b": wire.byte}


def _field(letter: str, fields: Fields, version: int) -> bytes | int | Attrs:
    if letter == "a":
        return attributes.read(fields, version)
    if letter == "b":
        return fields.byte()
    if letter == "w":
        return fields.u32() & attributes.DEFINED[version]
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


def asked(data: bytes) -> int:
    """The client's INIT packet: its version. Extensions that it names are checked and dropped. Raises SftpError."""
    fields = Fields(data)
    version = fields.u32()
    _pairs(fields)
    return version


def offered(data: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """The server's VERSION packet: its version, and its extensions that the gateway knows in that very form.

    What a server says of itself (`supported`, `supported2`, `versions`, `newline`, `filename-charset`, …) is not passed
    on: it speaks of requests that the gateway refuses.
    """
    fields = Fields(data)
    version = fields.u32()
    found: list[tuple[bytes, bytes]] = []
    for name, value in _pairs(fields):
        if name in _EXTENSIONS and _EXTENSIONS[name][2] == value and (name, value) not in found:
            found.append((name, value))
    return version, found


def _pairs(fields: Fields) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    while fields.rest:
        found.append((fields.string(), fields.string()))
        if len(found) > _MAX_PAIRS:
            raise SftpError(f"more than {_MAX_PAIRS} extensions")
    return found


def version_packet(kind: int, extensions: list[tuple[bytes, bytes]], version: int = wire.VERSION) -> bytes:
    """INIT or VERSION with `extensions`, ready to be sent."""
    body = bytes([kind]) + wire.u32(version)
    body += b"".join(wire.string(name) + wire.string(value) for name, value in extensions)
    return wire.u32(len(body)) + body


def stat_fields(of: bytes, version: int) -> bytes:
    """The fields of the gateway's own STAT, LSTAT or FSTAT of a path or handle."""
    return wire.string(of) + (wire.u32(attributes.WANTED) if version >= 4 else b"")


def reading_fields(path: bytes, version: int) -> bytes:
    """The fields of the gateway's own OPEN for reading."""
    flags = wire.u32(wire.FLAG_READ)
    if version >= 5:
        flags = wire.u32(READ_DATA | READ_ATTRIBUTES) + wire.u32(OPEN_EXISTING)
    return wire.string(path) + flags + attributes.encoded(Attrs(), version)
