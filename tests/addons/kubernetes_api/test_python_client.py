"""The Python client: typed calls, lists in pages, and watches that resume as informers do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.addons.kubernetes_api.cluster import Cluster, cluster

SCRIPT = """
import json, sys
from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
done = {}


def main():
    made = core.create_namespaced_config_map("shop", client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name="typed"), data={"a": "1"}))
    done["created"] = made.metadata.resource_version
    core.patch_namespaced_config_map("typed", "shop", {"data": {"b": "2"}})
    done["data"] = core.read_namespaced_config_map("typed", "shop").data
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map("many", limit=100, _continue=token)
        names += [one.metadata.name for one in page.items]
        token = page.metadata._continue
        if not token:
            break
    done["pages"] = len(names)
    # an informer's life in short: list, watch from there, and again, each time from where the last one ended
    seen = []
    version = core.list_namespaced_config_map("shop").metadata.resource_version
    for turn in range(20):
        core.create_namespaced_config_map("shop", client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"turn-{turn}")))
        for event in watch.Watch().stream(core.list_namespaced_config_map, "shop", resource_version=version,
                                          timeout_seconds=30):
            seen.append(event["object"].metadata.name)
            version = event["object"].metadata.resource_version
            break
    done["seen"] = seen
    try:
        core.delete_namespaced_config_map("typed", "shop")
    except ApiException as error:
        done["status"] = error.status
        done["message"] = json.loads(error.body)["message"]


main()
print(json.dumps(done))
"""
POLICY = """
from onrecord.policies import Deny


class Rules:
    def kubernetes(self, command):
        return Deny("nothing is deleted") if command.verb == "delete" else None


addons = [Rules()]
"""


@pytest.fixture
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("client"), policies=[POLICY], masks=[{"detect": ["payment_card"]}]) as running:
        yield running


def test_typed_calls_pages_watches_and_refusals(parts: Cluster) -> None:
    for number in range(250):
        metadata = {"name": f"c{number:04}", "namespace": "many"}
        parts.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    script = parts.folder / "client.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(parts.kubeconfig(inside=True))],
        capture_output=True,
        text=True,
        timeout=100,
        env=parts.environment(),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["data"] == {"a": "1", "b": "2"}
    assert found["pages"] == 250
    assert found["seen"] == [f"turn-{turn}" for turn in range(20)]
    assert found["status"] == 403
    assert "nothing is deleted" in found["message"]
    watches = [one for one in parts.commands() if one["detail"]["verb"] == "watch"]
    assert len(watches) == 20
    parts.check_oracle()
