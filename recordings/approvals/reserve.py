"""Room on the disk for what takes a right away, taken beforehand: a full disk cannot bring a revoked grant back.

A file of fixed size whose blocks exist. Entries are lines of JSON, written in place and synchronous; behind the last is
a zero byte. What it holds goes into the state of approvals once that can be written again.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from onrecord.policies.approvals import Approval, Approver, State
from onrecord.policies.errors import StoreError
from onrecord.policies.kills import Kill

SIZE = 1024 * 1024  # bytes


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """An approval that is over."""

    id: str
    state: State
    reason: str = ""
    decided_at: float | None = None
    decided_by: Approver | None = None


class Stopped(msgspec.Struct, frozen=True, kw_only=True, tag="stopped"):
    """A kill switch that is set."""

    kill: Kill


Entry = Ended | Stopped
_entry = msgspec.json.Decoder(Entry).decode


class Reserve:
    """One file, one writer. Raises StoreError where it cannot be made, read or written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._trouble("opened", error) from None
        try:
            have = os.fstat(self._fd).st_size
            if have < SIZE:  # written, not only allocated: an overwrite then needs no new block
                _write(self._fd, bytes(SIZE - have), have)
            self.entries, self._end = self._read()
        except OSError as error:
            os.close(self._fd)
            raise self._trouble("written", error) from None
        except StoreError:
            os.close(self._fd)
            raise

    def close(self) -> None:
        os.close(self._fd)

    def add(self, entry: Entry) -> None:
        """On disk when it returns."""
        line = msgspec.json.encode(entry) + b"\n"
        if self._end + len(line) >= SIZE:
            raise StoreError(f"{self._path}: the reserve of {SIZE} bytes is used up")
        try:
            _write(self._fd, line, self._end)
        except OSError as error:
            raise self._trouble("written", error) from None
        self._end += len(line)
        self.entries.append(entry)

    def clear(self) -> None:
        """All of it stands in the state of approvals now."""
        if not self._end:
            return
        try:
            _write(self._fd, bytes(self._end), 0)
        except OSError as error:
            raise self._trouble("written", error) from None
        self.entries, self._end = [], 0

    def _read(self) -> tuple[list[Entry], int]:
        text = os.pread(self._fd, SIZE, 0).partition(b"\0")[0]
        end = text.rfind(b"\n") + 1  # behind it: an entry that was cut off, which nobody was told of
        try:
            return [_entry(line) for line in text[:end].splitlines()], end
        except (msgspec.DecodeError, ValueError) as error:
            raise StoreError(
                f"{self._path}: an entry cannot be read: {error}; what it took away would come back: look at the "
                "approvals and kill switches that are in force, then remove the file"
            ) from None

    def _trouble(self, what: str, error: OSError) -> StoreError:
        return StoreError(f"{self._path}: the reserve cannot be {what}: {error.strerror}")


def entry_of(ended: Approval | Kill) -> Entry:
    """What to keep of an approval that has ended, or of a switch."""
    if isinstance(ended, Kill):
        return Stopped(kill=ended)
    return Ended(
        id=ended.id,
        state=ended.state,
        reason=ended.reason,
        decided_at=ended.decided_at,
        decided_by=ended.decided_by,
    )


def _write(fd: int, data: bytes, at: int) -> None:
    """All of it, in order, on disk."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
    os.fdatasync(fd)
