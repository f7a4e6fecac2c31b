"""An informer's life in compressed form: lists, watches, bookmarks, time limits, and versions that are gone."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx

from tests.addons.kubernetes_api.cluster import cluster
from tests.helpers import free_port

PATH = "/api/v1/namespaces/shop/configmaps"
CARD = "4111 1111 1111 1111"


class Informer:
    """A cache that is kept by list and watch, as client libraries do it."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.cache: dict[str, Any] = {}
        self.version = ""
        self.lists = self.bookmarks = 0

    def relist(self) -> None:
        answer = self.client.get(PATH, params={"limit": "500"}).raise_for_status().json()
        self.cache = {one["metadata"]["name"]: one.get("data") for one in answer["items"]}
        self.version = answer["metadata"]["resourceVersion"]
        self.lists += 1

    def turn(self) -> None:
        """One watch up to its time limit; a list first where there is no version to watch from."""
        if not self.version:
            self.relist()
        query = {"watch": "true", "resourceVersion": self.version, "timeoutSeconds": "1", "allowWatchBookmarks": "true"}
        with self.client.stream("GET", PATH, params=query) as answer:
            if answer.status_code == 410:
                assert json.loads(answer.read())["reason"] == "Expired"
                self.version = ""
                return
            assert answer.status_code == 200
            for line in answer.iter_lines():
                event = json.loads(line)
                metadata = event["object"]["metadata"]
                self.version = metadata["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    self.bookmarks += 1
                elif event["type"] == "DELETED":
                    self.cache.pop(metadata["name"], None)
                else:
                    self.cache[metadata["name"]] = event["object"].get("data")


def test_an_informer_keeps_its_cache_through_bookmarks_time_limits_and_versions_that_are_gone(tmp_path: Path) -> None:
    resource = {"listen": f"127.0.0.1:{free_port()}"}
    with cluster(tmp_path, resource=resource, masks=[{"detect": ["payment_card"]}]) as parts:
        context = ssl.create_default_context(cafile=str(parts.gateway.ca))
        headers = {"Authorization": f"Bearer {parts.gateway.token}"}
        with httpx.Client(
            verify=context, base_url=f"https://{parts.straight}", headers=headers, timeout=60, trust_env=False
        ) as client:
            informer = Informer(client)
            for turn in range(6):
                metadata = {"name": f"c-{turn}", "namespace": "shop"}
                parts.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"card": CARD}})
                if turn in (2, 4):
                    parts.api.store.oldest = parts.api.store.version  # what was before it is compacted away
                    informer.version = str(int(informer.version) - 1)
                informer.turn()
            informer.turn()
        assert informer.lists == 3
        assert informer.bookmarks >= 4
        assert informer.cache == {f"c-{turn}": {"card": "[redacted]"} for turn in range(6)}
        commands = parts.commands()
        assert [one["detail"]["verb"] for one in commands].count("list") == 3
        assert [one["detail"]["verb"] for one in commands].count("watch") == 7
        assert CARD not in json.dumps([record.payload for record in parts.gateway.records()])
        parts.check_oracle()
