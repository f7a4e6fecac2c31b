"""exec and port-forward with the official Python client: WebSocket channels, v4, on both."""

from __future__ import annotations

import gc
import socket
import ssl
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

from tests.addons.kubernetes_api.cluster import HOST
from tests.addons.kubernetes_api.streams.test_kubectl_streams import Pods, channel, chunks, pods

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    with pods(tmp_path_factory.mktemp("python")) as made:
        yield made


@pytest.fixture
def core(shared: Pods) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = client.Configuration()
        settings.host = f"https://{HOST}"
        settings.ssl_ca_cert = str(shared.parts.gateway.ca)
        settings.proxy = f"http://127.0.0.1:{shared.parts.gateway.setup.http_port}"
        # Its WebSockets do not take credentials from a proxy's URL: the agent says inside of the tunnel who it is.
        settings.api_key = {"authorization": f"Bearer {shared.parts.gateway.token}"}
        api = client.ApiClient(settings)
        yield client.CoreV1Api(api)
        gc.collect()  # the library leaves its sockets to the garbage collector


def test_exec_over_channels_has_its_streams_and_its_exit_code(shared: Pods, core: Any) -> None:
    socket_like = stream(
        core.connect_get_namespaced_pod_exec, "web", "shop",
        command=["sh", "-c", "read line; echo got $line; echo wrong >&2; exit 4"],
        stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False,
    )  # fmt: skip
    socket_like.write_stdin("hello\n")
    socket_like.run_forever(timeout=60)
    assert (socket_like.read_stdout(), socket_like.read_stderr()) == ("got hello\n", "wrong\n")
    assert socket_like.returncode == 4
    socket_like.close()
    text = "kubectl exec web -n shop -i -- sh -c 'read line; echo got $line; echo wrong >&2; exit 4'"
    assert shared.parts.gateway.outcome(text)["code"] == "4"
    assert channel(shared.parts, text, "stdin") == "hello\n"


def test_a_denied_exec_is_a_status(shared: Pods, core: Any) -> None:
    with pytest.raises(ApiException) as caught:
        stream(core.connect_get_namespaced_pod_exec, "web", "shop", command=["echo", "forbidden"], stdout=True)
    assert "403" in str(caught.value)


def test_a_port_forward_over_channels_carries_bytes_and_counts_them(shared: Pods, core: Any) -> None:
    forward = portforward(core.connect_get_namespaced_pod_portforward, "web", "shop", ports="7")
    tunnel: socket.socket | ssl.SSLSocket = forward.socket(7)
    tunnel.settimeout(30)
    tunnel.sendall(b"hello")
    assert tunnel.recv(100) == b"HELLO"
    tunnel.close()
    assert forward.error(7) is None
    text = "kubectl port-forward web -n shop 7"
    assert shared.parts.gateway.outcome(text)["bytes"] == 5
    kept = [chunk["data"] for chunk in chunks(shared.parts, text) if chunk.get("data")]
    assert kept == ["hello", "HELLO"]
