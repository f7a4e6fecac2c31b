"""A cluster's own listener: real kubectl and raw clients straight at it, and everything that is not the cluster's."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived

from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.kube_api import KubeApi
from tests.addons.gateway_process import read_answer
from tests.addons.kubernetes_api.cluster import HOST, KUBECTL, OLD, TOKEN, Cluster, cluster, kube_resource
from tests.helpers import free_port, wait_until

POLICY = """
from onrecord.policies import Deny


class Rules:
    def kubernetes(self, command):
        return Deny("nothing is deleted", hint="scale it down") if command.verb == "delete" else None


addons = [Rules()]
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    resource = {"impersonate": True, "listen": f"127.0.0.1:{free_port()}"}
    with cluster(tmp_path_factory.mktemp("straight"), resource=resource, policies=[POLICY]) as parts:
        parts.is_straight = True
        parts.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "namespace": "shop"}})
        yield parts


@pytest.fixture(params=["new", "old"])
def kubectl(shared: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    shared.program = {"new": KUBECTL, "old": OLD}[request.param]
    yield shared
    shared.check_oracle()


def dial(parts: Cluster, *, sni: str | None = None, alpn: str = "http/1.1") -> ssl.SSLSocket:
    host, _, port = parts.straight.rpartition(":")
    context = ssl.create_default_context(cafile=str(parts.gateway.ca))
    context.set_alpn_protocols([alpn])
    return context.wrap_socket(socket.create_connection((host, int(port)), timeout=10), server_hostname=sni or host)


def ask(parts: Cluster, head: str, *, sni: str | None = None, token: str | None = None) -> tuple[int, bytes]:
    """One raw request, with the agent's token."""
    login = f"Authorization: Bearer {parts.gateway.token if token is None else token}\r\n" if token != "" else ""
    with dial(parts, sni=sni) as client:
        client.sendall(f"{head}\r\n{login}\r\n".encode())
        return read_answer(client)


def test_kubectl_reaches_the_cluster_without_a_proxy(kubectl: Cluster) -> None:
    assert "seen" in kubectl.run("get", "configmaps")
    entry = kubectl.api.audit[-1]
    assert entry.user == "onrecord:agent-7"
    assert dict(entry.headers)["authorization"] == f"Bearer {TOKEN}"
    assert dict(entry.headers)["host"] == HOST
    assert kubectl.gateway.token not in json.dumps(entry.headers)
    command = kubectl.commands()[-1]
    assert command["text"] == "kubectl get configmaps -n shop"
    session = kubectl.gateway.records(Kind.SESSION)[-1].payload
    assert (session["identity"]["subject"], session["protocol"]) == ("agent-7", "kubernetes")


def test_a_refusal_is_the_clusters_own_kind(kubectl: Cluster) -> None:
    denied = kubectl.kubectl("delete", "configmap", "seen")
    assert denied.returncode == 1
    assert "Error from server (Forbidden)" in denied.stderr
    assert "nothing is deleted (scale it down) [record " in denied.stderr


def test_writes_watches_and_http2_go_through(kubectl: Cluster) -> None:
    name = "made-old" if kubectl.program == OLD else "made-new"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    assert "created" in kubectl.run("apply", "-f", "-", "--validate=false", input=json.dumps(made))
    assert "configured" in kubectl.run(
        "apply", "-f", "-", "--validate=false", input=json.dumps({**made, "data": {"a": "1"}})
    )
    process = subprocess.Popen(
        [kubectl.program, "get", "configmaps", "-w", "-o", "name"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=kubectl.environment(),
    )  # fmt: skip
    try:
        wait_until(lambda: kubectl.api.open_watches > 0, timeout=30, what="the watch")
    finally:
        process.kill()
        process.communicate()
    wait_until(lambda: kubectl.api.open_watches == 0, timeout=30, what="the end of the watch")


@pytest.mark.parametrize("token", ["", "not.a.token", TOKEN])
def test_without_a_good_token_the_answer_is_the_clusters_401(shared: Cluster, token: str) -> None:
    before = len(shared.api.audit)
    code, answer = ask(shared, f"GET /api/v1/pods HTTP/1.1\r\nHost: {shared.straight}", token=token)
    assert code == 401
    status = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "Unauthorized", 401)
    assert len(shared.api.audit) == before
    assert shared.gateway.refusals()[-1]["what"] == "onrecord:identity"
    if token:
        assert token not in json.dumps(shared.gateway.refusals())


def test_an_expired_token_is_a_401_and_kubectl_says_so(shared: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.program = KUBECTL
    with monkeypatch.context() as patch:
        past = time.time() - 7200
        patch.setattr(time, "time", lambda: past)
        expired = shared.gateway.setup.mint()
    shared.run("get", "configmaps")  # of a discovery that fails kubectl shows no message
    path = str(shared.straight_kubeconfig(token=expired))
    done = shared.kubectl("--kubeconfig", path, "get", "configmaps")
    assert done.returncode == 1
    assert "You must be logged in to the server (onrecord:identity: the token was not accepted" in done.stderr


def test_another_groups_token_does_not_reach_the_cluster(shared: Cluster) -> None:
    before = len(shared.api.audit)
    token = shared.gateway.setup.mint("stranger", groups=["others"])
    code, answer = ask(shared, f"GET /api/v1/pods HTTP/1.1\r\nHost: {shared.straight}", token=token)
    assert code == 403
    assert b"in no group" in answer
    assert len(shared.api.audit) == before


@pytest.mark.parametrize(
    "head",
    [
        "GET /api/v1/pods HTTP/1.1\r\nHost: other.k8s.internal",
        "GET /api/v1/pods HTTP/1.1\r\nHost: onrecord.internal",
        "GET /api/v1/pods HTTP/1.1\r\nHost: onrecord.invalid",
        "GET /api/v1/pods HTTP/1.1\r\nHost: 10.0.0.9:6443",
        f"GET /api/v1/pods HTTP/1.1\r\nHost: {HOST}@other.k8s.internal",
        f"GET /api/v1/pods HTTP/1.1\r\nHost: {HOST}\r\nHost: other.k8s.internal",
        "GET /api/v1/pods HTTP/1.1\r\nX-None: 1",
        f"GET https://{HOST}/api/v1/pods HTTP/1.1\r\nHost: {HOST}",
        f"GET https://other.k8s.internal/api/v1/pods HTTP/1.1\r\nHost: {HOST}",
        f"GET http://{HOST}/api/v1/pods HTTP/1.1\r\nHost: {HOST}",
        f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443",
        "CONNECT other.k8s.internal:443 HTTP/1.1\r\nHost: other.k8s.internal:443",
    ],
)
def test_whatever_else_a_request_names_is_refused_and_on_record(shared: Cluster, head: str) -> None:
    before, known = len(shared.api.audit), len(shared.gateway.refusals())
    code, _ = ask(shared, head)
    assert code in (400, 421), code
    assert len(shared.api.audit) == before
    wait_until(lambda: len(shared.gateway.refusals()) > known, what="the refusal")


@pytest.mark.parametrize("host", [HOST, f"{HOST}:6443", "127.0.0.1", "localhost", "LOCALHOST.", "[::1]:1"])
def test_the_listeners_own_names_all_mean_the_one_cluster(shared: Cluster, host: str) -> None:
    code, _ = ask(shared, f"GET /api HTTP/1.1\r\nHost: {host}")
    assert code == 200
    assert dict(shared.api.audit[-1].headers)["host"] == HOST


def test_a_server_name_that_is_not_the_requests_is_refused(shared: Cluster) -> None:
    before = len(shared.api.audit)
    assert ask(shared, f"GET /api HTTP/1.1\r\nHost: {HOST}", sni=HOST)[0] == 200
    assert ask(shared, f"GET /api HTTP/1.1\r\nHost: {HOST}", sni="localhost")[0] == 421
    context = ssl.create_default_context(cafile=str(shared.gateway.ca))
    context.check_hostname = False
    host, _, port = shared.straight.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="other.k8s.internal") as client,
    ):
        names = [value for field in client.getpeercert()["subjectAltName"] for value in field[1:]]  # type: ignore[index]
        assert "other.k8s.internal" not in names  # no certificate is made for whatever a stranger names
        client.sendall(
            f"GET /api HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {shared.gateway.token}\r\n\r\n".encode()
        )
        assert read_answer(client)[0] == 421
    assert len(shared.api.audit) == before + 1


@pytest.mark.parametrize(
    "start", [b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 64]
)
def test_nothing_but_tls_is_spoken(shared: Cluster, start: bytes) -> None:
    known = len(shared.gateway.refusals())
    host, _, port = shared.straight.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(start)
        assert client.recv(100) == b""
    wait_until(lambda: len(shared.gateway.refusals()) > known, what="the refusal")
    last = shared.gateway.refusals()[-1]
    assert (last["reason"], last["resource"]) == ("this listener speaks TLS only", "prod")


def test_another_identity_on_the_same_connection_is_refused(shared: Cluster) -> None:
    second = shared.gateway.setup.mint("agent-8")
    head = f"GET /api HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer "
    with dial(shared) as client:
        client.sendall(f"{head}{shared.gateway.token}\r\n\r\n".encode())
        assert read_answer(client)[0] == 200
        client.sendall(f"{head}{second}\r\n\r\n".encode())
        assert read_answer(client)[0] == 403


@pytest.mark.parametrize("path", ["/api", "/api/v1/namespaces/shop/configmaps"])
def test_a_connection_is_closed_where_the_client_asks_for_it(shared: Cluster, path: str) -> None:
    login = f"Authorization: Bearer {shared.gateway.token}\r\nConnection: close\r\n"
    with dial(shared) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{login}\r\n".encode())
        data = b""
        while part := client.recv(65536):  # up to the end of the connection
            data += part
    assert data.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in data.lower()


def ask_http2(parts: Cluster, *requests: list[tuple[bytes, bytes]]) -> list[str]:
    """The statuses of requests on one HTTP/2 connection; "closed" where it ended instead."""
    found: list[str] = []
    with dial(parts, alpn="h2") as client:
        config = H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        connection = H2Connection(config)
        connection.initiate_connection()
        for fields in requests:
            connection.send_headers(connection.get_next_available_stream_id(), fields, end_stream=True)
            client.sendall(connection.data_to_send())
            wanted = len(found) + 1
            while len(found) < wanted:
                data = b""
                with contextlib.suppress(ConnectionError):
                    data = client.recv(65536)
                if not data:
                    return [*found, "closed"]
                for event in connection.receive_data(data):
                    if isinstance(event, ResponseReceived):
                        found += [value.decode() for name, value in event.headers if name == b":status"]
                    elif isinstance(event, ConnectionTerminated):
                        return [*found, "closed"]
    return found


def over_http2(
    parts: Cluster, authority: bytes, *more: tuple[bytes, bytes], token: str = ""
) -> list[tuple[bytes, bytes]]:
    login = b"Bearer " + (token or parts.gateway.token).encode()
    return [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", authority), (b":path", b"/api"),
            (b"authorization", login), *more]  # fmt: skip


@pytest.mark.parametrize(
    ("authority", "more", "answers"),
    [
        (HOST.encode(), (), ["200"]),
        (b"other.k8s.internal", (), ["421"]),
        (b"onrecord.internal", (), ["421"]),
        (b"x@" + HOST.encode(), (), ["closed"]),
        (HOST.encode(), ((b"host", b"other.k8s.internal"),), ["closed"]),
        (HOST.encode(), ((b"x-a", b"b\r\nimpersonate-user: admin"),), ["closed"]),
        (HOST.encode(), ((b"transfer-encoding", b"chunked"),), ["closed"]),
    ],
)
def test_no_authority_of_http2_leads_elsewhere(
    shared: Cluster, authority: bytes, more: tuple[tuple[bytes, bytes], ...], answers: list[str]
) -> None:
    before = len(shared.api.audit)
    assert ask_http2(shared, over_http2(shared, authority, *more)) == answers
    assert len(shared.api.audit) == before + (answers == ["200"])


def test_a_second_identity_on_one_http2_connection_is_refused(shared: Cluster) -> None:
    second = over_http2(shared, HOST.encode(), token=shared.gateway.setup.mint("agent-8"))
    assert ask_http2(shared, over_http2(shared, HOST.encode()), second) == ["200", "403"]


def test_the_proxy_does_not_lead_to_the_listener(shared: Cluster) -> None:
    client, head = shared.gateway.connect(shared.straight)
    with client:
        assert head.startswith(b"HTTP/1.1 403")


def test_two_clusters_have_a_listener_each_and_no_name_leads_from_one_to_the_other(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    one, two = KubeApi(HOST, tokens=[TOKEN]), KubeApi("stage.k8s.internal", tokens=["stage-token-77aa0e"])
    ports = [free_port(), free_port()]
    with two:
        stage = kube_resource(two, token="env:STAGE_TOKEN", listen=f"127.0.0.1:{ports[1]}")
        with cluster(
            tmp_path_factory.mktemp("two"), api=one, resource={"listen": f"127.0.0.1:{ports[0]}"},
            others={"stage": stage}, env={"STAGE_TOKEN": "stage-token-77aa0e"},
        ) as parts:  # fmt: skip
            assert ask(parts, f"GET /api HTTP/1.1\r\nHost: {HOST}")[0] == 200
            assert ask(parts, "GET /api HTTP/1.1\r\nHost: stage.k8s.internal")[0] == 421
            assert (len(one.audit), len(two.audit)) == (1, 0)
            path = parts.straight_kubeconfig(server=f"https://127.0.0.1:{ports[1]}")
            parts.run("--kubeconfig", str(path), "get", "pods")
            assert len(one.audit) == 1
            assert len(two.audit) > 0
            assert parts.gateway.records(Kind.SESSION)[-1].payload["resource"] == "stage"
