"""Proof of single records while the store is in use: the tree is hashed once, piece by piece, then every question is
answered at once. Reads only; one read transaction never lasts longer than a piece.

`verify` judges a store as a whole and is the authority; this says of one record whether its bytes are those that a
signed checkpoint commits to, and gives the RFC 6962 inclusion proof that anyone can check.
"""

from __future__ import annotations

import enum
import os
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from onrecord.policies.errors import StoreError
from onrecord.recordings.evidence.checkpoint import CheckpointError, Verifier, split_notes
from onrecord.recordings.evidence.merkle import HASH_SIZE, Frontier, leaf_hash, node_hash
from onrecord.recordings.store import FIRST_LINK, next_link, open_reader

PIECE = 500  # records read in one transaction
_KEPT_SUBTREE = 64  # leaves


class State(enum.IntEnum):
    """What is known of a record."""

    UNKNOWN = 0  # not reached yet, or no checkpoint covers it yet
    PROVED = 1
    UNPROVED = 2  # behind an altered one: no root can be right any more
    BAD = 3  # not the bytes that were signed, or those of a record of the same checkpoint are not


class Inclusion(NamedTuple):
    """Leaf number `seq` of the tree that `note` signs: its hash, and the audit path from it to the root."""

    seq: int
    hashed: bytes
    path: list[bytes]
    note: str


class Prover:
    """The tree over a store, as far as it was hashed. Raises StoreError where store or key cannot be read."""

    def __init__(self, store: Path, checkpoints: Path, vkey: str) -> None:
        try:
            self._verifier = Verifier.parse(vkey)
        except CheckpointError as error:
            raise StoreError(f"the public key of the evidence: {error}") from None
        self._connection = open_reader(store)
        self._outside, self._outside_read = checkpoints, 0
        self._hashes = bytearray()
        self._tree = Frontier()
        self._link: bytes = FIRST_LINK
        self._roots: dict[int, bytes] = {}  # of the prefixes that a checkpoint signs, or says so
        self._notes: dict[int, str] = {}
        self._subtrees: dict[tuple[int, int], bytes] = {}
        self._bad: set[int] = set()
        self._broken: range | None = None  # where the first wrong root lies
        self.proved = 0  # records in the largest tree with the signed root
        self.cut = False  # a checkpoint signs more records than there are

    @property
    def size(self) -> int:
        """Records hashed."""
        return self._tree.size

    @property
    def total(self) -> int:
        """Records stored."""
        return self._count()

    @property
    def damaged(self) -> bool:
        """Whether anything is not as it was signed."""
        return bool(self._bad) or self._broken is not None or self.cut

    def close(self) -> None:
        self._connection.close()

    def advance(self, seconds: float) -> bool:
        """Hash on for about so long; True where all that is stored is hashed and judged. Raises StoreError."""
        ends = time.monotonic() + seconds
        try:
            self._read_notes()
            while self._piece():
                if time.monotonic() > ends:
                    self._judge()
                    return False
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}; run `onrecord verify`") from None
        self._judge()
        newest = max(self._notes, default=0)
        if newest > self.size and self._count() < newest:
            self._read_outside()
            self.cut = True
        return True

    def check(self, seq: int, hashed: bytes) -> State:
        """What is known of record `seq`, whose bytes as they were read just now have this leaf hash."""
        if not 0 <= seq < self.size:
            return State.UNKNOWN
        if hashed != self._hash(seq) or seq in self._bad:
            return State.BAD
        if seq < self.proved:
            return State.PROVED
        if self._broken is not None:
            if seq in self._broken and not self._bad:
                return State.BAD
            return State.UNPROVED
        return State.UNKNOWN

    def inclusion(self, seq: int) -> Inclusion | None:
        """The proof of record `seq` in the newest signed tree that holds; None where none proves it."""
        if not 0 <= seq < self.proved:
            return None
        return Inclusion(seq, self._hash(seq), self._path(seq, 0, self.proved), self._notes[self.proved])

    def _path(self, seq: int, start: int, stop: int) -> list[bytes]:
        """RFC 9162 §2.1.3.1 over the leaves `start` to `stop`; roots that many proofs share are kept."""
        path: list[bytes] = []
        while stop - start > 1:
            middle = start + (1 << (stop - start - 1).bit_length() - 1)
            if seq < middle:
                path.append(self._root(middle, stop))
                stop = middle
            else:
                path.append(self._root(start, middle))
                start = middle
        return path[::-1]

    def _root(self, start: int, stop: int) -> bytes:
        size = stop - start
        if size == 1:
            return self._hash(start)
        known = self._subtrees.get((start, stop))
        if known is None:
            middle = start + (1 << (size - 1).bit_length() - 1)
            known = node_hash(self._root(start, middle), self._root(middle, stop))
            if size >= _KEPT_SUBTREE:
                self._subtrees[start, stop] = known
        return known

    def _hash(self, seq: int) -> bytes:
        return bytes(self._hashes[seq * HASH_SIZE : (seq + 1) * HASH_SIZE])

    def _count(self) -> int:
        (count,) = self._connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM records").fetchone()
        return int(count)

    def _piece(self) -> bool:
        """Hash the next records, up to the newest checkpoint that is known; False where there is none."""
        newest = max(self._notes, default=0)  # beyond it a root would be passed by that a later look finds signed
        rows = self._connection.execute(
            "SELECT seq, link, leaf FROM records WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
            (self.size, newest, PIECE),
        ).fetchall()
        for seq, link, leaf in rows:
            if seq != self.size:  # one is missing: nothing behind it stands where it stood
                self._bad.add(self.size)
                self._broken = self._broken or range(self.size, self.size + 1)
                return False
            hashed = leaf_hash(leaf if isinstance(leaf, bytes) else b"")
            if not isinstance(leaf, bytes) or link != next_link(self._link, hashed):
                self._bad.add(seq)
            self._link = link if isinstance(link, bytes) else b""
            self._hashes += hashed
            self._tree.append(hashed)
            if self.size in self._notes:
                self._roots[self.size] = self._tree.root()
        return bool(rows)

    def _judge(self) -> None:
        """The largest tree with the signed root: the newest where all is well, else found by halving."""
        if self._broken is not None:
            return
        sizes = sorted(size for size in self._roots if size > self.proved)
        if not sizes:
            return
        if self._holds(sizes[-1]):
            self._settle(sizes[-1])
            return
        low, high = -1, len(sizes) - 1  # sizes[low] holds, sizes[high] does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._holds(sizes[middle]) else (low, middle)
        if low >= 0:
            self._settle(sizes[low])
        self._broken = range(self.proved, sizes[high])

    def _settle(self, size: int) -> None:
        self.proved = size
        for older in [known for known in self._roots if known < size]:
            del self._roots[older]
        for older in [known for known in self._notes if known < size]:
            del self._notes[older]

    def _holds(self, size: int) -> bool:
        try:
            checkpoint = self._verifier.open(self._notes[size])
        except CheckpointError:
            return False
        return checkpoint.size == size and checkpoint.root == self._roots[size]

    def _read_notes(self) -> None:
        found = self._connection.execute("SELECT size, note FROM checkpoints WHERE size > ?", (self.size,))
        for size, note in found.fetchall():
            self._notes.setdefault(size, str(note))
        self._read_outside()

    def _read_outside(self) -> None:
        """What was appended to the checkpoints outside the database since they were read last."""
        try:
            with self._outside.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._outside_read:
                    self._outside_read = 0  # it was cut: `verify` says so
                file.seek(self._outside_read)
                data = file.read()
            notes, rest = split_notes(data)
        except (OSError, CheckpointError):
            return
        self._outside_read += len(data) - len(rest)
        for note in notes:
            lines = note.split("\n", 2)
            if len(lines) == 3 and lines[1].isdigit() and len(lines[1]) < 16 and int(lines[1]) > self.size:
                self._notes[int(lines[1])] = note
