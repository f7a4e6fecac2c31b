"""The shim as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "onrecord.shims.postgres", *arguments], capture_output=True, text=True, timeout=60
    )


def test_wrong_use_ends_with_status_2() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m onrecord.shims.postgres")


def test_a_configuration_that_does_not_load_is_told_in_one_line_a_problem(tmp_path: Path) -> None:
    done = run(str(tmp_path / "nothing.toml"))
    assert done.returncode == 2
    assert "nothing.toml" in done.stderr
    assert "Traceback" not in done.stderr
