"""policies/config/listeners.py and the checks of `listen`: a cluster's own listener is one of the gateway's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.config import Address, load_config
from onrecord.policies.config.listeners import all_listeners
from onrecord.policies.errors import ConfigError
from tests.helpers import free_ports, make_config

RESOURCE = {"type": "kubernetes", "hosts": ["prod.k8s.internal"], "groups": ["agents"]}


def problems(tmp_path: Path, gateway: dict[str, Any] | None = None, **more: Any) -> list[tuple[str, str]]:
    setup = make_config(tmp_path, resources={"prod": {**RESOURCE, **more}}, gateway=gateway)
    with pytest.raises(ConfigError) as caught:
        load_config(setup.path)
    return [(problem.path, problem.reason) for problem in caught.value.problems]


def test_all_listeners_are_named_by_their_keys(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    setup = make_config(tmp_path, resources={"prod": {**RESOURCE, "listen": f"127.0.0.1:{port}"}})
    found = all_listeners(load_config(setup.path))
    assert set(found) == {"gateway.http", "gateway.postgres", "resources.prod.listen"}
    assert found["resources.prod.listen"] == Address("127.0.0.1", port)


@pytest.mark.parametrize("listen", ["6443", "::1:6443", ":6443", "127.0.0.1:0"])
def test_what_is_no_address_is_refused(tmp_path: Path, listen: str) -> None:
    assert problems(tmp_path, listen=listen)[0][0].endswith("resources.prod.listen")


def test_an_address_that_is_taken_is_refused(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    found = problems(tmp_path, {"http": f"127.0.0.1:{port}"}, listen=f"0.0.0.0:{port}")
    assert any(path.endswith("resources.prod.listen") and "gateway.http" in reason for path, reason in found)


def test_a_listener_for_other_hosts_needs_a_certificate(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    issuers = problems(tmp_path, listen=f"0.0.0.0:{port}")
    assert any(path.endswith("resources.prod.listen") and "[gateway.tls]" in reason for path, reason in issuers)
    assert any("onrecord:dev" in reason and "resources.prod.listen" in reason for _, reason in issuers)


def test_without_the_http_gateway_nobody_would_serve_it(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    found = problems(tmp_path, {"http": None}, listen=f"127.0.0.1:{port}")
    assert any(path.endswith("resources.prod.listen") and "no gateway.http" in reason for path, reason in found)


def test_an_upstream_that_is_a_clusters_own_listener_is_refused(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    found = problems(tmp_path, listen=f"127.0.0.1:{port}", upstream=f"https://127.0.0.1:{port}")
    assert any(path.endswith("resources.prod.upstream") and "itself" in reason for path, reason in found)


def test_a_cluster_of_wildcards_has_no_name_to_be_served_under(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    found = problems(tmp_path, listen=f"127.0.0.1:{port}", hosts=["*.k8s.internal"])
    assert any(path.endswith("resources.prod.hosts") and "wildcards" in reason for path, reason in found)
