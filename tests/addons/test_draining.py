"""A worker that is told to stop ends its sessions itself; one that is killed has its recorder say that it is gone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.recordings.frames import Kind
from onrecord.recordings.ingest import GONE
from onrecord.recordings.queries import Filters, Reader
from onrecord.scripts.parts.https_api import HttpsApi
from tests.addons.gateway_process import GatewayProcess, gateway_process, read_head
from tests.helpers import http_resource, make_config, wait_until

REASON = "the gateway was stopped"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with HttpsApi("billing.internal") as api:
        setup = make_config(tmp_path, resources={"billing": http_resource(api)}, policies=[])
        with gateway_process(setup) as running:
            yield running


def ends(gateway: GatewayProcess) -> list[str]:
    """Why sessions ended, as the store tells it."""
    with Reader(gateway.setup.store) as reader:
        found = [session["reason"] for session in reader.sessions(Filters())]
    return found if found and all(found) else []


@pytest.mark.parametrize(("signum", "reason"), [(signal.SIGTERM, REASON), (signal.SIGKILL, GONE)])
def test_an_idle_session_ends_with_the_true_reason(gateway: GatewayProcess, signum: int, reason: str) -> None:
    with gateway.tunnel() as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: billing.internal\r\n\r\n")
        assert read_head(client).startswith(b"HTTP/1.1 200")
        wait_until(lambda: gateway.records(Kind.SESSION), what="the session")
        gateway.worker.send_signal(signum)
        gateway.worker.wait(60)
        assert wait_until(lambda: ends(gateway), what="the end of the session") == [reason]
