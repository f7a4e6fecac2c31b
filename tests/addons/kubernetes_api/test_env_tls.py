"""What `onrecord env` prints is what the listeners speak: with `[gateway.tls]`, TLS on loopback too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from onrecord.policies.config import load_config
from onrecord.scripts.environment import agent_environment
from onrecord.scripts.parts.certs import Authority
from tests.addons.kubernetes_api.cluster import HOST, KUBECTL, OLD, Cluster, cluster
from tests.helpers import free_port


@pytest.fixture(scope="module", params=["by the proxy", "straight"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder / "ca", "of the house")
    pair = authority.issue("localhost", file="listener")
    pair.cert.write_bytes(pair.cert.read_bytes() + authority.cert.read_bytes())  # a private CA is told by its root
    listen = {"listen": f"127.0.0.1:{free_port()}"} if request.param == "straight" else {}
    tls = {"tls": {"cert": str(pair.cert), "key": str(pair.key)}}
    with cluster(folder, gateway=tls, resource=listen) as parts:
        yield parts


@pytest.mark.parametrize("program", [KUBECTL, OLD])
def test_kubectl_and_curl_work_with_what_env_prints(shared: Cluster, program: str) -> None:
    agents = shared.folder / "agent"
    variables = agent_environment(load_config(shared.gateway.setup.path), shared.gateway.token, agents)
    assert variables["HTTPS_PROXY"].startswith("https://")
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = {**kept, **variables, "HOME": str(shared.folder)}

    def run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    before = len(shared.api.audit)
    assert "default" in run(program, "get", "namespaces")
    assert len(shared.api.audit) > before
    bundle = variables["SSL_CERT_FILE"]
    assert '"major"' in run("curl", "-sS", "--proxy-cacert", bundle, "--cacert", bundle, f"https://{HOST}/version")
