"""How often the catalog of one resource has changed, as far as any shim process knows: a number in a mapped file."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import stat
from pathlib import Path

from onrecord.shims.postgres.catalog.decode import CatalogError

_SIZE = 8


class Counter:
    """One aligned 64-bit number, read without a lock and raised under flock. Raises CatalogError where it is unsafe.

    The file holds nothing but the number: whoever could write it could keep a process from seeing a change, so it
    must be ours alone.
    """

    def __init__(self, state: Path, resource: str) -> None:
        name = hashlib.sha256(resource.encode()).hexdigest()[:16]
        self.path = state / f"catalog-{name}.counter"
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CatalogError(f"{self.path}: {error.strerror}") from None
        try:
            found = os.fstat(self._file)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise CatalogError(f"{self.path}: it must be a file of this user with mode 0600")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file).st_size != _SIZE:
                os.ftruncate(self._file, _SIZE)
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._map = mmap.mmap(self._file, _SIZE)
        except OSError as error:
            os.close(self._file)
            raise CatalogError(f"{self.path}: {error.strerror}") from None
        except CatalogError:
            os.close(self._file)
            raise
        self._number = memoryview(self._map).cast("Q")

    @property
    def value(self) -> int:
        """The number now."""
        return self._number[0]

    def bump(self) -> None:
        """One change more, for all processes."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._number[0] = (self._number[0] + 1) % 2**64
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._number.release()
        self._map.close()
        os.close(self._file)
