"""A gateway in front of the small API server, and kubectl with a kubeconfig that holds no cluster credential."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onrecord.recordings.frames import Kind
from onrecord.scripts.parts.kube_api import KubeApi
from tests.addons.gateway_process import GatewayProcess, gateway_process
from tests.helpers import make_config

TOKEN = "cluster-token-5e1d0c9a7b"
HOST = "prod.k8s.internal"
KUBECTL = str(Path(sys.executable).parent / "kubectl")
_CACHE = os.environ.get("ONRECORD_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/onrecord"
OLD = f"{_CACHE}/kubectl-1.20/usr/bin/kubectl"  # scripts/setup-kubectl: Debian's kubernetes-client


def kube_resource(api: KubeApi, **more: Any) -> dict[str, Any]:
    """A `[resources.NAME]` table for the part; its token is read from CLUSTER_TOKEN."""
    return {
        "type": "kubernetes",
        "hosts": [api.names[0]],
        "upstream": f"https://{api.host}:{api.port}",
        "ca": f"file:{api.ca}",
        "token": "env:CLUSTER_TOKEN",
        "groups": ["agents"],
        "default": "allow",
    } | more


@dataclass
class Cluster:
    """The parts. `kubectl` runs the real one; `api.audit` is what the API server saw."""

    gateway: GatewayProcess
    api: KubeApi
    folder: Path
    program: str = KUBECTL
    is_straight: bool = False

    @property
    def straight(self) -> str:
        """`host:port` of the cluster's own listener."""
        return str(tomllib.loads(self.gateway.setup.path.read_text())["resources"]["prod"]["listen"])

    def straight_kubeconfig(self, *, namespace: str = "shop", token: str = "", server: str = "") -> Path:
        """A kubeconfig that names the cluster's own listener, and no proxy."""
        path = self.folder / f"kubeconfig-{namespace}-straight{'-other' if token or server else ''}"
        cluster = {"server": server or f"https://{self.straight}", "certificate-authority": str(self.gateway.ca)}
        context = {"cluster": "prod", "user": "agent", "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "prod",
            "clusters": [{"name": "prod", "cluster": cluster}],
            "users": [{"name": "agent", "user": {"token": token or self.gateway.token}}],
            "contexts": [{"name": "prod", "context": context}],
        }
        path.write_text(json.dumps(document))
        path.chmod(0o600)
        return path

    def kubeconfig(self, *, namespace: str = "shop", token: str = "", server: str = "", inside: bool = False) -> Path:
        """A kubeconfig that goes through the gateway's proxy; its user's token is worth nothing to the cluster.

        `inside`: the proxy's URL holds no credential, the user's token is the agent's own.
        """
        own = token or self.gateway.token
        proxy = self.gateway.proxy(own)
        path = self.folder / f"kubeconfig-{namespace}{'-inside' if inside else ''}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "prod",
            "clusters": [
                {
                    "name": "prod",
                    "cluster": {
                        "server": server or f"https://{HOST}",
                        "proxy-url": proxy.replace(f"agent:{own}@", "") if inside else proxy,
                        "certificate-authority": str(self.gateway.ca),
                    },
                }
            ],
            "users": [{"name": "agent", "user": {"token": own if inside else "agents-own-token"}}],
            "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "agent", "namespace": namespace}}],
        }
        path.write_text(json.dumps(document))
        path.chmod(0o600)
        return path

    def environment(self) -> dict[str, str]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        config = self.straight_kubeconfig() if self.is_straight else self.kubeconfig()
        return {**kept, "HOME": str(home), "KUBECONFIG": str(config)}

    def kubectl(
        self, *arguments: str, input: str | None = None, env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl to its end."""
        return subprocess.run(
            [self.program, *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**self.environment(), **(env or {})},
        )

    def run(self, *arguments: str, input: str | None = None, env: Mapping[str, str] | None = None) -> str:
        """What kubectl printed; it must succeed."""
        done = self.kubectl(*arguments, input=input, env=env)
        assert done.returncode == 0, f"kubectl {arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def commands(self) -> list[dict[str, Any]]:
        return [command for command in self.gateway.commands() if command["kind"] == "kubernetes"]

    def check_oracle(self, since: int = 0) -> None:
        """Each entry of the cluster's audit log has its record (by id), and no allowed record lacks an entry."""
        records = self.gateway.records(Kind.COMMAND)
        allowed = [
            r.id for r in records if r.payload["kind"] == "kubernetes" and r.payload["verdict"]["type"] == "allow"
        ]
        entries = [entry.id for entry in self.api.audit]
        assert sorted(entries) == sorted(allowed)


@contextlib.contextmanager
def cluster(
    folder: Path,
    *,
    resource: Mapping[str, Any] | None = None,
    policies: Sequence[str] = (),
    masks: Sequence[Mapping[str, Any]] = (),
    env: Mapping[str, str] | None = None,
    api: KubeApi | None = None,
    others: Mapping[str, Any] | None = None,
    gateway: Mapping[str, Any] | None = None,
    **more: Any,
) -> Iterator[Cluster]:
    """`policies` are texts of policy files, or library:NAME."""
    files = []
    for number, text in enumerate(policies):
        if text.startswith("library:"):
            files.append({"file": text})
            continue
        path = folder / f"policy_{number}.py"
        path.write_text(text)
        path.chmod(0o600)
        files.append({"file": str(path)})
    with api or KubeApi(HOST, tokens=[TOKEN]) as server:
        setup = make_config(
            folder,
            resources={"prod": kube_resource(server, **(resource or {})), **(others or {})},
            policies=files,
            masks=masks,
            gateway={"postgres": None, **(gateway or {})},
            env={"CLUSTER_TOKEN": TOKEN, **(env or {})},
            **more,
        )
        with gateway_process(setup) as process:
            yield Cluster(process, server, folder)
