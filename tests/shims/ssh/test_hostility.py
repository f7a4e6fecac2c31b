"""A hostile peer on the wire: junk, floods, windows, names. The gateway goes on, and nothing passes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.connection import SSHClientConnection
from asyncssh.packet import Boolean, String, UInt32

from onrecord.scripts.benchmarks.processes import descendants
from onrecord.scripts.parts.openssh import OpenSshPart
from onrecord.shims.ssh import algorithms
from tests.shims.ssh.conftest import Lab, LabMaker
from tests.shims.ssh.test_sessions import command_line


async def connect(lab: Lab, login: str = "app1", **options: Any) -> SSHClientConnection:
    setup = lab.gateway.setup
    found: SSHClientConnection = await asyncssh.connect(
        "127.0.0.1",
        setup.ssh_port,
        username=login,
        password=setup.mint("devin"),
        known_hosts=([asyncssh.import_public_key(lab.host_key)], [], []),
        config=None,
        client_keys=None,
        agent_path=None,
        **options,
    )
    return found


async def works(lab: Lab) -> bool:
    async with await connect(lab) as connection:
        done = await connection.run("echo fine")
    return done.stdout == "fine\n"


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-1.5-old\r\n",
        b"x" * 100_000,
        b"SSH-2.0-x\r\n" + struct.pack(">I", 0xFFFFFFFF) + b"\x00" * 64,
        b"SSH-2.0-x\r\n" + struct.pack(">IB", 12, 4) + b"\x00" * 64,
        b"SSH-2.0-x\r\n" + struct.pack(">IBB", 12, 4, 20) + b"\xff" * 4096,
        b"SSH-2.0-OpenSSH_9\r\n" + struct.pack(">IBB", 12, 4, 21) + b"\x00" * 256,
        b"\x00" * 1000,
    ],
)
async def test_junk_on_the_wire_ends_its_connection_only(make_lab: LabMaker, junk: bytes):
    lab = make_lab()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", lab.gateway.setup.ssh_port), timeout=30) as sock:
            sock.sendall(junk)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
    assert await works(lab)


async def test_a_client_that_never_logs_in_is_sent_away(make_lab: LabMaker):
    lab = make_lab(gateway={"handshake_timeout": "2 s"})
    with socket.create_connection(("127.0.0.1", lab.gateway.setup.ssh_port), timeout=60) as sock:
        while sock.recv(65536):
            pass
    assert await works(lab)


async def test_six_wrong_tokens_end_the_connection(make_lab: LabMaker):
    lab = make_lab()
    tries = 0

    class Client(asyncssh.SSHClient):
        def password_auth_requested(self) -> str:
            nonlocal tries
            tries += 1
            return "wrong"

        def kbdint_auth_requested(self) -> None:
            return None

    with pytest.raises(asyncssh.DisconnectError):
        await asyncssh.connect(
            "127.0.0.1", lab.gateway.setup.ssh_port, username="app1", client_factory=Client, known_hosts=None,
            config=None, client_keys=None, agent_path=None,
        )  # fmt: skip
    assert tries == 7
    assert await works(lab)


@pytest.mark.parametrize("algorithm", ["diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"])
async def test_old_key_exchanges_are_not_spoken(make_lab: LabMaker, algorithm: str):
    lab = make_lab()
    with pytest.raises((asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost)):
        await connect(lab, kex_algs=[algorithm])


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("encryption_algs", "aes128-cbc"),
        ("encryption_algs", "3des-cbc"),
        ("encryption_algs", "arcfour"),
        ("mac_algs", "hmac-sha1"),
        ("mac_algs", "hmac-md5"),
        ("compression_algs", "zlib@openssh.com"),
    ],
)
async def test_weak_algorithms_are_not_spoken(make_lab: LabMaker, field: str, name: str):
    lab = make_lab()
    options: dict[str, Any] = {field: [name]}
    if field == "mac_algs":
        options["encryption_algs"] = ["aes128-ctr"]
    with pytest.raises((asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost)):
        await connect(lab, **options)


def test_nothing_weak_is_in_the_lists():
    every = " ".join([*algorithms.KEX, *algorithms.CIPHERS_OUT, *algorithms.MACS_OUT, *algorithms.SIGNATURES])
    for weak in ("sha1", "cbc", "arcfour", "md5", "dss", "group1-", "umac-64", "ssh-rsa ", "none"):
        assert weak not in every + " "


async def test_strict_key_exchange_is_in_force(make_lab: LabMaker):
    """Against Terrapin (CVE-2023-48795): sequence numbers begin anew with the keys."""
    lab = make_lab()
    async with await connect(lab) as connection:
        assert connection._strict_kex


async def test_a_flood_of_channels_is_bounded(make_lab: LabMaker):
    with OpenSshPart(settings=("MaxSessions 1000",)) as host:
        lab = make_lab(host=host)
        async with await connect(lab) as connection:
            opened = 0

            async def more() -> None:
                nonlocal opened
                for _ in range(400):
                    await connection.create_session(asyncssh.SSHClientSession, "sleep 30")
                    opened += 1

            with pytest.raises(asyncssh.ChannelOpenError, match="too many channels"):
                await more()
            assert opened >= 64
        assert await works(lab)


async def test_a_flood_of_requests_is_bounded(make_lab: LabMaker):
    lab = make_lab()
    async with await connect(lab) as connection:
        channel, _ = await connection.create_session(asyncssh.SSHClientSession, "sleep 30")
        for number in range(20_000):
            channel._send_request(b"env", String(b"A%d" % number), String(b"x" * 100))
            channel._send_request(b"window-change", UInt32(number), UInt32(0xFFFFFFFF), UInt32(0), UInt32(0))
            channel._send_request(b"signal", String(b"\xff\x00" * 10))
            channel._send_request(b"no-such-request", want_reply=False)
        channel.abort()
    assert await works(lab)


async def test_more_data_than_the_window_ends_the_connection(make_lab: LabMaker):
    lab = make_lab()
    async with await connect(lab) as connection:
        channel, _ = await connection.create_session(asyncssh.SSHClientSession, "sleep 30", encoding=None)
        channel._send_window = 1 << 40
        channel.write(b"x" * (64 * 1024 * 1024))
        await connection.wait_closed()
    assert await works(lab)


async def test_a_second_exec_on_a_channel_does_not_run(make_lab: LabMaker):
    lab = make_lab()
    async with await connect(lab) as connection:
        channel, _ = await connection.create_session(asyncssh.SSHClientSession, "sleep 2")
        assert not await channel._make_request(b"exec", String(b"echo second"))
        assert not await channel._make_request(b"shell")
        assert not await channel._make_request(b"subsystem", String(b"sftp"))
    assert [row["text"] for row in lab.commands(finished=1)] == ["sleep 2"]


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"echo a\x00b", "NUL"),
        (b"echo \xff\xfe", "no UTF-8"),
        (b"a" * 200_000, "over"),
    ],
)
async def test_command_lines_that_cannot_be_decided_are_refused_and_on_record(
    make_lab: LabMaker, command: bytes, shown: str
):
    lab = make_lab()

    class Session(asyncssh.SSHClientSession[bytes]):
        status: int | None = None

        def exit_status_received(self, status: int) -> None:
            self.status = status

    async with await connect(lab) as connection:
        channel = asyncssh.channel.SSHClientChannel(
            connection, connection._loop, "strict", None, "strict", 1 << 20, 1 << 15
        )
        await channel._open(b"session")
        session = Session()
        channel._session = session  # type: ignore[assignment]
        assert await channel._make_request(b"exec", String(command))
        channel._recv_paused = False
        channel._flush_recv_buf()
        await channel.wait_closed()
        assert session.status == 126
    (row,) = lab.commands(finished=1)
    assert shown in row["verdict"]["reason"]
    assert await works(lab)


async def test_unknown_global_and_channel_requests_are_refused(make_lab: LabMaker):
    lab = make_lab()
    async with await connect(lab) as connection:
        for name in (b"tcpip-forward", b"streamlocal-forward@openssh.com", b"no-such@example.com"):
            arguments = [String(b"127.0.0.1"), UInt32(0)] if name == b"tcpip-forward" else [String(b"/tmp/x")]
            kind, _ = await connection._make_global_request(name, *arguments)
            assert kind == 82, name  # SSH_MSG_REQUEST_FAILURE
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_tun(asyncssh.SSHTunTapSession)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", 1)
        channel, _ = await connection.create_session(asyncssh.SSHClientSession, "sleep 1")
        assert not await channel._make_request(
            b"x11-req", Boolean(False), String(b"MIT-MAGIC-COOKIE-1"), String(b"00"), UInt32(0)
        )


async def test_unknown_requests_and_channels_are_on_record_once_a_name(make_lab: LabMaker):
    lab = make_lab()
    async with await connect(lab) as connection:
        for _ in range(3):
            await connection._make_global_request(b"no-such@example.com", String(b"x"))
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_tcp_channel()._open(b"no-channel@example.com")
            await connection._make_global_request(b"no-more-sessions@openssh.com")
        channel, _ = await connection.create_session(asyncssh.SSHClientSession, "sleep 1")
        assert not await channel._make_request(b"no-request@example.com")
    shown = sorted(row["text"] for row in lab.commands(finished=4) if row["verdict"]["type"] == "deny")
    assert shown == [
        "(channel no-channel@example.com)",
        "(channel request no-request@example.com)",
        "(global request no-such@example.com)",
    ]


async def test_a_channel_kind_that_is_a_name_inside_the_gateway_ends_nothing(make_lab: LabMaker):
    lab = make_lab()
    async with await connect(lab) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_tcp_channel()._open(b"channel")
        assert (await connection.run("echo in", encoding="utf-8")).stdout == "in\n"
    assert "(channel channel)" in [row["text"] for row in lab.commands(finished=2)]


async def test_too_many_requests_of_unknown_kinds_end_the_session(make_lab: LabMaker):
    lab = make_lab()
    async with await connect(lab) as connection:
        for number in range(100):
            connection.send_packet(80, String(f"no-{number}@example.com".encode()), Boolean(False))
        await asyncio.wait_for(connection.wait_closed(), 60)
    assert await works(lab)


@pytest.mark.parametrize("login", ["root+x@", "app1\x00", "app1\n", "a" * 1000, "", "app1+\u202eroot", "app1/../x"])
async def test_names_that_play_tricks_open_nothing(make_lab: LabMaker, login: str):
    lab = make_lab()
    with pytest.raises((asyncssh.DisconnectError, ValueError)):
        await connect(lab, login)
    assert await works(lab)


async def test_a_flood_of_small_packets_is_few_records(make_lab: LabMaker):
    lab = make_lab()
    async with await connect(lab) as connection:
        channel, _ = await connection.create_session(asyncssh.SSHClientSession, "cat >/dev/null", encoding=None)
        for _ in range(20_000):
            channel.write(b"x")
        channel.write_eof()
        await channel.wait_closed()
    (row,) = lab.commands(finished=1)
    shown = json.loads(lab.gateway.onrecord("show", row["id"], "--json").stdout)
    assert sum(chunk["size"] for chunk in shown["chunks"]) == 20_000
    assert len(shown["chunks"]) < 5_000


async def test_junk_is_on_record_as_a_refusal(make_lab: LabMaker):
    lab = make_lab()
    with socket.create_connection(("127.0.0.1", lab.gateway.setup.ssh_port), timeout=30) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while sock.recv(65536):
            pass
    await works(lab)
    assert any("no SSH login" in json.dumps(row) for row in lab.log())


async def test_a_client_that_asks_and_does_not_read_fills_no_memory(make_lab: LabMaker):
    """Its window would take 2 GiB; its socket takes nothing."""
    lab = make_lab()
    async with await connect(lab) as connection:
        more: dict[str, Any] = {"encoding": None, "window": 1 << 31}
        await connection.create_session(asyncssh.SSHClientSession, "cat /dev/zero", **more)
        transport = connection._transport
        assert transport is not None
        transport.pause_reading()
        (shim,) = [pid for pid in descendants(lab.gateway.process.pid) if "shims.ssh" in command_line(pid)]
        before = resident(shim)
        await asyncio.sleep(8)
        assert resident(shim) < before + 100 * 1024 * 1024
        connection.abort()
    assert await works(lab)


async def test_many_channels_that_are_not_read_fill_little_memory(make_lab: LabMaker):
    with OpenSshPart(settings=("MaxSessions 1000",)) as host:
        lab = make_lab(host=host)
        async with await connect(lab) as connection:
            for _ in range(60):
                more: dict[str, Any] = {"encoding": None, "window": 1}
                await connection.create_session(asyncssh.SSHClientSession, "cat /dev/zero", **more)
            (shim,) = [pid for pid in descendants(lab.gateway.process.pid) if "shims.ssh" in command_line(pid)]
            await asyncio.sleep(5)
            assert resident(shim) < 250 * 1024 * 1024
            connection.abort()
        assert await works(lab)


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


async def test_too_many_logins_at_a_time_are_sent_away_and_on_record(make_lab: LabMaker):
    lab = make_lab(gateway={"max_connections": 16, "handshake_timeout": "30 s"})
    assert await works(lab)
    at = ("127.0.0.1", lab.gateway.setup.ssh_port)
    with socket.create_connection(at, timeout=30) as one, socket.create_connection(at, timeout=30) as other:
        assert one.recv(8) == other.recv(8) == b"SSH-2.0-"
        with socket.create_connection(at, timeout=30) as third:
            assert third.recv(4096) == b"onrecord: too many connections\r\n"
            assert third.recv(4096) == b""
        with pytest.raises((asyncssh.Error, ConnectionError)):
            await connect(lab)

    async def free() -> bool:
        with contextlib.suppress(asyncssh.Error, ConnectionError):
            return await works(lab)
        return False

    while not await free():
        await asyncio.sleep(0.1)
    assert any("too many connections" in json.dumps(row) for row in lab.log())


async def test_a_client_of_sftp_that_does_not_read_its_answers_is_read_no_further(make_lab: LabMaker):
    lab = make_lab()
    asked, got = 24_000, 0

    class Slow(asyncssh.SSHClientSession[bytes]):
        def data_received(self, data: bytes, datatype: Any) -> None:
            nonlocal got
            got += len(data)

    async with await connect(lab) as connection:
        channel, _ = await connection.create_session(
            Slow, subsystem="sftp", encoding=None, window=64 * 1024, max_pktsize=32 * 1024
        )
        channel.write(struct.pack(">IBI", 5, 1, 3))
        while got < 9:
            await asyncio.sleep(0.05)
        channel.pause_reading()
        handle = struct.pack(">I", 256) + b"h" * 256
        for id in range(asked):  # over 6 MB, of which the gateway takes its window and what may wait
            channel.write(struct.pack(">IBI", 5 + len(handle), 4, id) + handle)
        for _ in range(3):
            assert (await connection.run("echo in", encoding="utf-8")).stdout == "in\n"
        assert channel.get_write_buffer_size() > 0
        got = 0
        channel.resume_reading()
        one = 4 + 1 + 4 + 4 + 4 + len("onrecord: no such handle") + 4 + 2
        async with asyncio.timeout(120):
            while got < asked * one:
                await asyncio.sleep(0.05)
