"""Following journal files: new bytes in, batches of leaves out. Reads only; what it gave is forgotten until `accept`.

A writer holds flock(2) on the file it appends to, so an unlocked file is finished. What may stand at its end then is
an unfinished frame (the writer was killed in mid-write; nothing of it went upstream). Damage before the end is noted
and reading goes on at the next frame whose checksum fits: one bad sector must not blind the recorder to the rest.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from onrecord.recordings.frames import (
    FILE_HEADER_SIZE,
    HEADER,
    MAX_FRAME,
    PREFIX,
    FrameError,
    read_file_header,
    split_leaf,
    take_leaves,
)
from onrecord.recordings.store import JournalState

FIRST_READ = 1024 * 1024  # small records: a step takes no more of them than these bytes hold
READ_SIZE = 4 * 1024 * 1024
STALLED_AFTER = 5.0
ABANDONED_AFTER = 600.0
_HEAD = re.compile(rb"\x01[\x01-\x20]\x00\x00\x00\x00", re.DOTALL)  # version, kind, key id 0: where a header may begin


class _NoFileError(Exception):
    """A link, a pipe, a folder: whatever stands under a journal's name and cannot be one."""


class Progress(NamedTuple):
    """What one look at a file gave: leaves, the state behind them, and what must go on record about the file."""

    leaves: list[bytes]
    state: JournalState
    notes: list[str]


class Follower:
    """Reads the journals in `folder`. `known` is how far earlier lives of the recorder came."""

    def __init__(self, folder: Path, known: dict[str, JournalState]) -> None:
        self._folder = folder
        self.known = dict(known)
        self.behind = False  # whether the last look left something that stood there already
        self._files: dict[str, int] = {}
        self._stalled: dict[str, tuple[int, float]] = {}
        self._begun: dict[bytes, str] = {}
        self._lost: set[str] = set()

    def close(self) -> None:
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def accept(self, state: JournalState) -> None:
        """`state` is stored: the next look starts there."""
        self.known[state.name] = state
        if state.done and state.name in self._files:
            os.close(self._files.pop(state.name))

    def names(self) -> list[str]:
        """The journal files there are; those of one process in the order in which it began them."""
        try:
            return sorted(name for name in os.listdir(self._folder) if name.endswith(".journal"))  # noqa: PTH208  # names only
        except FileNotFoundError:
            return []

    def poll(self, limit: int) -> list[Progress]:
        """What is new in all files, at most about `limit` records. Raises OSError."""
        found: list[Progress] = []
        present = set(self.names())
        lost = {name for name, state in self.known.items() if not state.done and name not in present}
        behind: set[str] = set()
        self.behind = False
        for name in sorted(present | (lost & self._files.keys())):  # what is still open is read to its writer's end
            state = self.known.get(name)
            process = name.rpartition("-")[0]
            # an outcome never comes before its command: a process's files are read one after the other
            if (state is not None and state.done) or process in behind:
                continue
            if limit <= 0:
                self.behind = True
                continue
            progress = self._look(name, state, limit)
            if progress is not None:
                limit -= len(progress.leaves) + 1
                found.append(progress)
                state = progress.state
            if state is not None and not state.done and self._size(name) > state.position:
                behind.add(process)
        for name in sorted(lost - self._lost):
            self._lost.add(name)
            state = next((progress.state for progress in found if progress.state.name == name), self.known[name])
            note = f"the journal {name} vanished after byte {state.position}: "
            if name in self._files:
                note += "it is read on for as long as its writer has it open"
            else:
                note += "what it held behind it is lost"
                state = state._replace(done=True)
            found.append(Progress([], state, [note]))
        return found

    def successor(self, state: JournalState) -> str | None:
        """The file in which the same process goes on after `state`, if there is one."""
        if not state.chain:
            return None
        ended: str | None = None
        for name in sorted({*self.names(), *self.known}):
            other = self.known.get(name)
            seed = other.seed if other else self._read_seed(name)
            if name != state.name and seed == state.chain:
                if other is None or not other.done:
                    return name
                ended = ended or name
        return ended

    def heir(self, state: JournalState) -> str | None:
        """The file in which the same process goes on now: the last of the successors, unless that one ended too."""
        seen = {state.name}  # files that only have a header can each be the other's successor
        heir = self.successor(state)
        while heir is not None and heir in self.known and self.known[heir].done:
            if heir in seen:
                return None
            seen.add(heir)
            heir = self.successor(self.known[heir])
        return heir

    def _size(self, name: str) -> int:
        fd = self._files.get(name)
        return 0 if fd is None else os.fstat(fd).st_size

    def _look(self, name: str, state: JournalState | None, limit: int) -> Progress | None:
        try:
            fd = self._open(name)
        except _NoFileError as error:
            ended = state._replace(done=True) if state else JournalState(name, 0, b"", b"", done=True)
            return Progress([], ended, [f"{name} is in the journals' folder and is no journal: {error}"])
        if fd is None:
            return None
        begun: Progress | None = None
        if state is None:
            begun = self._begin(name, fd)
            if begun is None or begun.notes:
                return begun
            state = begun.state
        finished = not _locked(fd)  # asked before reading: what follows then sees the writer's last byte
        size = os.fstat(fd).st_size
        if size < state.position:
            note = f"the journal {name} was cut from {state.position} to {size} bytes after it was read"
            return Progress([], state._replace(position=size, chain=b"", done=finished), [note])
        if size == state.position and not finished:
            return begun
        return self._read(name, fd, state, size, limit, finished=finished) or begun

    def _begin(self, name: str, fd: int) -> Progress | None:
        """Take in the file header; the frames come with the next look.

        The writer locks the file before it writes the header: no lock is tried before, it could be in the way.
        """
        header = os.pread(fd, FILE_HEADER_SIZE, 0)
        if len(header) < FILE_HEADER_SIZE:
            if time.time() - os.fstat(fd).st_mtime > ABANDONED_AFTER:
                state = JournalState(name, len(header), b"", b"", done=True)
                return Progress([], state, [f"the journal {name} has no header: nothing was ever written to it"])
            return None
        try:
            seed = read_file_header(header)
        except FrameError:
            note = f"{name} is in the journals' folder and is no journal"
            return Progress([], JournalState(name, 0, b"", b"", done=True), [note])
        first = self._begun.setdefault(seed, name)
        if first not in (name, *self.known) and (self._folder / first).exists():
            return None  # another file that begins so is not stored yet: what it gives must be known first
        return self._begin_copy(name, fd, seed) or Progress([], JournalState(name, FILE_HEADER_SIZE, seed, seed), [])

    def _begin_copy(self, name: str, fd: int, seed: bytes) -> Progress | None:
        """A file that begins as another one did is a copy of it: only what the other did not give is taken in.

        Where nothing was taken in from the other it is none: a writer whose new file failed at once begins once more.
        """
        same = [other for other in self.known.values() if other.seed == seed and other.chain not in (seed, b"")]
        if not same:
            return None
        other = max(same, key=lambda state: state.position)
        size = os.fstat(fd).st_size
        chain = other.chain if size >= other.position else b""
        state = JournalState(name, min(size, other.position), chain, seed)
        return Progress([], state, [f"the journal {name} is a copy of {other.name}: it is not taken in twice"])

    def _read(
        self, name: str, fd: int, state: JournalState, size: int, limit: int, *, finished: bool
    ) -> Progress | None:
        data = _read_at(fd, state.position, min(FIRST_READ, size - state.position))
        leaves, position, chain, error = _frames(data, state, limit)
        for most in (READ_SIZE, MAX_FRAME + PREFIX.size):
            full = len(data) < size - state.position and len(leaves) < limit
            if error is not None or not full or (leaves and most > READ_SIZE):
                break  # a frame that does not fit into READ_SIZE is only read where it comes first
            data += _read_at(fd, state.position + len(data), min(most, size - state.position) - len(data))
            leaves, position, chain, error = _frames(data, state, limit)
        if leaves:
            self.behind = self.behind or position < size
            self._stalled.pop(name, None)
            return Progress(leaves, state._replace(position=position, chain=chain), [])
        at_end = state.position + len(data) >= size
        if error is None and finished and at_end and not data.strip(b"\x00"):
            return Progress([], state._replace(position=size, done=True), [])
        if error is None and not (finished and at_end) and not self._is_stalled(name, size):
            return None
        return self._recover(name, data, state, size, str(error or ""), finished=finished and at_end)

    def _recover(
        self, name: str, data: bytes, state: JournalState, size: int, reason: str, *, finished: bool
    ) -> Progress | None:
        """After damage: go on at the next frame that fits, or at the end of a finished file."""
        if reason and _frame_at(data, 0) is not None:
            note = (
                f"the journal {name} does not go on at byte {state.position} as it did: records before it are missing"
            )
            return Progress([], state._replace(chain=b""), [note])
        found = _next_frame(data)
        if found is not None:
            note = f"the journal {name} is damaged in bytes {state.position} to {state.position + found}"
            note += f" ({reason.partition(': ')[2] or 'a frame is broken'}): what stood there is lost"
            return Progress([], state._replace(position=state.position + found, chain=b""), [note])
        if not finished:
            return None
        rest = size - state.position
        if reason:
            note = f"the journal {name} is damaged from byte {state.position} to its end, {rest} bytes: {reason}"
        else:
            note = f"an unfinished frame of {rest} bytes ends the journal {name}: its writer was stopped in mid-write"
        # the chain stays: a successor's seed continues the last good frame
        return Progress([], state._replace(position=size, done=True), [note])

    def _is_stalled(self, name: str, size: int) -> bool:
        """Whether the same unfinished frame was there for a while although the file grew: its length is a lie."""
        first, since = self._stalled.setdefault(name, (size, time.monotonic()))
        return size > first and time.monotonic() - since > STALLED_AFTER

    def _open(self, name: str) -> int | None:
        fd = self._files.get(name)
        if fd is None:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
            try:
                fd = os.open(self._folder / name, flags)  # not blocking: it may be a pipe
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
                    raise _NoFileError(error.strerror) from None
                raise
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise _NoFileError("not a regular file")
            self._files[name] = fd
        return fd

    def _read_seed(self, name: str) -> bytes | None:
        try:
            fd = self._open(name)
        except _NoFileError:
            return None
        if fd is None:
            return None
        try:
            return read_file_header(os.pread(fd, FILE_HEADER_SIZE, 0))
        except FrameError:
            return None


def _frames(data: bytes, state: JournalState, limit: int) -> tuple[list[bytes], int, bytes, FrameError | None]:
    """Leaves, position and chain behind them, and the damage that stopped them."""
    first: list[bytes] = []
    start, chain = 0, state.chain
    if not chain:
        found = _frame_at(data, 0)
        if found is None:
            return first, state.position, chain, None if _unfinished(data) else FrameError("no frame", state.position)
        leaf, chain, start = found
        first.append(leaf)
    leaves, end, chain, error = take_leaves(data, start, chain, state.position, limit - len(first))
    return first + leaves, state.position + end, chain, error


def _frame_at(data: bytes, start: int) -> tuple[bytes, bytes, int] | None:
    """Leaf, chain and end of the frame at `start` if its checksum fits, whatever chain it continues."""
    if len(data) - start < PREFIX.size:
        return None
    length, crc, chain = PREFIX.unpack_from(data, start)
    end = start + PREFIX.size + length
    if not HEADER.size <= length <= MAX_FRAME or end > len(data):
        return None
    leaf = data[start + PREFIX.size : end]
    if zlib.crc32(leaf, zlib.crc32(chain)) != crc:
        return None
    try:
        split_leaf(leaf)
    except FrameError:
        return None
    return leaf, chain, end


def _next_frame(data: bytes) -> int | None:
    """Where the first frame behind the one at 0 begins whose checksum fits."""
    for match in _HEAD.finditer(data, PREFIX.size + 1):
        start = match.start() - PREFIX.size
        if _frame_at(data, start) is not None:
            return start
    return None


def _unfinished(data: bytes) -> bool:
    """Whether `data` may be the beginning of a frame."""
    if len(data) < PREFIX.size:
        return True
    length: int = PREFIX.unpack_from(data)[0]
    return HEADER.size <= length <= MAX_FRAME and len(data) < PREFIX.size + length


def _read_at(fd: int, position: int, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(fd, size, position)
        if not part:
            break
        parts.append(part)
        position, size = position + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _locked(fd: int) -> bool:
    """Whether a writer holds the file."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return True
        raise
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False
