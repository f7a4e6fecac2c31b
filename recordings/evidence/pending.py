"""Journals beside a store: how many records still wait there, and whether all that was taken in is in the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from onrecord.recordings.evidence.compare import Damage
from onrecord.recordings.evidence.merkle import leaf_hash
from onrecord.recordings.frames import FILE_HEADER_SIZE, FrameError, decode_frames, read_file_header


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
        name: (position, chain)
        for name, position, chain in connection.execute("SELECT name, position, chain FROM journals")
    }
    for path in sorted(folder.glob("*.journal")):
        try:
            data = path.read_bytes()
            seed = read_file_header(data)
        except (OSError, FrameError):
            continue  # just begun, or deleted meanwhile
        position, chain = known.get(path.name, (FILE_HEADER_SIZE, seed))
        if position > len(data):
            raise Damage("", f"the store says that {path.name} was read to byte {position}; it has {len(data)}")
        _check_file(path.name, data, seed, position, chain, check)
    return check


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
