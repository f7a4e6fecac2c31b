"""Unix sockets for the control channel: private, the peer's user checked, paths of any length."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from asyncio import BaseTransport
from collections.abc import Iterator
from pathlib import Path

from onrecord.policies.errors import ControlError

_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7)
_SUN_PATH = 100


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """What bind and connect may be given for `path`: sun_path holds 107 bytes only."""
    if len(os.fsencode(path)) <= _SUN_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600; replaces one that nobody answers. Raises ControlError."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlError(f"{path}: is in the way of the control socket: remove it")
        try:
            connect(path).close()
        except OSError:
            path.unlink(missing_ok=True)
        else:
            raise ControlError(f"{path}: another recorder answers there")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with _address(path) as address:
            sock.bind(address)
    except OSError as error:
        sock.close()
        raise ControlError(f"{path}: cannot listen: {error.strerror or error}") from None
    finally:
        os.umask(before)
    sock.listen(64)
    sock.setblocking(False)
    return sock


def connect(path: Path) -> socket.socket:
    """A connected socket. Raises OSError. A Unix socket connects at once or not at all."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        with _address(path) as address:
            sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def check_peer(transport: BaseTransport) -> None:
    """Raise ControlError unless the other side runs as this user or as root."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # macOS, for development: the socket's mode has to do
        return
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as sock:
        pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))
    if uid not in (os.geteuid(), 0):
        raise ControlError(f"the control channel's peer (process {pid}) runs as another user ({uid})")
