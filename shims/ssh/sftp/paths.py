"""Paths as bytes: what is said of them without asking the server. Pure."""

from __future__ import annotations

import posixpath

from onrecord.policies.model import Action

SETID = 0o6000  # set-user-id and set-group-id


def split(path: bytes) -> tuple[bytes, bytes]:
    """The folder and the name in it; no name where the path means what it resolves to ("/", ".", "..", "x/")."""
    head, _, tail = path.rpartition(b"/")
    if tail in (b"", b".", b".."):
        return path or b".", b""
    if not head:
        return (b"/" if path.startswith(b"/") else b"."), tail
    return head, tail


def join(folder: bytes, name: bytes) -> bytes:
    """`name` in `folder`."""
    return folder.rstrip(b"/") + b"/" + name


def lexical(base: bytes, path: bytes) -> bytes:
    """`path` from `base` by its words alone. Only for what is refused or not there: symbolic links are not seen."""
    made = posixpath.normpath(posixpath.join(base or b"/", path))
    return made[1:] if made.startswith(b"//") else made


def shown(path: bytes) -> str:
    """A path as policies and records see it: text; bytes that are no UTF-8 as `\\xNN`."""
    return path.decode("utf-8", "backslashreplace")


def is_canonical(path: bytes) -> bool:
    """Whether a server's REALPATH answer can be what it should be."""
    if not path.startswith(b"/") or b"\0" in path:
        return False
    return path == b"/" or not any(part in (b"", b".", b"..") for part in path[1:].split(b"/"))


def stricter(action: Action, *, admin: bool) -> Action:
    """`admin` where it is."""
    return "admin" if admin else action
