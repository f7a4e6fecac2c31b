"""The gateway's own keys in `state/ssh`: made on first use, mode 0600, never replaced."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

import asyncssh

from onrecord.policies.errors import OnrecordError

FOLDER = "ssh"
HOST_KEY = "host_ed25519"


class HostKeyError(OnrecordError):
    """A key of the gateway cannot be read or made."""


def gateway_key(state: Path, name: str = HOST_KEY, *, make: bool = True) -> asyncssh.SSHKey:
    """The private key `name`, made where there is none yet. Another process may be making it too."""
    folder = state / FOLDER
    path = folder / name
    try:
        if make and not path.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            _make(path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid != os.geteuid():
                raise HostKeyError(f"{path}: others can read it, or it belongs to another user (chmod 600, chown)")
            data = file.read(64 * 1024)
        return asyncssh.import_private_key(data)
    except OSError as error:
        raise HostKeyError(f"{path}: cannot be read or made: {error.strerror}") from None
    except asyncssh.KeyImportError as error:
        raise HostKeyError(f"{path}: no private key: {error} (remove it to have a new one made)") from None


def _make(path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519", comment=f"onrecord {path.name}")
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.export_private_key("openssh"))
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):  # link(2) does not replace: the first one stays
            os.link(fresh, path)
    finally:
        fresh.unlink()
