"""The Merkle tree of RFC 6962 (Certificate Transparency) over record leaves: pure functions of hashes.

    leaf hash = SHA-256(0x00 · leaf);  node hash = SHA-256(0x01 · left · right);  empty tree = SHA-256("")

`Frontier` grows the tree in O(log n) memory. Proofs are those of RFC 9162 §2.1.3 and §2.1.4: an inclusion proof shows
that a record is in a signed tree, a consistency proof that an older tree is a prefix of a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """What stands for a record's stored bytes in the tree."""
    return sha256(b"\x00" + leaf).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """`leaf_hash` of each."""
    return [sha256(b"\x00" + leaf).digest() for leaf in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """An inner node."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the full subtrees of a tree of `size` leaves, largest first: enough to append and to sign."""

    __slots__ = ("_stack", "size")

    def __init__(self, size: int = 0, stack: Sequence[bytes] = ()) -> None:
        if len(stack) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} full subtrees, not {len(stack)}")
        self.size = size
        self._stack = list(stack)

    @classmethod
    def decode(cls, size: int, data: bytes) -> Frontier:
        """The inverse of `encode`. Raises ValueError."""
        if size < 0 or len(data) != HASH_SIZE * size.bit_count():
            raise ValueError("not a tree's frontier")
        return cls(size, [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)])

    def encode(self) -> bytes:
        """The subtree roots, joined."""
        return b"".join(self._stack)

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        return Frontier(self.size, self._stack)

    def append(self, hashed_leaf: bytes) -> None:
        """Add one leaf hash."""
        self.extend((hashed_leaf,))

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Add many leaf hashes."""
        size, stack = self.size, self._stack
        for hashed in hashes:
            node, full = hashed, size
            while full & 1:
                node = sha256(b"\x01" + stack.pop() + node).digest()
                full >>= 1
            stack.append(node)
            size += 1
        self.size = size

    def root(self) -> bytes:
        """The tree's root hash."""
        if not self._stack:
            return EMPTY_ROOT
        root = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            root = node_hash(left, root)
        return root


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    frontier.extend(hashes)
    return frontier.root()


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree over `hashes` (RFC 9162 §2.1.3.1)."""
    if not 0 <= index < len(hashes):
        raise ValueError(f"there is no leaf {index} in a tree of {len(hashes)}")
    if len(hashes) == 1:
        return []
    split = _split(len(hashes))
    if index < split:
        return [*inclusion_proof(hashes[:split], index), tree_root(hashes[split:])]
    return [*inclusion_proof(hashes[split:], index - split), tree_root(hashes[:split])]


def verify_inclusion(hashed_leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows leaf `index` in the tree of `size` leaves with `root` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, current = index, size - 1, hashed_leaf
    for step in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            current = node_hash(step, current)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, step)
        node, last = node >> 1, last >> 1
    return last == 0 and current == root


def consistency_proof(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """That the tree over the first `old_size` hashes is a prefix of the tree over all (RFC 9162 §2.1.4.1)."""
    if not 0 < old_size <= len(hashes):
        raise ValueError(f"a tree of {len(hashes)} leaves has no prefix of {old_size}")
    return _subproof(hashes, old_size, whole=True)


def _subproof(hashes: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    if old_size == len(hashes):
        return [] if whole else [tree_root(hashes)]
    split = _split(len(hashes))
    if old_size <= split:
        return [*_subproof(hashes[:split], old_size, whole=whole), tree_root(hashes[split:])]
    return [*_subproof(hashes[split:], old_size - split, whole=False), tree_root(hashes[:split])]


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows the old tree to be a prefix of the new one (RFC 9162 §2.1.4.2)."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    steps = list(proof)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, step)
        node, last = node >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _split(size: int) -> int:
    """The largest power of two below `size` (size ≥ 2)."""
    return 1 << ((size - 1).bit_length() - 1)
