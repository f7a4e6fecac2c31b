"""The tree against RFC 6962's test vectors, and its proofs against trees built in full."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.evidence.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# the reference inputs and roots of the certificate-transparency implementation
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def hashes(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


def test_the_roots_of_rfc_6962() -> None:
    assert sha256(b"").digest() == EMPTY_ROOT == Frontier().root()
    for count, root in enumerate(ROOTS, 1):
        assert tree_root([leaf_hash(data) for data in INPUTS[:count]]).hex() == root


def test_a_known_inclusion_proof() -> None:
    leaves = [leaf_hash(data) for data in INPUTS]
    assert [step.hex() for step in inclusion_proof(leaves, 0)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]


@given(st.integers(0, 300))
def test_a_frontier_survives_storage_at_any_size(count: int) -> None:
    leaves = hashes(count + 3)
    frontier = Frontier()
    for leaf in leaves[:count]:
        frontier.append(leaf)
    again = Frontier.decode(count, frontier.encode())
    for leaf in leaves[count:]:
        again.append(leaf)
        frontier.copy().append(leaf)
    assert again.root() == tree_root(leaves)
    assert frontier.size == count


@given(st.integers(0, 40), st.binary(max_size=200))
def test_a_damaged_frontier_is_refused(size: int, data: bytes) -> None:
    if len(data) != 32 * size.bit_count():
        with pytest.raises(ValueError, match="frontier"):
            Frontier.decode(size, data)


@given(st.integers(1, 70), st.data())
def test_inclusion_proofs_hold_and_altered_ones_do_not(count: int, data: st.DataObject) -> None:
    leaves = hashes(count)
    index = data.draw(st.integers(0, count - 1))
    proof, root = inclusion_proof(leaves, index), tree_root(leaves)
    assert verify_inclusion(leaves[index], index, count, proof, root)
    assert not verify_inclusion(leaf_hash(b"other"), index, count, proof, root)
    assert not verify_inclusion(leaves[index], index, count, [*proof, root], root)
    assert not verify_inclusion(leaves[index], count, count, proof, root)
    if proof:
        assert not verify_inclusion(leaves[index], index, count, proof[:-1], root)
        wrong = data.draw(st.integers(0, len(proof) - 1))
        altered = [bytes(32) if number == wrong else step for number, step in enumerate(proof)]
        assert not verify_inclusion(leaves[index], index, count, altered, root)


@given(st.integers(1, 70), st.data())
def test_consistency_proofs_hold_and_altered_ones_do_not(count: int, data: st.DataObject) -> None:
    leaves = hashes(count)
    old = data.draw(st.integers(1, count))
    proof, old_root, root = consistency_proof(leaves, old), tree_root(leaves[:old]), tree_root(leaves)
    assert verify_consistency(old, count, old_root, root, proof)
    assert not verify_consistency(old, count, bytes(32), root, proof)
    assert not verify_consistency(old, count, old_root, bytes(32), proof)
    assert not verify_consistency(old, count, old_root, root, [*proof, root])
    assert not verify_consistency(0, count, old_root, root, proof)
    if proof:
        assert not verify_consistency(old, count, old_root, root, proof[:-1])


def test_proofs_outside_the_tree_are_refused() -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(hashes(3), 3)
    with pytest.raises(ValueError, match="no prefix"):
        consistency_proof(hashes(3), 4)
