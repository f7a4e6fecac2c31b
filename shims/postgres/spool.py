"""A message too large for memory waits on disk, unlinked and unreadable by others, until it is decided."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from onrecord.shims.postgres.exchange import SessionFatal
from onrecord.shims.postgres.wire import KIB, MIB

MAX_SPOOLED = 2048 * MIB  # of all sessions of a process
FREE = 256 * MIB  # so much of the disk is left to the journal
_PIECE = 256 * KIB


class Spools:
    """Makes the spools of one process below `folder`, and bounds what they hold together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held = 0

    def open(self, size: int) -> Spool:
        """Room for a message of `size` bytes. Raises SessionFatal where there is none."""
        try:
            disk = os.statvfs(self.folder)
        except OSError as error:
            raise _failed(error) from None
        if self.held + size > MAX_SPOOLED or size + FREE > disk.f_bavail * disk.f_frsize:
            text = f"there is no room for a message of {size} bytes"
            raise SessionFatal("53100", text, what="onrecord:protocol", hint="try again later, or send smaller values")
        return Spool(self, size)


class Spool:
    """One message: `write` all of it, then `read` it once from the beginning."""

    def __init__(self, spools: Spools, size: int) -> None:
        self._spools, self.size = spools, size
        self._position = 0
        self._closed = False
        spools.held += size
        try:
            self._file = tempfile.TemporaryFile(dir=spools.folder, buffering=0)  # noqa: SIM115  # closed in `close`
        except OSError as error:
            self.close()
            raise _failed(error) from None

    def write(self, data: bytes) -> None:
        """Add bytes. Raises SessionFatal where the disk takes no more."""
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            raise _failed(error) from None

    def read(self) -> bytes:
        """The next piece; b"" at the end."""
        data = os.pread(self._file.fileno(), _PIECE, self._position)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Free the room."""
        if not self._closed:
            self._closed = True
            self._spools.held -= self.size
            if file := getattr(self, "_file", None):
                file.close()

    def __del__(self) -> None:
        self.close()  # dropped undecided


def _failed(error: OSError) -> SessionFatal:
    return SessionFatal("58030", f"a large message cannot be kept: {error.strerror}", what="onrecord:store")
