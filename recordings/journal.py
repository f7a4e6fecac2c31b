"""The append-only journal of one data-path process.

`append` frames a record into a buffer, `flush` puts all of it on disk with one `os.write`; nothing may be forwarded
before its flush returned. A reserve of disk beyond the end of the file is kept allocated, so that refusals can still
be written when the disk is full; beyond it they are counted and the count is written when space returns.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from onrecord.policies.errors import StoreError
from onrecord.recordings.frames import NO_ID, FrameError, Kind, encode_frame, file_header, new_id
from onrecord.recordings.records import GapRecord, Record

Durability = Literal["process", "power"]

RESERVE = 1024 * 1024
ROTATE_AT = 64 * 1024 * 1024
_LOOK_EVERY = 0.1  # seconds between looks whether the file still stands under its name
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h

_encode = msgspec.json.Encoder().encode


class Journal:
    """One process's journal files: `NAME-<id>.journal` in `folder`, the newest one open for appending.

    A new process always begins a new file: whatever an earlier life left behind stays as it is for the recorder.
    `on_rotate` is told the path of each new file.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        durability: Durability = "process",
        rotate_at: int = ROTATE_AT,
        reserve: int = RESERVE,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder, self._name = folder, name
        self._durability = durability
        self._rotate_at, self._reserve_size = rotate_at, reserve
        self._now = now
        self._buffer: list[bytes] = []
        self._chain = b""
        self._fd = -1
        self._size = 0
        self._allocated = 0
        self._flushed_chain = b""
        self._lost = 0
        self._lost_since = 0
        self._failing = False
        self._broken = False
        self._dropped = False
        self._unwritten = False
        self._named_at = 0
        self._looked_at = 0.0
        self.losses = 0  # how often records that were appended could not be written
        self.path = Path()
        self._open()

    @property
    def lost_refusals(self) -> int:
        """Refusals counted since the reserve ran out and not yet on record."""
        return self._lost

    def append(
        self,
        kind: Kind,
        record: Record,
        *,
        id: bytes = b"",
        session: bytes = NO_ID,
        command: bytes = NO_ID,
        at: int = 0,
    ) -> bytes:
        """Frame a record into the buffer; returns its id. Raises FrameError where it is over the frame limit."""
        return self.append_payload(kind, _encode(record), id=id, session=session, command=command, at=at)

    def append_payload(
        self,
        kind: Kind,
        payload: bytes,
        *,
        id: bytes = b"",
        session: bytes = NO_ID,
        command: bytes = NO_ID,
        at: int = 0,
    ) -> bytes:
        """`append` for a payload that is already encoded."""
        at = at or self._now()
        id = id or new_id(at)
        if self._lost and not self._buffer:
            self._append_gap(at)
        frame, self._chain = encode_frame(self._chain, kind, id, session, command, at, payload)
        self._buffer.append(frame)
        return id

    @property
    def pending(self) -> bool:
        """Whether something waits for `flush`."""
        return bool(self._buffer)

    def flush(self) -> None:
        """Write what was appended. Raises StoreError; then nothing of it is on disk and the buffer is empty.

        Where several callers append before one of them flushes, a failure is everybody's: until a later write succeeds
        every flush raises, and `losses` has grown for whoever flushes after that.
        """
        if self._dropped:
            self._dropped = False
            self._buffer.clear()
            self._chain = self._flushed_chain
            raise StoreError("the journal cannot be written: records before this one were lost")
        if not self._buffer:
            if self._unwritten:
                raise StoreError("the journal cannot be written: records before this one were lost")
            return
        begin = self._must_begin()
        data = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
        self._buffer.clear()
        try:
            if begin:
                self._reopen()
            self._write(data)
        except (OSError, StoreError) as error:
            self._undo()
            self._unwritten = True
            self.losses += 1
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise StoreError(f"the journal cannot be written: {reason}") from None
        self._flushed_chain = self._chain
        self._failing = self._unwritten = False
        self._lost = self._lost_since = 0
        if self._size >= self._rotate_at:
            self._rotate()

    def refuse(
        self,
        kind: Kind,
        record: Record | msgspec.Raw,
        *,
        id: bytes = b"",
        session: bytes = NO_ID,
        command: bytes = NO_ID,
    ) -> bytes:
        """Write the record of a refusal, into the reserve if the disk is full. Never raises; returns its id.

        Where even the reserve is used up, the refusal is counted and the count is written later.
        """
        if self._buffer:
            try:
                self.flush()
            except StoreError:
                self._dropped = True  # whoever appended them learns of it when it flushes
        id = id or new_id(self._now())
        try:
            self.append_payload(kind, _encode(record), id=id, session=session, command=command)
        except FrameError:  # over the limit of one frame: counted, for it cannot be written
            self._buffer.clear()
            self._chain = self._flushed_chain
            self._lost += 1
            self._lost_since = self._lost_since or self._now()
            return id
        begin = self._must_begin()
        data, chain = b"".join(self._buffer), self._chain
        self._buffer.clear()
        try:
            if begin:
                self._reopen()
            self._write(data, into_reserve=self._failing)
        except (OSError, StoreError):
            self._undo()
            try:
                self._write(data, into_reserve=True)
            except OSError:
                self._undo()
                self._lost += 1
                self._lost_since = self._lost_since or self._now()
                return id
        self._chain = self._flushed_chain = chain
        self._lost = self._lost_since = 0
        return id

    def close(self) -> None:
        """Flush and close; space that was only reserved is given back."""
        if self._fd < 0:
            return
        try:
            if self._buffer:
                self.flush()
        finally:
            os.ftruncate(self._fd, self._size)
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        """Begin a new file. Raises StoreError; then nothing has changed and the new file is gone."""
        self._named_at = max(self._now(), self._named_at + 1_000_000)  # names sort in the order of their making
        path = self._folder / f"{self._name}-{new_id(self._named_at).hex()}.journal"
        seed = self._flushed_chain or os.urandom(32)
        header = file_header(seed)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"no journal can be opened in {self._folder}: {error.strerror}") from None
        try:
            # the recorder sees by the lock whether the writer still lives; it looks at files with a header only
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            allocated = len(header) + self._reserve_size
            if not (self._reserve_size and _allocate(fd, 0, allocated)):
                allocated = 0
            if os.write(fd, header) != len(header):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._durability == "power":
                os.fdatasync(fd)
                _sync_folder(self._folder)
        except OSError as error:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise StoreError(f"the journal cannot be written: {error.strerror}") from None
        old, self._fd = self._fd, fd
        self.path, self._size, self._allocated = path, len(header), allocated
        self._chain = self._flushed_chain = seed
        self._broken = False
        if old >= 0:
            os.close(old)

    def _must_begin(self) -> bool:
        """Whether what waits needs a new file; one that was taken away under us is told in it.

        A recorder that had it open reads it to its end, but nobody who starts later would find what we write there.
        """
        if self._broken:
            return True
        moment = time.monotonic()
        if moment - self._looked_at < _LOOK_EVERY:
            return False
        try:
            there, ours = os.stat(self.path, follow_symlinks=False), os.fstat(self._fd)  # noqa: PTH116  # hot
            if (there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev):
                self._looked_at = moment
                return False
        except OSError:
            pass
        reason = f"the journal {self.path.name} was taken away while it was written: records in it may be lost"
        at = self._now()
        gap = _encode(GapRecord(refusals=0, since=at, reason=reason))
        frame, self._chain = encode_frame(self._chain, Kind.GAP, new_id(at), NO_ID, NO_ID, at, gap)
        self._buffer.append(frame)
        return True

    def _reopen(self) -> None:
        """Begin a new file under frames that are already chained."""
        chain = self._chain
        self._open()
        self._chain = chain

    def _rotate(self) -> None:
        """Begin the next file; where there is no room for it, the old one goes on and the next flush tries again."""
        old_fd, old_size = os.dup(self._fd), self._size
        try:
            self._open()
            os.ftruncate(old_fd, old_size)  # gives back what was only reserved
        except (StoreError, OSError):
            pass
        finally:
            os.close(old_fd)

    def _write(self, data: bytes, *, into_reserve: bool = False) -> None:
        if not into_reserve:
            self._reserve(len(data))
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._durability == "power":
            try:
                os.fdatasync(self._fd)
            except OSError:
                self._broken = True  # what is on disk now nobody knows: the next flush begins a new file
                raise
        self._size += written

    def _append_gap(self, at: int) -> None:
        gap = GapRecord(refusals=self._lost, since=self._lost_since, reason="the reserve for refusals was used up")
        frame, self._chain = encode_frame(self._chain, Kind.GAP, new_id(at), NO_ID, NO_ID, at, _encode(gap))
        self._buffer.append(frame)

    def _reserve(self, size: int) -> None:
        """Keep `reserve` bytes allocated beyond `size` more. Raises OSError where the disk has no room."""
        if self._size + size + self._reserve_size > self._allocated and self._reserve_size:
            wanted = self._size + size + 2 * self._reserve_size
            if _allocate(self._fd, self._allocated, wanted - self._allocated):
                self._allocated = wanted

    def _undo(self) -> None:
        """After a failed write: the file ends where the last good frame ended, and so does the chain."""
        self._chain = self._flushed_chain
        self._failing = True
        try:
            if os.fstat(self._fd).st_size != self._size:
                os.ftruncate(self._fd, self._size)
                self._allocated = self._size
        except OSError:
            self._broken = True  # O_APPEND would write behind the torn frame: the next flush begins a new file


def _allocate(fd: int, offset: int, length: int) -> bool:
    """fallocate(2) with KEEP_SIZE. False where the platform or file system has none. Raises OSError (ENOSPC)."""
    if _fallocate is None:
        return False
    if _fallocate(fd, _KEEP_SIZE, offset, length) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code))


def _sync_folder(folder: Path) -> None:
    """A new file's name is on disk only after this."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _find_fallocate() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    function = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True).fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    function.restype = ctypes.c_int
    return function


_fallocate = _find_fallocate()
