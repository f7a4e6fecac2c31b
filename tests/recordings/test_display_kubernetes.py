"""A Kubernetes session as people read it."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from onrecord.recordings.display.kubernetes import Changes, render_request


def shown(renderable: Any) -> str:
    console = Console(width=200, color_system=None, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(renderable)
    console.file.close()
    return console.export_text()


def command(verb: str, answer: Any = None, **detail: Any) -> dict[str, Any]:
    body = None if answer is None else {"body": json.dumps(answer)}
    return {
        "kind": "kubernetes",
        "text": f"kubectl {verb}",
        "detail": {"verb": verb, "group": "apps", "resource": "deployments", "namespace": "shop", **detail},
        "outcome": {"status": "ok", "sample": body},
    }


def deployment(replicas: int, version: str = "1") -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "shop", "resourceVersion": version, "managedFields": [{"x": version}]}
    return {"metadata": metadata, "spec": {"replicas": replicas}, "status": {"observed": version}}


def test_the_raw_request_stands_below_the_kubectl_line() -> None:
    view = {
        "text": "kubectl get pods -n shop",
        "detail": {"method": "GET", "path": "/api/v1/namespaces/shop/pods\x1b[2J", "query": [["limit", "500"]]},
    }
    text = shown(render_request(view))
    assert "kubectl get pods -n shop\nGET /api/v1/namespaces/shop/pods" in text
    assert "?limit=500" in text
    assert "\x1b" not in text


def test_a_write_is_shown_as_what_it_changed() -> None:
    changes = Changes()
    assert changes.learn(command("list", {"items": [deployment(2)]})) is None
    text = shown(changes.learn(command("patch", deployment(5, "2"), name="web")))
    assert '-    "replicas": 2' in text
    assert '+    "replicas": 5' in text
    assert "resourceVersion" not in text
    assert "nothing changed" in shown(changes.learn(command("update", deployment(5, "3"))))


def test_an_object_that_was_not_seen_before_is_shown_whole() -> None:
    text = shown(Changes().learn(command("create", deployment(1))))
    assert '+    "replicas": 1' in text


def test_a_delete_shows_what_is_gone() -> None:
    changes = Changes()
    changes.learn(command("get", deployment(1), name="web"))
    assert '-    "replicas": 1' in shown(changes.learn(command("delete", name="web")))


def test_a_dry_run_and_a_failure_change_nothing() -> None:
    changes = Changes()
    assert changes.learn(command("patch", deployment(5), dry_run=True)) is None
    assert changes.learn({**command("patch"), "outcome": {"status": "error", "sample": {"body": "{}"}}}) is None


def test_junk_is_no_object() -> None:
    for body in ("", "[", "[1]", "null", '{"items": 3}', '{"metadata": []}', "[" * 100_000):
        view = command("patch")
        view["outcome"]["sample"] = {"body": body}
        assert Changes().learn(view) is None
