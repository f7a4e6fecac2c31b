"""From the kubeconfig to the first replay: `onrecord up`, `env`, kubectl, `log`, `show`, `replay`, `verify`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from onrecord.scripts.parts.kube_api import KubeApi
from tests.addons.kubernetes_api.cluster import HOST, KUBECTL, TOKEN, kube_resource
from tests.helpers import make_config, running_gateway, wait_until


def test_from_the_kubeconfig_to_the_first_replay(tmp_path: Path) -> None:
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen", "namespace": "shop"}})
        setup = make_config(
            tmp_path,
            resources={"prod": kube_resource(api, impersonate=True)},
            policies=[{"file": "library:no_secrets"}],
            gateway={"postgres": None},
            env={"CLUSTER_TOKEN": TOKEN},
        )
        with running_gateway(setup) as gateway:
            token = tmp_path / "token.txt"
            token.write_text(setup.mint("devin"))
            printed = gateway.onrecord("env", "--json", "--token", str(token)).stdout
            home = tmp_path / "home"
            home.mkdir()
            variables = {**os.environ, **json.loads(printed), "HOME": str(home)}

            def kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
                return subprocess.run(
                    [KUBECTL, *arguments], capture_output=True, text=True, timeout=60, env=variables, check=False
                )

            assert "seen" in kubectl("get", "configmaps", "-n", "shop").stdout
            refused = kubectl("get", "secrets", "-n", "shop")
            assert "Secrets are not for agents" in refused.stderr
            kubectl("label", "configmap", "seen", "-n", "shop", "tier=front")
            assert api.store.get(("", "configmaps", "shop", "seen"))["metadata"]["labels"] == {"tier": "front"}

            def lines() -> list[dict[str, object]]:
                done = gateway.onrecord("log", "--json", "--kind", "kubernetes", "--limit", "100")
                return [json.loads(line) for line in done.stdout.splitlines()]

            wait_until(lambda: any("label" in str(line["text"]) or "patch" in str(line["text"]) for line in lines()))
            found = {str(line["text"]): line for line in lines()}
            listed = found["kubectl get configmaps -n shop"]
            assert listed["identity"]["subject"] == "devin"  # type: ignore[index]
            assert listed["protocol"] == "kubernetes"
            denied = found["kubectl get secrets -n shop"]
            assert denied["verdict"]["policy"] == "no_secrets"  # type: ignore[index]
            assert denied["outcome"]["code"] == "403"  # type: ignore[index]
            shown = gateway.onrecord("show", str(listed["id"])).stdout
            assert "configmaps" in shown
            replay = gateway.onrecord("replay", str(listed["session"]), "--no-wait").stdout
            assert "kubectl get configmaps -n shop" in replay
            assert json.loads(gateway.onrecord("verify", "--json").stdout)["ok"] is True
            assert listed["id"] in {entry.id for entry in api.audit}
            assert TOKEN not in gateway.output()
