"""The admin process as `up` runs it: out of agents' reach, hardened, bounded, with its own secrets only, on record."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from onrecord.recordings.admin import server
from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.certs import Authority
from onrecord.scripts.parts.https_api import HttpsApi
from tests.helpers import Gateway, free_port, http_resource, make_config, running_gateway, wait_until
from tests.recordings.admin.office import form_token


@pytest.fixture(scope="module")
def api() -> Iterator[HttpsApi]:
    with HttpsApi("billing.internal") as found:
        yield found


@pytest.fixture(scope="module")
def gateway(api: HttpsApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`up` with the page on loopback, an HTTP resource with a secret, a webhook with another; egress is allowed."""
    setup = make_config(
        tmp_path_factory.mktemp("process"),
        resources={"billing": http_resource(api, headers={"Authorization": "env:BILLING_AUTH"})},
        gateway={"admin": f"127.0.0.1:{free_port()}", "postgres": None, "egress": "allow"},
        tables={
            "admin": {"roles": {"viewer": ["staff"], "auditor": ["security"]}},
            "notify": [
                {"type": "webhook", "url": "https://hooks.example.com/", "secret": "env:HOOK_SECRET"},
            ],
        },
        env={"BILLING_AUTH": "Bearer billing-secret-value", "HOOK_SECRET": "hook-secret-value", "OTHER": "other-value"},
    )
    with running_gateway(setup) as running:
        yield running


def admin_process(gateway: Gateway) -> int:
    """The admin process's id. Raises ValueError where there is none."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and b"onrecord.recordings.admin\0" in (folder / "cmdline").read_bytes():
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == gateway.process.pid:
                    found.append(int(folder.name))
    (pid,) = found
    return pid


def url(gateway: Gateway) -> str:
    return f"http://127.0.0.1:{gateway.setup.admin_port}"


@contextlib.contextmanager
def log_in(gateway: Gateway, subject: str, *groups: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url(gateway), trust_env=False) as client:
        token = form_token(client.get("/login").text)
        pasted = gateway.setup.mint(subject, groups=groups, human=True)
        fields = {"form_token": token, "token": pasted, "next": "/runs"}
        assert client.post("/login/token", data=fields, headers={"Origin": url(gateway)}).status_code == 303
        yield client


HOSTS = ["127.0.0.1", "localhost", "127.0.0.2", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"]  # noqa: S104


@pytest.mark.parametrize("host", HOSTS)
def test_agents_cannot_reach_the_page_through_the_gateway(gateway: Gateway, host: str) -> None:
    """Whatever token they hold, even where every other host is open to them."""
    port = gateway.setup.admin_port
    for token in (
        gateway.setup.mint("devin"),
        gateway.setup.mint("dana", groups=("dba", "agents"), human=True),
    ):
        trust = ssl.create_default_context(cafile=str(gateway.proxy_ca))
        for scheme in ("http", "https"):
            with httpx.Client(proxy=gateway.proxy(token), trust_env=False, verify=trust) as client:
                try:
                    answer = client.get(f"{scheme}://{host}:{port}/login")
                except httpx.HTTPError:
                    continue  # the tunnel was refused
                assert answer.status_code in (400, 403), answer.text
                assert "form_token" not in answer.text


def test_a_resource_cannot_be_the_page(gateway: Gateway, tmp_path: Path) -> None:
    from onrecord.policies.config import load_config
    from onrecord.policies.errors import ConfigError

    setup = make_config(
        tmp_path,
        gateway={"admin": "127.0.0.1:8088"},
        resources={
            "page": {"type": "http", "hosts": ["page.internal"], "upstream": "http://127.0.0.1:8088", "groups": ["a"]}
        },
    )
    with pytest.raises(ConfigError, match=r"gateway\.admin itself"):
        load_config(setup.path)


def test_it_holds_its_own_secrets_and_none_of_the_resources(gateway: Gateway) -> None:
    process = Path("/proc", str(admin_process(gateway)))
    assert b"secret" not in (process / "cmdline").read_bytes()
    if os.geteuid() != 0:
        return  # nobody else can look: test_it_is_undumpable
    environment = (process / "environ").read_bytes()
    assert b"hook-secret-value" in environment
    assert b"billing-secret-value" not in environment
    assert b"other-value" not in environment
    opened = []
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            opened.append(str(link.readlink()))
    assert any("admin-" in name for name in opened)  # its journal
    assert not any("signing.key" in name or "mitmproxy-ca" in name for name in opened)


def test_it_is_undumpable(gateway: Gateway) -> None:
    """Files of an undumpable process below /proc belong to root, whoever it runs as; and it writes no core."""
    process = Path("/proc", str(admin_process(gateway)))
    limits = (process / "limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0", limits)
    assert (process / "mem").stat().st_uid == 0


def test_what_people_do_there_is_in_the_log_and_proved(gateway: Gateway, api: HttpsApi) -> None:
    """An HTTP body with markup in it, seen by an auditor: harmless, and the look is a record in the tree."""
    attack = "<script>window.pwned=1</script>"
    trust = ssl.create_default_context(cafile=str(gateway.proxy_ca))
    with httpx.Client(proxy=gateway.proxy(gateway.setup.mint("devin")), trust_env=False, verify=trust) as agent:
        agent.post("https://billing.internal/notes", json={"note": attack})

    def logged() -> Any:
        lines = gateway.onrecord("log", "--json").stdout.splitlines()
        return next((view for view in map(json.loads, lines) if "/notes" in view["text"]), None)

    command = wait_until(logged)
    with log_in(gateway, "ada", "security") as auditor, log_in(gateway, "vic", "staff") as viewer:
        html = auditor.get(f"/records/{command['id']}").text
        assert "window.pwned" in html
        assert attack not in html
        assert "window.pwned" not in viewer.get(f"/records/{command['id']}").text
    store = gateway.setup.store

    def looks() -> list[Any]:
        import sqlite3

        from onrecord.recordings.views import read_leaf

        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            leaves = [read_leaf(leaf) for (leaf,) in connection.execute("SELECT leaf FROM records")]
        found = [leaf.payload for leaf in leaves if leaf.kind == Kind.LOOK and leaf.get("what") == "command"]
        return found if len(found) >= 2 else []

    first, second = wait_until(looks)
    assert (first["identity"]["subject"], first["of"], "detail" in first["parts"]) == ("ada", command["id"], True)
    assert (second["identity"]["subject"], second["parts"]) == ("vic", ["text"])
    verified = gateway.onrecord("verify", "--json")
    assert json.loads(verified.stdout)["ok"]


def test_slow_heads_and_idle_connections_are_closed(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.setup.admin_port), timeout=40) as slow:
        slow.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1) == b""


def test_a_head_that_is_too_large_is_refused(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.setup.admin_port), timeout=40) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(b"GET /login HTTP/1.1\r\nX: " + b"x" * (server.MAX_HEAD * 4))
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in client.recv(100)


def test_junk_and_smuggling_are_refused(gateway: Gateway) -> None:
    for head in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET /login HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /logout HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /logout HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    ):
        with socket.create_connection(("127.0.0.1", gateway.setup.admin_port), timeout=40) as client:
            client.sendall(head)
            status = client.recv(100).split(b" ")[1:2]
            assert status in ([b"400"], [b"421"], [b"403"], [b"413"]), head


def test_one_address_does_not_get_all_connections(tmp_path: Path) -> None:
    setup = make_config(
        tmp_path,
        gateway={"admin": f"127.0.0.1:{free_port()}", "postgres": None, "http": None},
        tables={"admin": {"max_connections": 16}},
    )
    with running_gateway(setup) as gateway, contextlib.ExitStack() as stack:
        opened = []
        for _ in range(10):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", setup.admin_port), timeout=40))
            one.sendall(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % setup.admin_port)
            opened.append(one)
        answers = []
        for one in opened:
            try:
                answers.append(one.recv(12))
            except ConnectionResetError:
                answers.append(b"")
        assert 0 < answers.count(b"HTTP/1.1 200") < 10
        assert gateway.process.poll() is None


def test_off_loopback_it_speaks_tls_and_nothing_else(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("127.0.0.1", "localhost")
    port = free_port()
    setup = make_config(
        tmp_path,
        issuers=[{"issuer": "https://idp.example.com", "audience": "onrecord", "kind": "human", "client_id": "page"}],
        gateway={
            "admin": f"0.0.0.0:{port}", "admin_url": f"https://localhost:{port}", "postgres": None, "http": None,
            "tls": {"cert": f"file:{pair.cert}", "key": f"file:{pair.key}"},
        },
    )  # fmt: skip
    with running_gateway(setup):
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with httpx.Client(verify=context, trust_env=False) as client:
            answer = client.get(f"https://localhost:{port}/login")
            assert answer.status_code == 200
            assert answer.headers["set-cookie"].startswith("__Host-onrecord=")
            assert client.get(f"https://127.0.0.1:{port}/login").status_code == 421
        with pytest.raises(httpx.HTTPError), httpx.Client(trust_env=False) as client:
            client.get(f"http://localhost:{port}/login")


def test_it_comes_back_when_it_dies_and_nobody_is_logged_in_then(gateway: Gateway) -> None:
    with log_in(gateway, "ada", "security") as client:
        assert client.get("/runs").status_code == 200
        before = admin_process(gateway)
        os.kill(before, signal.SIGKILL)

        def again() -> Any:
            with contextlib.suppress(httpx.HTTPError, ValueError):
                return admin_process(gateway) != before and client.get("/login").status_code == 200
            return False

        wait_until(again)
        assert client.get("/runs").status_code == 303
