"""What docs/howto/ssh-files.md shows is true."""

from __future__ import annotations

import re
from pathlib import Path

from onrecord.policies import Deny
from onrecord.policies.config import SshResource, load_config
from onrecord.policies.testing import answer, forward, sftp
from onrecord.shims.ssh.sftp import wire
from onrecord.shims.ssh.sftp.files import MAX_MASKED

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/howto/ssh-files.md").read_text()


def test_the_policy_decides_as_it_says(tmp_path: Path) -> None:
    policy = tmp_path / "payroll.py"
    policy.write_text(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0])
    assert isinstance(answer(policy, sftp("read", "/srv/payroll/may.csv")), Deny)
    moved = sftp("rename", "/srv/payroll/may.csv", target="/tmp/x", action="write")
    assert isinstance(answer(policy, moved), Deny)
    assert isinstance(answer(policy, sftp("write", "/srv/app/main.py", action="write")), Deny)
    assert isinstance(answer(policy, sftp("rename", "/tmp/x", target="/srv/app/main.py", action="write")), Deny)
    assert answer(policy, sftp("read", "/srv/app/main.py")) is None
    assert answer(policy, forward("metrics.internal", 9090)) is None


def test_the_configuration_loads(tmp_path: Path) -> None:
    host = (ROOT / "docs/howto/ssh.md").read_text()
    lines = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0].replace("[resources.app1]\n", "")
    path = tmp_path / "mitm.toml"
    path.write_text(re.findall(r"```toml\n(.*?)```", host, re.DOTALL)[0] + lines)
    (tmp_path / "deploy_ed25519").touch(mode=0o600)
    found = load_config(path).resources["app1"]
    assert isinstance(found, SshResource)
    assert found.forwards == ("metrics.internal:9090", "unix:/run/app.sock")


def test_the_bounds_are_those_of_the_code() -> None:
    assert f"up to {MAX_MASKED >> 20} MiB" in PAGE
    assert f"packets over {wire.MAX_PACKET >> 10} KiB" in PAGE
    assert f"paths over {wire.MAX_PATH} bytes" in PAGE
