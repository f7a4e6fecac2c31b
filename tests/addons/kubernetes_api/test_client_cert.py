"""`client_cert`: an API server that lets in nobody without a certificate of its own authority."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onrecord.scripts.parts.certs import Authority
from onrecord.scripts.parts.kube_api import KubeApi
from tests.addons.gateway_process import gateway_process
from tests.addons.kubernetes_api.cluster import HOST, KUBECTL, OLD, Cluster, kube_resource
from tests.helpers import free_port, make_config


@contextlib.contextmanager
def demanding(folder: Path, *, signed_by: str = "clients", **more: Any) -> Iterator[Cluster]:
    """A cluster that demands certificates of "clients"; the gateway's is from the authority `signed_by`."""
    trusted = Authority(folder / "clients")
    issuer = trusted if signed_by == "clients" else Authority(folder / signed_by)
    pair = issuer.issue("onrecord-gateway", client=True)
    with KubeApi(HOST, client_ca=trusted.cert) as api:
        table = kube_resource(api, client_cert=str(pair.cert), client_key=f"file:{pair.key}", **more)
        del table["token"]
        setup = make_config(folder, resources={"prod": table}, gateway={"postgres": None})
        with gateway_process(setup) as gateway:
            yield Cluster(gateway, api, folder)


@pytest.mark.parametrize("program", [KUBECTL, OLD])
def test_the_gateway_shows_its_certificate_and_the_agents_token_stays_here(tmp_path: Path, program: str) -> None:
    with demanding(tmp_path, impersonate=True, listen=f"127.0.0.1:{free_port()}") as parts:
        parts.program = program
        for parts.is_straight in (False, True):
            parts.run("get", "configmaps", "-o", "name")
            headers = dict(parts.api.audit[-1].headers)
            assert "authorization" not in headers
            assert headers["impersonate-user"] == "onrecord:agent-7"


def test_a_certificate_of_another_authority_is_not_let_in_and_that_is_on_record(tmp_path: Path) -> None:
    with demanding(tmp_path, signed_by="others") as parts:
        parts.program = KUBECTL
        done = parts.kubectl("get", "--raw", "/version")
        assert done.returncode == 1
        assert not parts.api.audit
        assert parts.gateway.outcome("kubectl get --raw /version")["status"] == "aborted"
