"""The log's key and its checkpoints outside the database: files in `state/evidence/` and `state/evidence.vkey`."""

from __future__ import annotations

import os
from pathlib import Path

from onrecord.policies.errors import StoreError
from onrecord.recordings.evidence.checkpoint import (
    Checkpoint,
    CheckpointError,
    Signer,
    Verifier,
    join_notes,
    split_notes,
)

KEY_FILE = "signing.key"
CHECKPOINTS_FILE = "checkpoints"
VKEY_FILE = "evidence.vkey"


def checkpoints_path(state: Path) -> Path:
    """The append-only file of signed checkpoints of a gateway's state folder."""
    return state / "evidence" / CHECKPOINTS_FILE


def vkey_path(state: Path) -> Path:
    """The file with the log's public key."""
    return state / VKEY_FILE


def load_signer(state: Path, *, fresh: bool) -> Signer:
    """The log's key; made where it is missing and `fresh` says that there is no log yet. Raises StoreError."""
    folder = state / "evidence"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / KEY_FILE
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        if not fresh:
            raise StoreError(
                f"{path}: the evidence key is gone though there are records: put it back, "
                "or move the store and state/evidence aside to begin a new log"
            ) from None
        signer = Signer(f"onrecord/{os.urandom(8).hex()}", os.urandom(32))
        _write_durably(path, signer.encode().encode(), 0o600)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: the evidence key cannot be read: {error}") from None
    else:
        if path.stat().st_mode & 0o077:
            raise StoreError(f"{path}: the evidence key must be readable by its owner alone: chmod 600 it")
        try:
            signer = Signer.parse(text)
        except CheckpointError as error:
            raise StoreError(f"{path}: {error}") from None
    public = (signer.vkey + "\n").encode()
    vkey = vkey_path(state)
    if not vkey.exists() or vkey.read_bytes() != public:
        if vkey.exists() and not fresh:
            raise StoreError(f"{vkey}: not the public half of {path}: put the right one of the two back")
        _write_durably(vkey, public, 0o644)
    return signer


class CheckpointFile:
    """The checkpoints outside the database: only ever appended to."""

    def __init__(self, path: Path, verifier: Verifier) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self.last = self._read_last(verifier)
        except BaseException:
            os.close(self._fd)
            raise
        self._size = os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)

    def append(self, size: int, note: str) -> None:
        """Add a signed note and put it on disk. Raises OSError; then the file is as before."""
        data = join_notes([note])
        try:
            if os.write(self._fd, data) != len(data):
                raise OSError(f"{self.path}: no space for a checkpoint")
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)
        self.last = size

    def _read_last(self, verifier: Verifier) -> int:
        """Size of the newest checkpoint; an unfinished one at the end (killed in mid-write) is cut off."""
        data = self.path.read_bytes()
        notes, tail = split_notes(data)
        if tail:
            os.ftruncate(self._fd, len(data) - len(tail))
        if not notes:
            return 0
        checkpoint: Checkpoint = verifier.open(notes[-1])
        return checkpoint.size


def _write_durably(path: Path, data: bytes, mode: int) -> None:
    """Create or replace a file, all or nothing."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
