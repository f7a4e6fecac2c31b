"""Libraries and tools that speak SFTP by themselves: paramiko, asyncssh, Ansible, and reads at random as sshfs does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest
from paramiko.client import SSHClient
from paramiko.pkey import PKey
from paramiko.sftp_client import SFTPClient

from tests.shims.ssh.conftest import Lab, LabMaker
from tests.shims.ssh.test_files import policy


@contextmanager
def paramiko_sftp(lab: Lab) -> Iterator[SFTPClient]:
    setup = lab.gateway.setup
    client = SSHClient()
    kind, data = lab.host_key.split()[:2]
    key = PKey.from_type_string(kind, base64.b64decode(data))
    client.get_host_keys().add(f"[127.0.0.1]:{setup.ssh_port}", kind, key)
    client.connect(
        "127.0.0.1",
        setup.ssh_port,
        username="app1",
        password=setup.mint("devin"),
        look_for_keys=False,
        allow_agent=False,
        timeout=30,
    )
    try:
        yield client.open_sftp()
    finally:
        client.close()


def test_paramiko_moves_files_and_reads_refusals(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab(policies=[policy(tmp_path, 'return Deny("not this") if "secret" in command.path else None')])
    content = os.urandom(700_000)
    (tmp_path / "local").write_bytes(content)
    (tmp_path / "secret").write_text("x")
    with paramiko_sftp(lab) as sftp:
        sftp.chdir(str(tmp_path))
        sftp.put(str(tmp_path / "local"), "far")
        assert (tmp_path / "far").read_bytes() == content
        sftp.get("far", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == content
        sftp.mkdir("d")
        sftp.rename("far", "d/far")
        sftp.posix_rename("d/far", "d/other")
        sftp.symlink("d/other", "link")
        assert sftp.readlink("link") == "d/other"
        assert sftp.stat("link").st_size == len(content)
        assert "d" in sftp.listdir()
        sftp.truncate("d/other", 10)
        sftp.utime("d/other", (1, 2))
        sftp.chmod("d/other", 0o600)
        with sftp.open("d/other", "r+") as file:
            file.write(b"ab")
            file.seek(0)
            assert file.read(2) == b"ab"
        with sftp.open("d/other", "a") as file:
            file.write(b"end")
        sftp.remove("d/other")
        sftp.rmdir("d")
        with pytest.raises(PermissionError, match="not this"):
            sftp.open("secret")
        with pytest.raises(FileNotFoundError):
            sftp.stat("nowhere")
    assert (tmp_path / "link").readlink() == Path("d/other")
    rows = lab.commands(finished=20, kind="sftp")
    uploaded = next(row for row in rows if row["detail"]["operation"] == "write")
    assert uploaded["outcome"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_asyncssh_moves_files_in_parallel(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    setup = lab.gateway.setup
    content = os.urandom(5_000_000)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "big").write_bytes(content)
    for i in range(20):
        (folder / f"small{i}").write_text(str(i))

    async def talk() -> None:
        keys: tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]
        keys = ([asyncssh.import_public_key(lab.host_key)], [], [])
        async with (
            asyncssh.connect(
                "127.0.0.1",
                setup.ssh_port,
                username="app1",
                password=setup.mint("devin"),
                known_hosts=keys,
                client_keys=None,
                config=None,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            await sftp.put(str(folder), str(tmp_path / "far"), recurse=True)
            await sftp.get(str(tmp_path / "far"), str(tmp_path / "back"), recurse=True, preserve=True)
            await sftp.symlink("big", str(tmp_path / "far/link"))
            assert await sftp.readlink(str(tmp_path / "far/link")) == "big"
            assert (await sftp.statvfs(str(tmp_path))).bsize > 0
            assert sorted(await sftp.listdir(str(tmp_path / "back")))[2] == "big"
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.stat(str(tmp_path / "nowhere"))

    asyncio.run(talk())
    assert (tmp_path / "back/big").read_bytes() == content
    assert (tmp_path / "far/link").readlink() == Path("big")
    assert all((tmp_path / f"back/small{i}").read_text() == str(i) for i in range(20))


def test_reads_and_writes_at_random_are_whole(make_lab: LabMaker, tmp_path: Path):
    """As sshfs does: pieces of a file in any order, over one handle."""
    lab = make_lab()
    content = bytearray(os.urandom(400_000))
    far = tmp_path / "far"
    far.write_bytes(content)
    chance = random.Random(7)  # noqa: S311
    with paramiko_sftp(lab) as sftp, sftp.open(str(far), "r+") as file:
        for _ in range(60):
            at, size = chance.randrange(len(content)), chance.randrange(1, 9000)
            file.seek(at)
            assert file.read(size) == bytes(content[at : at + size])
            piece = os.urandom(min(size, len(content) - at))
            file.seek(at)
            file.write(piece)
            file.flush()
            content[at : at + len(piece)] = piece
    assert far.read_bytes() == content
    rows = [row for row in lab.commands(finished=2, kind="sftp") if row["detail"]["operation"] in ("read", "write")]
    assert all("no SHA-256 of the whole" in row["outcome"]["tag"] for row in rows)


def test_ansible_copies_templates_and_runs(make_lab: LabMaker, tmp_path: Path):
    lab = make_lab()
    client = lab.client()
    (tmp_path / "page.j2").write_text("hello {{ whom }}\n")
    (tmp_path / "data").write_bytes(b"d" * 50_000)
    (tmp_path / "inventory").write_text(
        "app1 ansible_host=gateway ansible_user=app1 ansible_ssh_common_args="
        + shlex.quote(f"-F {client.config} -o ControlMaster=no")
        + f" ansible_password={lab.gateway.setup.mint('devin')} ansible_python_interpreter=/usr/bin/python3\n"
    )
    (tmp_path / "play.yml").write_text(
        f"""
- hosts: all
  gather_facts: false
  vars: {{whom: world}}
  tasks:
    - copy: {{src: {tmp_path}/data, dest: {tmp_path}/out/data, mode: "0600"}}
    - template: {{src: {tmp_path}/page.j2, dest: {tmp_path}/out/page}}
    - command: cat {tmp_path}/out/page
      register: shown
    - assert: {{that: shown.stdout == "hello world"}}
"""
    )
    (tmp_path / "out").mkdir()
    ansible = Path(sys.executable).parent / "ansible-playbook"
    done = subprocess.run(
        [str(ansible), "-i", str(tmp_path / "inventory"), str(tmp_path / "play.yml")],
        env={
            **client.env,
            "HOME": str(tmp_path),
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_LOCALHOST_WARNING": "0",
        },
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out/data").read_bytes() == b"d" * 50_000
    assert (tmp_path / "out/page").read_text() == "hello world\n"
    assert any(row["detail"]["operation"] == "write" for row in lab.commands(finished=3, kind="sftp"))
