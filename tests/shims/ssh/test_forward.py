"""Tunnels with the real ssh: -L, -R, -D, -W, Unix sockets; where none may lead, and where one is led instead."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import psycopg
import pytest

from onrecord.scripts.parts.https_api import HttpsApi
from onrecord.scripts.parts.openssh import OpenSshPart, SshClient, ssh_resource
from tests.conftest import Shop
from tests.helpers import free_port, http_resource, postgres_resource, wait_until
from tests.shims.ssh.conftest import Lab, LabMaker
from tests.shims.ssh.test_files import policy


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with _Server(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextlib.contextmanager
def tunnel(client: SshClient, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`ssh -N` with these arguments, while the block runs."""
    process = subprocess.Popen(
        client.command("-N", *arguments, "app1@gateway"),
        env=client.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def connect(port: int) -> socket.socket:
    """A connection to a port that is about to listen."""

    def attempt() -> socket.socket | None:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        return None

    found = wait_until(attempt, timeout=60, what="the tunnel's port")
    assert found is not None
    return found


def exchange(port: int, data: bytes) -> bytes:
    """What comes back for `data`, to the end."""
    with connect(port) as end:
        end.sendall(data)
        end.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := end.recv(65536):
                got += piece
        return got


def tunnels(lab: Lab, finished: int) -> list[dict[str, Any]]:
    return lab.commands(finished=finished, kind="forward")


def test_a_local_tunnel_is_refused_by_default(make_lab: LabMaker, echo: int):
    lab = make_lab()
    port = free_port()
    with tunnel(lab.client(), "-L", f"{port}:127.0.0.1:{echo}"):
        assert exchange(port, b"hello") == b""
    (row,) = tunnels(lab, 1)
    assert (row["verdict"]["policy"], row["outcome"]["status"]) == ("onrecord:default", "refused")
    assert row["detail"] == {"direction": "local", "host": "127.0.0.1", "port": echo, "path": ""}


def test_a_policy_opens_a_tunnel_which_is_counted_hashed_and_kept(make_lab: LabMaker, tmp_path: Path, echo: int):
    lab = make_lab(
        policies=[policy(tmp_path, f"return Allow() if command.port == {echo} else Deny('no')", hook="forward")]
    )
    port = free_port()
    data = b"through the tunnel " * 1000
    with tunnel(lab.client(), "-L", f"{port}:127.0.0.1:{echo}"):
        assert exchange(port, data) == data
        (row,) = tunnels(lab, 1)
    assert row["outcome"]["status"] == "ok"
    assert row["outcome"]["sample"]["sent"] == row["outcome"]["sample"]["received"] == len(data)
    assert row["outcome"]["tag"] == "opaque"
    shown = lab.gateway.onrecord("show", row["id"], "--json").stdout
    assert "through the tunnel" in shown


def test_a_tunnel_that_a_policy_wants_masked_is_refused(make_lab: LabMaker, tmp_path: Path, echo: int):
    lab = make_lab(policies=[policy(tmp_path, 'return Allow(mask=("email",))', hook="forward")])
    done = lab.client().run("-W", f"127.0.0.1:{echo}", "app1@gateway", stdin=b"ann@example.com")
    assert b"ann@example.com" not in done.stdout
    (row,) = tunnels(lab, 1)
    assert row["outcome"]["status"] == "refused"


def test_listed_destinations_are_asked_about_and_others_are_not(make_lab: LabMaker, echo: int):
    lab = make_lab(forwards=[f"127.0.0.1:{echo}"])
    port, other = free_port(), free_port()
    with tunnel(lab.client(), "-L", f"{port}:127.0.0.1:{echo}", "-L", f"{other}:127.0.0.1:9"):
        assert exchange(port, b"hello") == b"hello"
        assert exchange(other, b"hello") == b""
        rows = tunnels(lab, 2)
    assert {row["detail"]["port"]: row["outcome"]["status"] for row in rows} == {echo: "ok", 9: "refused"}


def test_standard_input_and_output_over_w(make_lab: LabMaker, echo: int):
    lab = make_lab(forwards=["127.0.0.1:*"])
    done = lab.client().run("-W", f"127.0.0.1:{echo}", "app1@gateway", stdin=b"over w")
    assert done.stdout == b"over w", done.stderr


def test_a_socks_proxy_asks_for_each_destination(make_lab: LabMaker, echo: int):
    lab = make_lab(forwards=["127.0.0.1:*"])
    port = free_port()
    with tunnel(lab.client(), "-D", f"127.0.0.1:{port}"), connect(port) as end:
        end.sendall(b"\x05\x01\x00")
        assert end.recv(2) == b"\x05\x00"
        end.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + echo.to_bytes(2, "big"))
        assert end.recv(10)[:2] == b"\x05\x00"
        end.sendall(b"socks")
        assert end.recv(5) == b"socks"
        end.close()
        (row,) = tunnels(lab, 1)
    assert row["detail"]["port"] == echo


def test_a_remote_tunnel_is_a_command_and_each_connection_another(make_lab: LabMaker, echo: int):
    far = free_port()
    lab = make_lab(forwards=[f"127.0.0.1:{far}"])
    with tunnel(lab.client(), "-R", f"127.0.0.1:{far}:127.0.0.1:{echo}"):
        # the host listens a moment before the gateway knows that it does
        wait_until(lambda: exchange(far, b"from the host") == b"from the host", timeout=60, what="the tunnel")
    rows = tunnels(lab, 2)
    assert [row["detail"]["direction"] for row in rows] == ["remote", "remote"]
    assert rows[1]["outcome"]["sample"]["received"] == len(b"from the host")


def test_a_remote_tunnel_is_refused_by_default(make_lab: LabMaker, echo: int):
    lab = make_lab()
    with tunnel(lab.client(ExitOnForwardFailure="yes"), "-R", f"{free_port()}:127.0.0.1:{echo}") as process:
        assert process.wait(60) != 0
    (row,) = tunnels(lab, 1)
    assert row["outcome"]["status"] == "refused"


def test_unix_sockets_pass_where_they_are_listed(make_lab: LabMaker, tmp_path: Path):
    path = tmp_path / "echo.sock"

    class UnixServer(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with UnixServer(str(path), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        lab = make_lab(forwards=[f"unix:{path}"])
        port = free_port()
        with tunnel(lab.client(), "-L", f"{port}:{path}", "-L", f"{free_port()}:{tmp_path}/../x"):
            assert exchange(port, b"unix") == b"unix"
            (row,) = tunnels(lab, 1)
        server.shutdown()
    assert row["detail"]["path"] == str(path)


def test_no_tunnel_leads_to_the_gateways_own_listeners(make_lab: LabMaker):
    lab = make_lab(forwards=["*:*"])
    port = lab.gateway.setup.ssh_port
    hosts = ["127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1", "0.0.0.0"]  # noqa: S104
    for host in hosts:
        assert lab.client().run("-W", f"[{host}]:{port}", "app1@gateway").returncode != 0
    rows = tunnels(lab, len(hosts))
    assert {row["verdict"]["policy"] for row in rows} == {"onrecord:forward"}
    assert all("own listener" in row["verdict"]["reason"] for row in rows)


def test_no_tunnel_leads_to_metadata_or_to_what_can_be_read_in_two_ways(make_lab: LabMaker):
    cases = {
        "169.254.169.254": "metadata",
        "fe80::1": "link-local",
        "metadata.google.internal": "",
        "127.1": "usual form",
        "0x7f000001": "usual form",
        "2130706433": "usual form",
        "224.0.0.1": "no address of one host",
        "64:ff9b::7f00:1": "carries another",
        "no-such-host.invalid": "cannot resolve",
        "a b": "not a host",
    }
    lab = make_lab(forwards=["*:*"])
    for host in cases:
        assert lab.client().run("-W", f"[{host}]:80", "app1@gateway").returncode != 0
    rows = tunnels(lab, len(cases))
    for row, reason in zip(rows, cases.values(), strict=True):
        assert row["verdict"]["policy"] in ("onrecord:forward", "onrecord:protocol")
        assert reason in row["verdict"]["reason"]


def test_a_tunnel_to_another_host_that_is_protected_leads_into_the_gateway(make_lab: LabMaker, sshd: OpenSshPart):
    lab = make_lab(forwards=["*:*"], resources={"app2": ssh_resource(sshd)})
    for host in ("127.0.0.1", "localhost"):
        process = subprocess.run(
            lab.client().command("-W", f"{host}:{sshd.port}", "app1@gateway"),
            env=lab.client().env,
            input=b"SSH-2.0-probe\r\n",
            capture_output=True,
            timeout=60,
        )
        assert process.stdout.startswith(b"SSH-2.0-onrecord"), process.stderr


def test_a_tunnel_to_a_database_leads_into_the_gateway_and_to_a_web_api_nowhere(
    make_lab: LabMaker, shop: Shop, api: HttpsApi
):
    server = shop.server
    lab = make_lab(
        forwards=["*:*"],
        gateway={"postgres": f"127.0.0.1:{free_port()}", "postgres_tls": "allow"},
        resources={"orders": postgres_resource(server, user=shop.user), "billing": http_resource(api)},
        env={"SHOP_PASSWORD": shop.password},
    )
    port, web = free_port(), free_port()
    token = lab.gateway.setup.mint("devin")
    forwards = ("-L", f"{port}:localhost:{server.port}", "-L", f"{web}:127.0.0.1:{api.port}")
    with tunnel(lab.client(), *forwards):
        connect(port).close()
        dsn = f"host=127.0.0.1 port={port} dbname=orders user=devin sslmode=disable gssencmode=disable"
        with psycopg.connect(dsn, password=token, autocommit=True) as connection:
            assert connection.execute("select 'through the gateway'").fetchone() == ("through the gateway",)
        with pytest.raises(psycopg.OperationalError):  # the database's own password does not open it here
            psycopg.connect(dsn.replace("orders", shop.database), password=shop.password)
        assert exchange(web, b"GET / HTTP/1.0\r\n\r\n") == b""
    assert "through the gateway" in [row["text"] for row in lab.log() if row["kind"] == "sql"][-1]
    rows = [row for row in lab.log() if row["kind"] == "forward" and row["detail"]["port"] == api.port]
    assert "resource billing" in rows[0]["verdict"]["reason"]
    assert api.requests == []


def test_a_jump_through_the_gateway_is_two_sessions_of_it(make_lab: LabMaker, sshd: OpenSshPart):
    lab = make_lab(forwards=["127.0.0.1:*"], resources={"app2": ssh_resource(sshd)})
    client = lab.client()
    outer = " ".join(client.command("-W", "%h:%p", "app1@gateway"))
    inner = lab.client(
        ProxyCommand=outer, HostName="127.0.0.1", HostKeyAlias=f"[127.0.0.1]:{lab.gateway.setup.ssh_port}"
    )
    done = inner.run("-p", str(sshd.port), "app2@gateway", "echo inside")
    assert done.stdout == b"inside\n", done.stderr
    (row,) = lab.commands(finished=1)
    assert (row["resource"], row["text"]) == ("app2", "echo inside")


def test_tun_devices_are_refused_and_on_record(make_lab: LabMaker):
    lab = make_lab(forwards=["*:*"])
    setup = lab.gateway.setup
    keys: tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]
    keys = ([asyncssh.import_public_key(lab.host_key)], [], [])

    async def ask() -> None:
        async with asyncssh.connect(
            "127.0.0.1",
            setup.ssh_port,
            username="app1",
            password=setup.mint("devin"),
            known_hosts=keys,
            client_keys=None,
            config=None,
        ) as connection:
            for create in (connection.create_tun, connection.create_tap):
                with pytest.raises(asyncssh.ChannelOpenError):
                    await create(asyncssh.SSHTunTapSession, None)

    asyncio.run(ask())
    rows = tunnels(lab, 2)
    assert [row["text"] for row in rows] == ["tun device", "tap device"]
    assert {row["outcome"]["status"] for row in rows} == {"refused"}
