"""exec, attach, cp, terminals and port-forward straight at the cluster's own listener: the tests of the proxy's way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.addons.kubernetes_api.cluster import Cluster
from tests.addons.kubernetes_api.streams.test_kubectl_streams import (
    Pods,
    pods,
    test_a_denied_exec_never_reaches_the_cluster,
    test_a_killed_client_ends_the_process_in_the_pod,
    test_a_new_kubectl_that_is_told_to_speak_spdy_is_served_too,
    test_a_port_that_policy_denies_is_not_dialled,
    test_a_shell_on_a_terminal_with_a_resize_is_recorded_whole,
    test_attach_is_recorded_like_exec,
    test_cp_goes_both_ways,
    test_exec_has_its_output_its_errors_and_its_exit_code,
    test_port_forward_carries_several_connections_and_counts_them,
    test_the_audit_log_of_the_cluster_and_the_records_agree,
)
from tests.helpers import free_port

__all__ = [
    "test_a_denied_exec_never_reaches_the_cluster",
    "test_a_killed_client_ends_the_process_in_the_pod",
    "test_a_new_kubectl_that_is_told_to_speak_spdy_is_served_too",
    "test_a_port_that_policy_denies_is_not_dialled",
    "test_a_shell_on_a_terminal_with_a_resize_is_recorded_whole",
    "test_attach_is_recorded_like_exec",
    "test_cp_goes_both_ways",
    "test_exec_has_its_output_its_errors_and_its_exit_code",
    "test_port_forward_carries_several_connections_and_counts_them",
    "test_the_audit_log_of_the_cluster_and_the_records_agree",
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    listen = f"127.0.0.1:{free_port()}"
    with pods(tmp_path_factory.mktemp("straight"), resource={"listen": listen}) as made:
        made.parts.is_straight = True
        yield made


@pytest.fixture(params=["1.37", "1.20"])
def kubectl(request: pytest.FixtureRequest, shared: Pods) -> Cluster:
    return shared.client(request.param)


@pytest.mark.parametrize("version", ["1.37", "1.20"])
def test_the_listener_is_what_was_used(shared: Pods, version: str) -> None:
    parts = shared.client(version)
    assert "proxy-url" not in parts.straight_kubeconfig().read_text()
    assert parts.run("exec", "web", "--", "echo", "straight") == "straight\n"
    assert not [record for record in parts.gateway.refusals() if "CONNECT" in record["text"]]
