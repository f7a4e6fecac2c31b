"""recordings/control/sockets.py"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys

import pytest

from onrecord.policies.errors import ControlError
from onrecord.recordings.control.sockets import bind, connect
from tests.recordings.control import process, serving, until


def test_the_socket_is_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        bind(tmp_path / "control.sock").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600


def test_a_socket_nobody_answers_is_replaced_one_that_answers_is_not(tmp_path):
    path = tmp_path / "control.sock"
    first = bind(path)
    with pytest.raises(ControlError, match="another recorder"):
        bind(path)
    first.close()
    bind(path).close()


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "control.sock").write_text("mine")
    with pytest.raises(ControlError, match="in the way"):
        bind(tmp_path / "control.sock")
    assert (tmp_path / "control.sock").read_text() == "mine"


def test_a_path_longer_than_a_socket_address_works(tmp_path):
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    with bind(folder / "control.sock") as server, connect(folder / "control.sock") as client:
        accepted, _ = server.accept()
        client.sendall(b"hello")
        accepted.setblocking(True)
        assert accepted.recv(5) == b"hello"
        accepted.close()


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.settimeout(20)
try:
    sock.sendall(bytes.fromhex(sys.argv[2]))
    heard = sock.recv(100)
except (ConnectionError, BrokenPipeError):
    heard = b""
print(len(heard))
"""


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="peer credentials are Linux's")
async def test_another_users_process_hears_nothing(tmp_path, caplog):
    if os.geteuid() != 0:
        pytest.fail("this test needs root: it becomes another user")
    import asyncio

    from onrecord.recordings.control.messages import MAX_TO_RECORDER, Hello, encode

    folder = tmp_path
    for parent in (folder, *folder.parents):  # the stranger must reach the socket: the uid check alone stops it
        if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o055 != 0o055 and "pytest" in str(parent):
            parent.chmod(0o755)
    async with serving(folder) as server:
        (folder / "control.sock").chmod(0o666)
        hello = encode(Hello("gateway", 1), MAX_TO_RECORDER).hex()
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", STRANGER, str(folder / "control.sock"), hello],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (ran.stdout.strip(), ran.stderr) == ("0", "")
        assert server.status().peers == ()
        assert "runs as another user (65534)" in caplog.text
        async with process(folder):
            await until(lambda: server.status().peers)
