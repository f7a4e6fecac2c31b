"""scripts/setup-debian: what is missing is installed, what is there is left alone, and it says what it cannot do."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup-debian"


@pytest.fixture
def machine(tmp_path):
    """A PATH with the shell's own tools and an apt-get that only writes down how it was called."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "env", "id", "mkdir", "tee"):
        (tools / name).symlink_to(
            next(Path(folder, name) for folder in ("/usr/bin", "/bin") if Path(folder, name).exists())
        )
    apt = tools / "apt-get"
    apt.write_text(f'#!/bin/bash\necho "$@" >>{tmp_path}/calls\n')
    apt.chmod(0o755)
    return tmp_path


def run(machine: Path, *pairs: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(machine / "bin")}
    return subprocess.run([SCRIPT, *pairs], capture_output=True, text=True, env=environment, timeout=30)


def calls(machine: Path) -> list[str]:
    path = machine / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_programs_that_are_there_need_nothing(machine):
    done = run(machine, "bash:bash", f"{machine}/b*n/env:coreutils")
    assert (done.returncode, done.stdout, done.stderr, calls(machine)) == (0, "", "", [])


@pytest.mark.skipif(os.geteuid() != 0, reason="without root it asks sudo, which is another test")
def test_packages_of_missing_programs_are_installed_after_an_update(machine):
    done = run(machine, "bash:bash", "no-such-program:one", f"{machine}/none/*/x:two")
    assert done.returncode == 0, done.stderr
    assert calls(machine) == ["update -qq", "install -y -qq --no-install-recommends one two"]


def test_without_apt_get_it_names_what_is_missing(machine):
    (machine / "bin" / "apt-get").unlink()
    done = run(machine, "no-such-program:one")
    assert done.returncode == 2
    assert "one" in done.stderr
