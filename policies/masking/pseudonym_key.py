"""The key of pseudonyms: one a state folder, so that all processes and all restarts give the same ones."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from onrecord.policies.masking.errors import MaskError

SIZE = 32
NAME = "pseudonym.key"


def pseudonym_key(state: Path) -> bytes:
    """The key in `state`, made (mode 0600) on first use. Raises MaskError where it cannot be had."""
    path = state / NAME
    try:
        key = _read(path)
        if key is None:
            _make(path)
            key = _read(path)
    except OSError as error:
        raise MaskError(f"{NAME} in the state folder cannot be read or made: {error.strerror}") from None
    if key is None:
        raise MaskError(f"{NAME} went away while it was made")
    return key


def _read(path: Path) -> bytes | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid()):
            raise MaskError(f"others could read or change {NAME} in the state folder (chmod 600, owned by our user)")
        key = os.read(file, SIZE + 1)
    finally:
        os.close(file)
    if len(key) != SIZE:
        raise MaskError(f"{NAME} in the state folder holds {len(key)} bytes and not {SIZE}: restore it or remove it")
    return key


def _make(path: Path) -> None:
    """Put a whole new key there in one step; who comes second keeps the first's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, secrets.token_bytes(SIZE))
        os.fsync(file)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.close(file)
        temporary.unlink()
