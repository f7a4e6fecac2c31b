"""asyncssh's client at each version of SFTP, through a gateway, to asyncssh's server at each and to OpenSSH's."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncssh

from onrecord.scripts.parts.openssh import OpenSshPart
from tests.shims.ssh.conftest import LabMaker
from tests.shims.ssh.test_hostility import connect

VERSIONS = (3, 4, 5, 6)
CONTENT = os.urandom(100_000)
STEPS = ("mkdir", "write", "read", "rename", "symlink", "link", "setstat", "readdir", "remove", "rmdir")


async def work(sftp: asyncssh.SFTPClient, folder: Path) -> None:
    """Each operation once, and what comes back is what went there."""
    await sftp.mkdir(str(folder))
    async with sftp.open(f"{folder}/a", "wb") as file:
        await file.write(CONTENT)
    async with sftp.open(f"{folder}/a", "rb") as file:
        got: object = await file.read()  # bytes in this mode
        assert got == CONTENT
    await sftp.rename(f"{folder}/a", f"{folder}/b")
    await sftp.symlink("b", f"{folder}/soft")
    await sftp.link(f"{folder}/b", f"{folder}/hard")
    await sftp.chmod(f"{folder}/b", 0o640)
    assert await sftp.readlink(f"{folder}/soft") == "b"
    assert (await sftp.stat(f"{folder}/soft")).size == len(CONTENT)
    assert (folder / "soft").readlink() == Path("b")
    assert (folder / "b").stat().st_mode & 0o777 == 0o640
    assert (folder / "b").stat().st_nlink == 2
    assert set(await sftp.listdir(str(folder))) == {".", "..", "b", "soft", "hard"}
    for name in ("b", "soft", "hard"):
        await sftp.remove(f"{folder}/{name}")
    await sftp.rmdir(str(folder))


async def test_every_client_version_to_every_server_version(make_lab: LabMaker, sshd: OpenSshPart, tmp_path: Path):
    key = asyncssh.read_public_key(f"{sshd.key}.pub")
    host_key = asyncssh.generate_private_key("ssh-ed25519")

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, offered: asyncssh.SSHKey) -> bool:
            return offered.public_data == key.public_data

    async with AsyncExitStack() as stack:
        resources: dict[str, dict[str, Any]] = {}
        for version in VERSIONS:
            server = await asyncssh.listen(
                "127.0.0.1", 0, server_factory=Server, server_host_keys=[host_key], sftp_factory=True,
                sftp_version=version,
            )  # fmt: skip
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            resources[f"v{version}"] = {
                "type": "ssh",
                "upstream": f"ssh://{sshd.user}@127.0.0.1:{server.get_port()}",
                "key": f"file:{sshd.key}",
                "host_key": host_key.export_public_key().decode().strip(),
                "groups": ["agents"],
                "default": "allow",
                "unknown": "allow",
            }
        lab = await asyncio.to_thread(lambda: make_lab(resources=resources))
        ways = [(f"v{server}", server) for server in VERSIONS] + [("app1", 3)]
        for resource, most in ways:
            for client in VERSIONS:
                async with (
                    await connect(lab, resource) as connection,
                    connection.start_sftp_client(sftp_version=client) as sftp,
                ):
                    assert sftp.version == min(client, most)
                    await work(sftp, tmp_path / f"{resource}-{client}")
        rows = await asyncio.to_thread(lambda: lab.commands(finished=len(ways) * 4 * len(STEPS), kind="sftp"))
    sha = hashlib.sha256(CONTENT).hexdigest()
    for resource, _ in ways:
        for client in VERSIONS:
            folder = f"{tmp_path}/{resource}-{client}"
            own = [row for row in rows if row["detail"]["path"].startswith(folder)]
            done = {row["detail"]["operation"]: row for row in own}
            assert set(STEPS) <= set(done), (resource, client, sorted(done))
            assert done["write"]["outcome"]["sha256"] == done["read"]["outcome"]["sha256"] == sha
            assert done["link"]["detail"]["target"] == f"{folder}/hard"
            assert done["symlink"]["detail"]["target"] == f"{folder}/b"
            assert {row["outcome"]["status"] for row in own} == {"ok"}
