"""The opt-in tier: large copies through the gateway, in memory that does not grow with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.recordings.frames import Kind
from tests.addons.kubernetes_api.streams.test_kubectl_streams import Pods, pods

SIZE = 500 * 1024 * 1024
PART = 1024 * 1024
ALLOWED = 64 * 1024 * 1024  # bytes that the gateway may take more than before


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    with pods(tmp_path_factory.mktemp("large")) as made:
        yield made


def highest_memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def is_same(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            a, b = left.read(PART), right.read(PART)
            if a != b:
                return False
            if not a:
                return True


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("version", ["1.37", "1.20"])
def test_cp_of_500_megabytes_both_ways_has_flat_memory(shared: Pods, tmp_path: Path, version: str) -> None:
    parts = shared.client(version)
    with (tmp_path / "there.bin").open("wb") as file:
        for _ in range(SIZE // PART):
            file.write(os.urandom(PART))
    parts.run("exec", "web", "--", "true")
    before = highest_memory(parts.gateway.worker.pid)
    assert parts.kubectl("cp", str(tmp_path / "there.bin"), "web:large.bin", timeout=800).returncode == 0
    assert parts.kubectl("cp", "web:large.bin", str(tmp_path / "back.bin"), timeout=800).returncode == 0
    assert highest_memory(parts.gateway.worker.pid) - before < ALLOWED
    assert is_same(tmp_path / "there.bin", tmp_path / "back.bin")
    large = [r.payload for r in parts.gateway.records(Kind.OUTCOME) if r.payload.get("size", 0) > SIZE]
    assert large[-1]["code"] == "0"
    assert len(large[-1]["digest"]) == 64
    (shared.streams.folder / "large.bin").unlink()
