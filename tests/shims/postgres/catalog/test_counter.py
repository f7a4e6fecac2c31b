"""The counter of changes that shim processes share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onrecord.shims.postgres.catalog.counter import Counter
from onrecord.shims.postgres.catalog.decode import CatalogError


def test_what_one_raises_the_other_sees(tmp_path: Path):
    one, other = Counter(tmp_path, "orders"), Counter(tmp_path, "orders")
    before = other.value
    one.bump()
    assert other.value == before + 1
    one.close()
    other.close()


def test_processes_that_raise_it_together_lose_nothing(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from onrecord.shims.postgres.catalog.counter import Counter\n"
        "c = Counter(Path(sys.argv[1]), 'orders')\nfor _ in range(2000): c.bump()"
    )
    done = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in done] == [0, 0]
    counter = Counter(tmp_path, "orders")
    assert counter.value == 4000
    counter.close()


def test_each_resource_has_its_own(tmp_path: Path):
    one, other = Counter(tmp_path, "a"), Counter(tmp_path, "../a")
    one.bump()
    assert other.value == 0
    assert {path.parent for path in (one.path, other.path)} == {tmp_path}
    one.close()
    other.close()


def test_a_file_that_others_may_write_is_refused(tmp_path: Path):
    counter = Counter(tmp_path, "orders")
    assert counter.path.stat().st_mode & 0o777 == 0o600
    counter.close()
    counter.path.chmod(0o622)
    with pytest.raises(CatalogError, match="mode 0600"):
        Counter(tmp_path, "orders")


def test_a_link_in_its_place_is_refused(tmp_path: Path):
    counter = Counter(tmp_path, "orders")
    counter.close()
    target = tmp_path / "elsewhere"
    counter.path.rename(target)
    counter.path.symlink_to(target)
    with pytest.raises(CatalogError):
        Counter(tmp_path, "orders")
