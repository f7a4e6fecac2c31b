"""File attributes of SFTP versions 4 to 6 on the wire, and which of them a client may set. Pure.

Source: draft-ietf-secsh-filexfer-04, -05 and -13, section 7; attrib-bits come with their mask also in version 5, as
AsyncSSH and other servers of today send them.
"""

from __future__ import annotations

from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.wire import Attrs, Fields, SftpError

SIZE, PERMISSIONS, ATIME, CREATETIME, MTIME, ACL, OWNERGROUP, SUBSECOND = 1, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100
BITS, ALLOCATION, TEXT_HINT, MIME_TYPE, LINKS, UNTRANSLATED, CTIME, EXTENDED = (
    0x200,
    0x400,
    0x800,
    0x1000,
    0x2000,
    0x4000,
    0x8000,
    0x80000000,
)
_OF_4 = EXTENDED | 0x1FD
DEFINED = {4: _OF_4, 5: _OF_4 | BITS, 6: _OF_4 | 0xFE00}
WANTED = SIZE | PERMISSIONS | ATIME | CREATETIME | MTIME | OWNERGROUP | SUBSECOND  # what the gateway asks a server for


def read(fields: Fields, version: int) -> Attrs:
    """An attributes field. Raises SftpError, also at a flag that the version does not have."""
    if version == wire.VERSION:
        return fields.attrs()
    flags = fields.u32()
    if flags & ~DEFINED[version]:
        raise SftpError(f"attributes with flags that version {version} does not have: {flags & ~DEFINED[version]:#x}")
    kind = fields.byte()
    if not wire.REGULAR <= kind <= wire.FIFO:
        raise SftpError(f"attributes of an unknown type of file: {kind}")
    size = fields.u64() if flags & SIZE else None
    allocation = fields.u64() if flags & ALLOCATION else None
    owner, group = (fields.string(), fields.string()) if flags & OWNERGROUP else (None, None)
    permissions = fields.u32() if flags & PERMISSIONS else None
    times: list[int | None] = []
    parts: list[int] = []
    for flag in (ATIME, CREATETIME, MTIME, CTIME):
        times.append(fields.u64() if flags & flag else None)
        parts.append(fields.u32() if flags & flag and flags & SUBSECOND else 0)
    return Attrs(
        size=size,
        allocation=allocation,
        owner=owner,
        group=group,
        permissions=permissions,
        atime=times[0],
        createtime=times[1],
        mtime=times[2],
        ctime=times[3],
        fractions=(parts[0], parts[1], parts[2], parts[3]) if flags & SUBSECOND else None,
        acl=fields.string() if flags & ACL else None,
        bits=(fields.u32(), fields.u32()) if flags & BITS else None,
        text_hint=fields.byte() if flags & TEXT_HINT else None,
        mime_type=fields.string() if flags & MIME_TYPE else None,
        links=fields.u32() if flags & LINKS else None,
        untranslated=fields.string() if flags & UNTRANSLATED else None,
        extended=fields.pairs() if flags & EXTENDED else (),
        kind=kind,
    )


def encoded(value: Attrs, version: int) -> bytes:
    """An attributes field, without extended ones and without what the version does not have."""
    if version == wire.VERSION:
        return wire.attrs(value)
    numbers, strings = wire.u32, wire.string
    owner = value.owner, value.group
    fields = [
        (SIZE, None if value.size is None else wire.u64(value.size)),
        (ALLOCATION, None if value.allocation is None else wire.u64(value.allocation)),
        (OWNERGROUP, None if None in owner else b"".join(strings(name) for name in owner if name is not None)),
        (PERMISSIONS, None if value.permissions is None else numbers(value.permissions)),
        *_times(value),
        (ACL, None if value.acl is None else strings(value.acl)),
        (BITS, None if value.bits is None else numbers(value.bits[0]) + numbers(value.bits[1])),
        (TEXT_HINT, None if value.text_hint is None else wire.byte(value.text_hint)),
        (MIME_TYPE, None if value.mime_type is None else strings(value.mime_type)),
        (LINKS, None if value.links is None else numbers(value.links)),
        (UNTRANSLATED, None if value.untranslated is None else strings(value.untranslated)),
    ]
    sent = [(flag, field) for flag, field in fields if field is not None and flag & DEFINED[version]]
    flags = sum(flag for flag, _ in sent) | (SUBSECOND if value.fractions is not None else 0)
    return wire.u32(flags) + wire.byte(value.kind) + b"".join(field for _, field in sent)


def _times(value: Attrs) -> list[tuple[int, bytes | None]]:
    times = (value.atime, value.createtime, value.mtime, value.ctime)
    made: list[tuple[int, bytes | None]] = []
    for i, (flag, time) in enumerate(zip((ATIME, CREATETIME, MTIME, CTIME), times, strict=True)):
        part = b"" if value.fractions is None else wire.u32(value.fractions[i])
        made.append((flag, None if time is None else wire.u64(time) + part))
    return made


def refused(value: Attrs) -> str:
    """What of a client's attributes is not passed on, in words; "" where all of it is understood and decided."""
    present = (
        ("extended attributes", value.extended),
        ("an access control list", value.acl is not None),
        ("attribute bits", value.bits is not None),
        ("an allocation size", value.allocation is not None),
        ("a text hint", value.text_hint is not None),
        ("a MIME type", value.mime_type is not None),
        ("a link count", value.links is not None),
        ("an untranslated name", value.untranslated is not None),
        ("a change time", value.ctime is not None),
    )
    return ", ".join(name for name, there in present if there)


def owner_of(value: Attrs) -> str:
    """Owner and group that are set, for people; "" where neither is."""
    if value.owner is not None and value.group is not None:
        return f"{value.owner.decode('utf-8', 'backslashreplace')}:{value.group.decode('utf-8', 'backslashreplace')}"
    return f"{value.uid}:{value.gid}" if value.uid is not None else ""
