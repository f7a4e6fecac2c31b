"""One CA for all workers."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

from onrecord.addons.gateway_ca import make_ca


def test_workers_that_start_at_once_share_one_ca(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=make_ca, args=(folder,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    key = folder / "mitmproxy-ca.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    make_ca(folder)
    assert key.read_bytes() == before
