"""The kubeconfig with which an agent's `kubectl` and client libraries go through the gateway.

It is beside the gateway's keys in `state/kube` and holds no secret: the way leads over HTTPS_PROXY, which carries the
token as for every other tool. Its user's token is a placeholder (kubectl would ask for a user otherwise); the gateway
puts the cluster's credential in its place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onrecord.policies.config import KubernetesResource
from onrecord.policies.errors import ConfigError, Problem

if TYPE_CHECKING:
    from onrecord.policies.config import Config

PLACEHOLDER = "the-gateway-puts-its-own-credential-here"  # as it says: it opens nothing


def kube_environment(config: Config, ca: Path) -> dict[str, str]:
    """KUBECONFIG, where there is a cluster; writes the file. Raises ConfigError."""
    clusters = [one for one in config.resources.values() if isinstance(one, KubernetesResource) and _server(one)]
    if not clusters:
        return {}
    path = config.gateway.state / "kube" / "config"
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        content = json.dumps(kubeconfig(clusters, ca), indent=2) + "\n"
        if not path.exists() or path.read_text() != content:
            temporary = path.with_name(".config.new")
            temporary.write_text(content)
            temporary.chmod(0o644)
            temporary.replace(path)
    except OSError as error:
        text = f"cannot write the kubeconfig: {error.strerror}"
        raise ConfigError([Problem(str(path), text, "run as the gateway's user")]) from None
    return {"KUBECONFIG": str(path)}


def kubeconfig(clusters: list[KubernetesResource], ca: Path) -> dict[str, Any]:
    """One context a cluster, named as the resource; the first is the current one. JSON is YAML."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": clusters[0].name,
        "clusters": [
            {"name": one.name, "cluster": {"server": _server(one), "certificate-authority": str(ca)}}
            for one in clusters
        ],
        "users": [{"name": "agent", "user": {"token": PLACEHOLDER}}],
        "contexts": [{"name": one.name, "context": {"cluster": one.name, "user": "agent"}} for one in clusters],
    }


def _server(resource: KubernetesResource) -> str:
    """The address that agents use; "" where only wildcards are configured."""
    host = next((host for host in resource.hosts if not host.startswith("*.")), "")
    if not host:
        return ""
    return f"https://{f'[{host}]' if ':' in host else host}{resource.prefix}"
