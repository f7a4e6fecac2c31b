"""Journals beside a store: how many records still wait there, and whether all that was taken in is in the store."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

from onrecord.recordings.evidence.compare import Damage
from onrecord.recordings.evidence.merkle import leaf_hash
from onrecord.recordings.frames import FILE_HEADER_SIZE, FrameError, decode_frames, read_file_header

_LARGEST = 1 << 30  # bytes: far beyond where a journal is rotated and the largest frame behind it


class JournalCheck:
    """`taken`: leaf hashes that must be in the store, from the file `name`; `pending`: records that still wait."""

    def __init__(self) -> None:
        self.taken: set[bytes] = set()
        self.pending = 0
        self.name = ""


def check_journals(connection: sqlite3.Connection, folder: Path) -> JournalCheck:
    """Compare the journals that are still there with how far the store says they were taken in. Raises Damage."""
    check = JournalCheck()
    known = {
        name: (position, chain, first, done)
        for name, position, chain, first, done in connection.execute(
            "SELECT name, position, chain, seed, done FROM journals"
        )
    }
    for path in sorted(folder.glob("*.journal")):
        try:
            data = _read_file(path)
            seed = read_file_header(data)
        except (OSError, FrameError):
            continue  # just begun, deleted meanwhile, or no journal: the recorder notes that
        position, chain, first, done = known.get(path.name, (FILE_HEADER_SIZE, seed, seed, 0))
        if first and first != seed:
            raise Damage("", f"the store's note of how {path.name} begins does not fit the file")
        if position > len(data):
            raise Damage("", f"the store says that {path.name} was read to byte {position}; it has {len(data)}")
        before = check.pending
        _check_file(path.name, data, seed, position, chain, check)
        if done and check.pending > before:  # the recorder would delete it as it is
            count = check.pending - before
            raise Damage("", f"the store says that {path.name} was taken in whole; {count} of its records were not")
    return check


def _read_file(path: Path) -> bytes:
    """The bytes of a regular file. Raises OSError for a link, a pipe or a folder, and waits for none of them."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise OSError(f"{path}: not a journal")
        return file.read(_LARGEST)


def _check_file(name: str, data: bytes, seed: bytes, position: int, chain: bytes, check: JournalCheck) -> None:
    reached, at = seed, FILE_HEADER_SIZE
    damaged = False
    try:
        for frame in decode_frames(data[FILE_HEADER_SIZE:], seed, FILE_HEADER_SIZE):
            if frame.end <= position:
                check.taken.add(leaf_hash(frame.leaf))
                check.name = name
                reached, at = frame.chain, frame.end
            else:
                check.pending += 1
    except FrameError:
        damaged = True  # the recorder notes it as a gap when it comes there
    if chain and not damaged and at == position and reached != chain:
        raise Damage("", f"the store's note of how far {name} was read does not fit the file")
