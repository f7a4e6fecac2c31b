"""Large copies: whole, in memory that does not grow with them. The opt-in tier; ONRECORD_LARGE_GIB sets the size."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.shims.ssh.conftest import Lab, LabMaker

GIB = int(os.environ.get("ONRECORD_LARGE_GIB", "5"))
MAX_MEMORY = 200 * 1024  # KiB of the shim's process


def peak_memory(lab: Lab) -> int:
    """KiB that the shim's process had in memory at most."""
    config = str(lab.gateway.setup.state.parent)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                status = (entry / "status").read_text()
            except OSError:
                continue
            if "onrecord.shims.ssh" in line and config in line:
                return int(status.partition("VmHWM:")[2].split()[0])
    raise AssertionError("the shim's process was not found")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("flags", [[], ["-O"]], ids=["sftp", "old"])
def test_gigabytes_pass_whole_in_flat_memory(make_lab: LabMaker, tmp_path: Path, flags: list[str]):
    lab = make_lab()
    client = lab.client()
    local, far, back = tmp_path / "local", tmp_path / "far", tmp_path / "back"
    sha = hashlib.sha256()
    with local.open("wb") as file:
        piece = os.urandom(1 << 20)
        for i in range(GIB * 1024):
            data = i.to_bytes(8, "big") + piece[8:]
            file.write(data)
            sha.update(data)
    assert client.run(*flags, str(local), f"app1@gateway:{far}", tool="scp", timeout=1700).returncode == 0
    local.unlink()
    assert client.run(*flags, f"app1@gateway:{far}", str(back), tool="scp", timeout=1700).returncode == 0
    assert back.stat().st_size == far.stat().st_size == GIB << 30
    rows = [row for row in lab.commands(finished=2, kind="sftp") if row["detail"]["operation"] in ("read", "write")]
    assert [row["outcome"].get("sha256", row["outcome"]["tag"]) for row in rows] == [sha.hexdigest()] * 2
    assert peak_memory(lab) < MAX_MEMORY
