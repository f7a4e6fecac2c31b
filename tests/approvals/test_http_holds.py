"""HTTP requests that wait for a human, with real clients through a running gateway."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from onrecord.scripts.admin_client import AdminClient, AdminError
from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.test_strict_dispatch import frame, read_frame
from tests.helpers import Gateway, free_port, http_resource, make_config, running_gateway, wait_until

POLICY = """
from onrecord.policies import Hold


class Holds:
    def http(self, command):
        if command.method == "WEBSOCKET":
            return Hold(approvers="dba", reason="a message", wait=command.body is not None)
        if command.method == "POST":
            return Hold(approvers="dba", reason="a refund", wait="later" not in command.path)
        return None


addons = [Holds()]
"""


@pytest.fixture
def gateway(api: HttpsApi, tmp_path: Path) -> Iterator[Gateway]:
    policy = tmp_path / "holds.py"
    policy.write_text(POLICY)
    policy.chmod(0o600)
    setup = make_config(
        tmp_path,
        resources={"billing": http_resource(api, unknown="allow")},
        policies=[{"file": str(policy)}],
        gateway={"admin": f"127.0.0.1:{free_port()}", "postgres": None},
        tables={"admin": {"roles": {"operator": ["ops"]}}},
    )
    with running_gateway(setup) as running:
        yield running


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[AdminClient]:
    token = gateway.setup.mint("alice", groups=("dba",), human=True)
    with AdminClient(f"http://127.0.0.1:{gateway.setup.admin_port}", token) as client:
        yield client


def curl(gateway: Gateway, path: str, *more: str) -> subprocess.Popen[str]:
    proxy = gateway.proxy(gateway.setup.mint("devin", run="run-1"))
    return subprocess.Popen(
        ["curl", "-sS", "-i", "--proxy", proxy, "--cacert", str(gateway.proxy_ca), "-d", '{"amount": 5}', *more,
         f"https://billing.internal{path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def pending(admin: AdminClient, count: int = 1) -> list[dict[str, Any]]:
    return wait_until(lambda: found if len(found := admin.approvals(pending=True)) >= count else [])


def posts(api: HttpsApi) -> int:
    return sum(request.method == "POST" for request in api.requests)


def log(gateway: Gateway) -> list[dict[str, Any]]:
    wait_until(lambda: "onrecord:kill" in gateway.onrecord("log", "--json").stdout)
    return [json.loads(line) for line in gateway.onrecord("log", "--json").stdout.splitlines()]


def state(admin: AdminClient, id: str) -> str:
    return str(admin.approval(id)["state"])


def test_a_held_request_is_answered_by_the_upstream_once_it_is_approved(gateway, api, admin):
    client = curl(gateway, "/v1/refunds")
    (waiting,) = pending(admin)
    assert not posts(api)
    assert waiting["detail"]["body"] == '{"amount": 5}'
    assert admin.decide(waiting["id"], "approve", "")["state"] == "granted"
    out, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    assert " 403 " not in out.splitlines()[2]
    assert posts(api) == 1


def test_a_refused_request_reads_who_and_why_as_problem_json(gateway, api, admin):
    client = curl(gateway, "/v1/refunds")
    (waiting,) = pending(admin)
    admin.decide(waiting["id"], "deny", "too much")
    out, _ = client.communicate(timeout=60)
    body = json.loads(out.rpartition("\n")[2])
    assert body["status"] == 403
    assert body["approval"] == {"id": waiting["id"], "state": "refused"}
    assert "alice" in body["detail"]
    assert "too much" in body["detail"]
    assert not posts(api)


def test_a_client_that_gave_up_gets_the_granted_one_when_it_repeats_the_request(gateway, api, admin):
    client = curl(gateway, "/v1/refunds", "--max-time", "3")
    (waiting,) = pending(admin)
    client.communicate(timeout=60)
    assert client.returncode == 28
    wait_until(lambda: not admin.approval(waiting["id"])["waiting"])
    assert state(admin, waiting["id"]) == "pending", "a repeat may still have it"
    admin.decide(waiting["id"], "approve", "")
    assert not posts(api), "nobody is there: nothing runs"
    out, _ = curl(gateway, "/v1/refunds").communicate(timeout=60)
    assert posts(api) == 1, out
    assert state(admin, waiting["id"]) == "used"
    again = curl(gateway, "/v1/refunds")
    (other,) = pending(admin)
    assert other["id"] != waiting["id"]
    admin.decide(other["id"], "deny", "")
    again.communicate(timeout=60)


def test_a_repeat_over_another_version_of_http_is_the_same_request(gateway, api, admin):
    client = curl(gateway, "/v1/refunds", "--http2", "--max-time", "3")
    (waiting,) = pending(admin)
    client.communicate(timeout=60)
    wait_until(lambda: not admin.approval(waiting["id"])["waiting"])
    admin.decide(waiting["id"], "approve", "")
    out, _ = curl(gateway, "/v1/refunds", "--http1.1", "--max-time", "60").communicate(timeout=90)
    assert posts(api) == 1, out
    assert state(admin, waiting["id"]) == "used"


def open_websocket(gateway: Gateway) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", gateway.setup.http_port), 30)
    login = base64.b64encode(f"x:{gateway.setup.mint('devin', run='run-1')}".encode()).decode()
    sock.sendall(f"CONNECT billing.internal:443 HTTP/1.1\r\nHost: billing.internal:443\r\n"
                 f"Proxy-Authorization: Basic {login}\r\n\r\n".encode())  # fmt: skip
    assert b" 200 " in sock.recv(1000)
    context = ssl.create_default_context(cafile=str(gateway.proxy_ca))
    client = context.wrap_socket(sock, server_hostname="billing.internal")
    client.sendall(
        b"GET /ws HTTP/1.1\r\nHost: billing.internal\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " in client.recv(1000)
    return client


def messages(api: HttpsApi) -> list[bytes]:
    return [request.body for request in api.requests if request.method == "WEBSOCKET"]


def test_a_message_of_a_websocket_waits_and_goes_on_once_it_is_approved(gateway, api, admin):
    with open_websocket(gateway) as client:
        client.sendall(frame(b"pay"))
        (waiting,) = pending(admin)
        assert not messages(api)
        admin.decide(waiting["id"], "approve", "")
        wait_until(lambda: messages(api) == [b"pay"])


def test_a_message_of_a_client_that_left_takes_its_request_back(gateway, api, admin):
    with open_websocket(gateway) as client:
        client.sendall(frame(b"pay"))
        (waiting,) = pending(admin)
    wait_until(lambda: state(admin, waiting["id"]) == "cancelled")
    with pytest.raises(AdminError, match="cancelled"):
        admin.decide(waiting["id"], "approve", "")
    assert not messages(api)


def test_a_message_that_is_too_long_to_be_bound_is_not_granted_to_a_repeat(gateway, api, admin):
    with open_websocket(gateway) as client:
        for number in range(20):
            client.sendall(frame(b"x" * 60_000, opcode=0 if number else 1, final=number == 19))
        opcode, data = read_frame(client)
    assert opcode == 8
    assert b"approval required" in data
    assert not admin.approvals()
    assert not messages(api)


def test_where_the_policy_does_not_hold_the_connection_the_client_is_told_when_to_ask_again(gateway, api, admin):
    out, _ = curl(gateway, "/v1/later").communicate(timeout=60)
    (waiting,) = pending(admin)
    head = out.lower()
    assert "retry-after: 30" in head
    assert f"onrecord-approval: {waiting['id']}" in head
    assert not posts(api)
    admin.decide(waiting["id"], "approve", "")
    curl(gateway, "/v1/later", "-d", "other").communicate(timeout=60)
    assert not posts(api), "another body is another command"
    curl(gateway, "/v1/later").communicate(timeout=60)
    assert posts(api) == 1


def test_other_streams_of_an_http2_connection_go_on(gateway, api, admin):
    import asyncio
    import ssl

    async def both() -> tuple[int, int]:
        context = ssl.create_default_context(cafile=str(gateway.proxy_ca))
        proxy = gateway.proxy(gateway.setup.mint("devin", run="run-1"))
        async with httpx.AsyncClient(http2=True, proxy=proxy, verify=context, timeout=60, trust_env=False) as client:
            held = asyncio.create_task(client.post("https://billing.internal/v1/refunds", content=b"{}"))
            (waiting,) = await asyncio.to_thread(pending, admin)
            other = await client.get("https://billing.internal/v1/invoices/inv_0002")
            await asyncio.to_thread(admin.decide, waiting["id"], "approve", "")
            return other.status_code, (await held).status_code

    assert asyncio.run(both())[0] == 200
    assert posts(api) == 1


def test_a_kill_closes_the_connection_and_lets_no_new_one_in(gateway, api, admin):
    with pytest.raises(AdminError, match="none of the groups"):
        admin.kill("identity", "devin", "leaked")
    client = curl(gateway, "/v1/refunds")
    (waiting,) = pending(admin)
    token = gateway.setup.mint("root", groups=("ops",), human=True)
    with AdminClient(f"http://127.0.0.1:{gateway.setup.admin_port}", token) as operator:
        kill = operator.kill("identity", "devin", "leaked")["id"]
        client.communicate(timeout=60)
        wait_until(lambda: state(admin, waiting["id"]) == "cancelled")
        out, err = curl(gateway, "/v1/refunds").communicate(timeout=60)
        assert "response 403" in err, out
        (refused,) = [one for one in log(gateway) if one["verdict"]["policy"] == "onrecord:kill"]
        assert refused["verdict"]["reason"] == "stopped by root: leaked"
        operator.lift(kill)
        again = curl(gateway, "/v1/refunds")
        (waiting,) = pending(admin)
        admin.decide(waiting["id"], "approve", "")
        again.communicate(timeout=60)
    assert posts(api) == 1
