"""Badges: a process of its own hashes the store, so that no key waits for it; it is asked for what is on the screen."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from onrecord.policies.errors import OnrecordError, StoreError
from onrecord.recordings.console.badges import Badge
from onrecord.recordings.console.rows import Proof
from onrecord.recordings.evidence.custody import checkpoints_path, vkey_path
from onrecord.recordings.evidence.proving import Prover, State

_BADGES = {
    State.UNKNOWN: Badge.UNKNOWN, State.PROVED: Badge.PROVED, State.UNPROVED: Badge.UNPROVED, State.BAD: Badge.BAD,
}  # fmt: skip


class Progress(NamedTuple):
    """How far the store was hashed. `problem`: why nothing can be proved."""

    size: int = 0
    proved: int = 0
    total: int = 0
    done: bool = False
    damaged: bool = False
    cut: bool = False
    problem: str = ""

    @property
    def text(self) -> str:
        """A few words for the top line."""
        if self.problem:
            return "not proved"
        if self.cut:
            return "✗ records are missing"
        if self.damaged:
            return "✗ ALTERED"
        if not self.done and self.total:
            return f"proving {min(99, 100 * self.size // self.total)}%"
        return f"✓ {self.proved} proved" if self.proved else ""


class Proofs:
    """Asks the process. `close` it."""

    def __init__(self, store: Path, state: Path) -> None:
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(store, state),
        )

    async def advance(self, seconds: float) -> Progress:
        """Hash on for about so long."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _advance, seconds)
        except (BrokenProcessPool, RuntimeError):
            return Progress(done=True, problem="the process that proves records ended")

    async def check(self, proofs: list[Proof]) -> dict[Proof, Badge]:
        """What is known of records."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._pool, _check, proofs)
        except (BrokenProcessPool, RuntimeError):
            return {}
        return dict(zip(proofs, map(Badge, found), strict=True))

    def close(self) -> None:
        """End the process, soon."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Child:
    """What the process holds."""

    prover: Prover | None = None
    problem = ""


def _start(store: Path, state: Path) -> None:
    os.nice(10)
    try:
        vkey = vkey_path(state).read_text(encoding="ascii")
        _Child.prover = Prover(store, checkpoints_path(state), vkey)
    except (OSError, UnicodeDecodeError, OnrecordError) as error:
        _Child.problem = str(error)


def _advance(seconds: float) -> Progress:
    prover = _Child.prover
    if prover is None:
        return Progress(done=True, problem=_Child.problem or "there is no public key beside this store")
    try:
        done = prover.advance(seconds)
    except StoreError as error:
        return Progress(prover.size, prover.proved, prover.total, done=True, problem=str(error))
    return Progress(prover.size, prover.proved, prover.total, done, prover.damaged, prover.cut)


def _check(proofs: list[Proof]) -> list[int]:
    prover = _Child.prover
    if prover is None:
        return [Badge.NO_KEY.value for _ in proofs]
    return [_BADGES[prover.check(proof.seq, proof.hashed)].value for proof in proofs]
