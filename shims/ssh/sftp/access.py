"""What an OPEN really does: the flags of each version → whether it reads, writes, appends, follows a link. Pure.

A handle is held to what was decided here whatever the server would let through, so every doubt counts as more: what may
make or change a file is a write, and an open that asks for no data at all is a read.
"""

from __future__ import annotations

from typing import NamedTuple

from onrecord.shims.ssh.sftp import wire

READ_DATA, WRITE_DATA, APPEND_DATA, READ_ATTRIBUTES, WRITE_ATTRIBUTES = 1, 2, 4, 0x80, 0x100
_KNOWN_ACCESS = READ_DATA | WRITE_DATA | APPEND_DATA | READ_ATTRIBUTES | WRITE_ATTRIBUTES
_OTHER_ACCESS = {
    0x8: "READ_NAMED_ATTRS",
    0x10: "WRITE_NAMED_ATTRS",
    0x20: "EXECUTE",
    0x40: "DELETE_CHILD",
    0x10000: "DELETE",
    0x20000: "READ_ACL",
    0x40000: "WRITE_ACL",
    0x80000: "WRITE_OWNER",
    0x100000: "SYNCHRONIZE",
}

CREATE_NEW, CREATE_TRUNCATE, OPEN_EXISTING, OPEN_OR_CREATE, TRUNCATE_EXISTING = range(5)
DISPOSITION, APPENDING, APPENDING_ATOMIC, NOFOLLOW = 7, 8, 0x10, 0x400
_KNOWN_FLAGS = {
    5: DISPOSITION | APPENDING | APPENDING_ATOMIC,
    6: DISPOSITION | APPENDING | APPENDING_ATOMIC | NOFOLLOW,
}
_OTHER_FLAGS = {
    0x20: "TEXT_MODE",
    0x40: "BLOCK_READ",
    0x80: "BLOCK_WRITE",
    0x100: "BLOCK_DELETE",
    0x200: "BLOCK_ADVISORY",
    0x400: "NOFOLLOW",
    0x800: "DELETE_ON_CLOSE",
    0x1000: "ACCESS_AUDIT_ALARM_INFO",
    0x2000: "ACCESS_BACKUP",
    0x4000: "BACKUP_STREAM",
    0x8000: "OVERRIDE_OWNER",
}


class Access(NamedTuple):
    """The effect of an OPEN.

    `exclusive`: it must make the file, so a link in the last place is not followed. `nofollow`: it fails at such a
    link. `offsets`: whether it is certain where bytes that are written go.
    """

    reads: bool
    writes: bool
    append: bool = False
    exclusive: bool = False
    nofollow: bool = False
    offsets: bool = True


def access_of(version: int, numbers: tuple[int, ...]) -> Access | str:
    """The numbers of an OPEN: flags in version 3 and 4, desired access and flags from 5 on. A text: what is refused."""
    if version < 5:
        return _of_flags(*numbers)
    return _of_access(version, *numbers)


def _of_flags(flags: int) -> Access | str:
    if flags & ~wire.ALL_FLAGS:
        text = " (text mode)" if flags & 0x40 else ""
        return f"an OPEN with the flags {flags & ~wire.ALL_FLAGS:#x}{text}"
    return Access(
        reads=bool(flags & wire.FLAG_READ) or not flags & wire.FLAG_WRITE,
        writes=bool(flags & ~wire.FLAG_READ),
        append=bool(flags & wire.FLAG_APPEND),
        exclusive=bool(flags & wire.FLAG_EXCL and flags & wire.FLAG_CREAT),
    )


def _of_access(version: int, access: int, flags: int) -> Access | str:
    if access & ~_KNOWN_ACCESS:
        return f"an OPEN that asks for {_named(access & ~_KNOWN_ACCESS, _OTHER_ACCESS)}"
    if flags & ~_KNOWN_FLAGS[version]:
        return f"an OPEN with {_named(flags & ~_KNOWN_FLAGS[version], _OTHER_FLAGS)}"
    disposition = flags & DISPOSITION
    if disposition > TRUNCATE_EXISTING:
        return f"an OPEN with the disposition {disposition}"
    changes = access & (WRITE_DATA | APPEND_DATA)
    flagged = flags & (APPENDING | APPENDING_ATOMIC)
    return Access(
        reads=bool(access & READ_DATA) or not changes,
        writes=bool(changes or flagged) or disposition != OPEN_EXISTING,
        append=bool(flagged or access & APPEND_DATA),
        exclusive=disposition == CREATE_NEW,
        nofollow=bool(flags & NOFOLLOW),
        offsets=bool(flagged) or not access & APPEND_DATA,
    )


def _named(bits: int, names: dict[int, str]) -> str:
    found = [name for bit, name in names.items() if bits & bit]
    left = bits & ~sum(names)
    return ", ".join(found + ([f"{left:#x}"] if left else []))
