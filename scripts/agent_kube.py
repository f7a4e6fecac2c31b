"""The kubeconfig with which an agent's `kubectl` and client libraries go through the gateway: by its proxy, or straight
to the listener that a cluster has for itself (`listen`).

It is beside the gateway's keys in `state/kube` and holds no secret. Its credential plugin hands over the agent's own
token, which is in the environment as for every other tool, each time that it is asked; the gateway takes the token for
the agent's word of who it is, and puts the cluster's credential in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onrecord.policies.config import Address, KubernetesResource
from onrecord.policies.config.listeners import direct_listeners
from onrecord.policies.errors import ConfigError, Problem
from onrecord.scripts.agent_files import TOKEN_FILE, make_folder, write_file

if TYPE_CHECKING:
    from onrecord.policies.config import Config

TOKEN = "ONRECORD_KUBE_TOKEN"  # noqa: S105  # a variable's name

PLUGIN = f"""#!/bin/sh
# A client-go credential plugin: the agent's own token, from the file that {TOKEN_FILE} names or from {TOKEN}.
if [ -r "${TOKEN_FILE}" ]; then token=$(cat "${TOKEN_FILE}") || exit 1; else token="${TOKEN}"; fi
case "$token" in *[!A-Za-z0-9._~+/=-]*|"") echo "no token in {TOKEN_FILE} or {TOKEN}" >&2; exit 1 ;; esac
version=client.authentication.k8s.io/v1beta1
printf '{{"apiVersion":"%s","kind":"ExecCredential","status":{{"token":"%s"}}}}' "$version" "$token"
"""


@dataclass(frozen=True, slots=True)
class Straight:
    """A listener that serves one cluster alone: where clients find it, and which CA file vouches for it."""

    address: str
    ca: Path


def kube_environment(
    config: Config,
    ca: Path,
    proxy: str,
    token: str,
    folder: Path | None = None,
    straight: Mapping[str, Straight] | None = None,
) -> dict[str, str]:
    """KUBECONFIG and the token for its plugin, where there is a cluster; writes the files into `folder`, else into
    `state/kube`. Raises ConfigError.

    `proxy` is the proxy's URL without a credential, `straight` the clusters with listeners of their own, by name.
    """
    straight = straight or {}
    clusters = [one for one in config.resources.values() if isinstance(one, KubernetesResource) and _server(one)]
    if not clusters:
        return {}
    path = (folder or config.gateway.state / "kube") / "config"
    try:
        make_folder(path.parent)
        plugin = path.parent / "credential"
        write_file(plugin, PLUGIN, 0o755)
        write_file(path, json.dumps(kubeconfig(clusters, ca, proxy, plugin, straight), indent=2) + "\n")
    except OSError as error:
        text = f"cannot write the kubeconfig: {error.strerror}"
        raise ConfigError([Problem(str(path), text, "run as the gateway's user")]) from None
    return {"KUBECONFIG": str(path), TOKEN: token}


def kubeconfig(
    clusters: list[KubernetesResource],
    ca: Path,
    proxy: str,
    plugin: Path,
    straight: Mapping[str, Straight] | None = None,
) -> dict[str, Any]:
    """One context a cluster, named as the resource; the first is the current one. JSON is YAML."""
    straight = straight or {}

    def way(one: KubernetesResource) -> dict[str, str]:
        direct = straight.get(one.name)
        if direct is None:
            return {"server": _server(one), "certificate-authority": str(ca), "proxy-url": proxy}
        return {"server": f"https://{direct.address}{one.prefix}", "certificate-authority": str(direct.ca)}

    exec = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",  # what 1.20 and the newest both speak
        "command": str(plugin),
        "interactiveMode": "Never",
        "provideClusterInfo": False,
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": clusters[0].name,
        "clusters": [{"name": one.name, "cluster": way(one)} for one in clusters],
        "users": [{"name": "agent", "user": {"exec": exec}}],
        "contexts": [{"name": one.name, "context": {"cluster": one.name, "user": "agent"}} for one in clusters],
    }


def straight_ways(config: Config, ca: Path, host_of: Callable[[str], str]) -> dict[str, Straight]:
    """The listeners of clusters; `host_of` says under which name clients reach a listener's host."""
    return {one.name: Straight(str(Address(host_of(at.host), at.port)), ca) for one, at in direct_listeners(config)}


def _server(resource: KubernetesResource) -> str:
    """The address that agents use; "" where only wildcards are configured."""
    host = next((host for host in resource.hosts if not host.startswith("*.")), "")
    if not host:
        return ""
    return f"https://{f'[{host}]' if ':' in host else host}{resource.prefix}"
