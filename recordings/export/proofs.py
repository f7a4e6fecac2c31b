"""The proofs that go into an export."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

from onrecord.policies.errors import StoreError
from onrecord.recordings.display.neutral import json_line
from onrecord.recordings.evidence.custody import checkpoints_path, vkey_path
from onrecord.recordings.evidence.merkle import leaf_hash
from onrecord.recordings.evidence.proving import Prover, State
from onrecord.recordings.export.material import Archive
from onrecord.recordings.export.page import Proof, Proofs

ENCLOSED = 64 * 1024 * 1024  # bytes of leaves


def open_prover(store: Path, state: Path) -> tuple[Prover, str]:
    """A prover that has hashed the whole store, and the public key as text. Raises StoreError."""
    try:
        vkey = vkey_path(state).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{error}: the public key is made when `onrecord up` first runs") from None
    prover = Prover(store, checkpoints_path(state), vkey)
    try:
        while not prover.advance(0.5):
            pass
    except BaseException:
        prover.close()
        raise
    return prover, vkey


def prove(archive: Archive, numbers: Iterable[int], store: Path, state: Path) -> Proofs:
    """Inclusion proofs of these records in the newest signed tree. Raises StoreError."""
    prover, vkey = open_prover(store, state)
    try:
        proofs: list[Proof] = []
        unproved: list[int] = []
        room = ENCLOSED
        note = ""
        for seq in numbers:
            leaf = archive.leaf_bytes(seq)
            found = prover.inclusion(seq)
            if found is None or prover.check(seq, leaf_hash(leaf)) is not State.PROVED:
                unproved.append(seq)
                continue
            note = found.note
            room -= len(leaf)
            proofs.append(Proof(seq, found.hashed, tuple(found.path), leaf if room >= 0 else None))
        problem = ""
        if unproved:
            some = ", ".join(map(str, unproved[:10])) + (", …" if len(unproved) > 10 else "")
            problem = (
                f"{len(unproved)} records are not proved (numbers {some}): "
                + ("records were altered" if prover.damaged else "no checkpoint signs them yet")
                + "; run `onrecord verify`"
            )
        elif room < 0:
            problem = "the records are more than 64 MiB: of some only hash and path are enclosed"
        return Proofs(note=note, vkey=vkey, records=tuple(proofs), problem=problem)
    finally:
        prover.close()


def proof_lines(proofs: Proofs) -> Iterator[str]:
    """JSON Lines: the signed checkpoint with the public key, then one record a line."""
    encoded = base64.b64encode
    if not proofs.records:
        return
    yield json_line({"checkpoint": proofs.note, "vkey": proofs.vkey})
    for proof in proofs.records:
        yield json_line(
            {
                "number": proof.seq,
                "leaf": None if proof.leaf is None else encoded(proof.leaf).decode(),
                "leaf_hash": encoded(proof.hashed).decode(),
                "path": [encoded(step).decode() for step in proof.path],
            }
        )
