"""Every verb that agents use, with a new and an old kubectl; the API server's audit log is the oracle."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from onrecord.recordings.frames import Kind
from tests.addons.kubernetes_api.cluster import KUBECTL, OLD, Cluster, cluster
from tests.helpers import wait_until

PROGRAMS = {"new": KUBECTL, "old": OLD}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-0", "namespace": "shop"},
    "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
}


def deployment(name: str, **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "nginx:1"}]},
            },
            **spec,
        },
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("verbs")) as parts:
        parts.api.add(POD)
        parts.api.write_log("shop", "web-0", "started")
        yield parts


@pytest.fixture(params=["new", "old"])
def kube(shared: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Both kubectls; afterwards each request that reached the API server has its record, and none lacks one."""
    shared.program = PROGRAMS[request.param]
    yield shared
    shared.check_oracle()


def last(kube: Cluster, verb: str, resource: str) -> dict[str, Any]:
    return next(
        one
        for one in reversed(kube.commands())
        if (one["detail"]["verb"], one["detail"]["resource"]) == (verb, resource)
    )


def is_old(kube: Cluster) -> bool:
    return kube.program == OLD


@contextlib.contextmanager
def started(kube: Cluster, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """kubectl while it runs, and the lines that it has printed."""
    import threading

    process = subprocess.Popen(
        [kube.program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=kube.environment(),
    )
    lines: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)  # noqa: PERF402  it is read while it grows

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()
        thread.join()
        assert process.stdout is not None
        process.stdout.close()


def test_create_get_replace_and_delete(kube: Cluster) -> None:
    text = json.dumps(deployment("made"))
    assert "created" in kube.run("create", "-f", "-", "--validate=false", input=text)
    assert last(kube, "create", "deployments")["detail"]["name"] == "made"
    found = json.loads(kube.run("get", "deployment", "made", "-o", "json"))
    assert found["spec"]["replicas"] == 1
    found["spec"]["replicas"] = 5
    assert "replaced" in kube.run("replace", "-f", "-", "--validate=false", input=json.dumps(found))
    assert last(kube, "update", "deployments")["action"] == "write"
    assert "deleted" in kube.run("delete", "deployment", "made", "--wait=false")
    assert last(kube, "delete", "deployments")["detail"]["name"] == "made"


def test_apply_on_the_client_and_on_the_server(kube: Cluster) -> None:
    text = json.dumps(deployment("applied"))
    kube.run("apply", "-f", "-", "--validate=false", input=text)
    text = json.dumps(deployment("applied", replicas=3))
    assert "configured" in kube.run("apply", "-f", "-", "--validate=false", input=text)
    assert last(kube, "patch", "deployments")["detail"]["patch_type"] == "strategic"
    kube.run("apply", "--server-side", "--force-conflicts", "-f", "-", "--validate=false", input=text)
    applied = [one["detail"] for one in kube.commands() if one["detail"]["patch_type"] == "apply"]
    assert "kubectl" in {one["field_manager"] for one in applied}
    kube.run("delete", "deployment", "applied", "--wait=false")


@pytest.mark.parametrize("kind", ["strategic", "merge", "json"])
def test_patches_of_all_types(kube: Cluster, kind: str) -> None:
    kube.api.add(deployment(f"patched-{kind}-{int(is_old(kube))}"))
    name = f"patched-{kind}-{int(is_old(kube))}"
    patch = '[{"op":"replace","path":"/spec/replicas","value":7}]' if kind == "json" else '{"spec":{"replicas":7}}'
    assert "patched" in kube.run("patch", "deployment", name, f"--type={kind}", "-p", patch)
    assert kube.api.store.get(("apps", "deployments", "shop", name))["spec"]["replicas"] == 7
    assert last(kube, "patch", "deployments")["detail"]["patch_type"] == kind


def test_edit_label_annotate_and_set_image(kube: Cluster) -> None:
    name = f"edited-{int(is_old(kube))}"
    kube.api.add(deployment(name))
    editor = {"KUBE_EDITOR": "sed -i s/nginx:1/nginx:2/"}
    assert "edited" in kube.run("edit", "deployment", name, "--validate=false", env=editor)
    kube.run("label", "deployment", name, "tier=front")
    kube.run("annotate", "deployment", name, "note=kept")
    kube.run("set", "image", f"deployment/{name}", "main=nginx:3")
    made = kube.api.store.get(("apps", "deployments", "shop", name))
    assert made["metadata"]["labels"]["tier"] == "front"
    assert made["metadata"]["annotations"]["note"] == "kept"
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:3"


def test_scale_rollout_and_wait(kube: Cluster) -> None:
    name = f"rolled-{int(is_old(kube))}"
    kube.api.add(deployment(name))
    kube.run("scale", f"deployment/{name}", "--replicas=3")
    scaled = next(one for one in reversed(kube.commands()) if one["detail"]["subresource"] == "scale")
    assert scaled["action"] in ("read", "write")
    assert kube.api.store.get(("apps", "deployments", "shop", name))["spec"]["replicas"] == 3
    kube.run("rollout", "restart", f"deployment/{name}")
    assert "successfully rolled out" in kube.run("rollout", "status", f"deployment/{name}", "--timeout=30s")
    kube.run("wait", f"deployment/{name}", "--for=condition=Available", "--timeout=30s")


def test_get_watch_delivers_each_event_as_it_comes_and_ends_with_the_client(kube: Cluster) -> None:
    before = kube.api.open_watches
    with started(kube, "get", "configmaps", "--watch", "-o", "name") as (_, lines):
        wait_until(lambda: kube.api.open_watches > before, what="the watch")
        for number in range(3):
            name = f"seen-{number}-{int(is_old(kube))}"
            kube.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}})
            wait_until(lambda: any(name in line for line in lines), what=name)  # noqa: B023  it is called at once
    wait_until(lambda: kube.api.open_watches == before, what="the upstream's end of the watch")
    assert last(kube, "watch", "configmaps")["action"] == "read"
    watches = [r for r in kube.gateway.records(Kind.COMMAND) if r.payload["detail"].get("verb") == "watch"]
    chunks = [r.payload for r in kube.gateway.records(Kind.CHUNK) if r.command == watches[-1].id]
    assert len(chunks) >= 3, "each event is on record as it flowed"
    assert all(chunk["direction"] == "to_client" for chunk in chunks)


def test_logs_follow_delivers_each_line_as_it_comes_and_ends_with_the_client(kube: Cluster) -> None:
    before = kube.api.open_watches
    with started(kube, "logs", "-f", "web-0") as (_, lines):
        wait_until(lambda: any("started" in line for line in lines), what="the first line")
        line = f"working-{int(is_old(kube))}"
        kube.api.write_log("shop", "web-0", line)
        wait_until(lambda: any(line in one for one in lines), what="a later line")
    wait_until(lambda: kube.api.open_watches == before, what="the upstream's end of the log")
    command = next(one for one in reversed(kube.commands()) if one["detail"]["subresource"] == "log")
    assert command["text"] == "kubectl logs web-0 -n shop --follow" or "web-0" in command["text"]


def test_discovery_versions_explain_and_rights(kube: Cluster) -> None:
    assert "deployments" in kube.run("api-resources")
    assert "apps/v1" in kube.run("api-versions")
    assert "v1.33.0" in kube.run("version", "-o", "json")
    assert "yes" in kube.run("auth", "can-i", "get", "pods")
    question = last(kube, "create", "selfsubjectaccessreviews")
    assert question["action"] == "read"
    if not is_old(kube):  # 1.20 explains from /openapi/v2 only, which this small server does not have
        assert "one of the kinds" in kube.run("explain", "deployments")


def test_diff_is_a_dry_run(shared: Cluster) -> None:
    """The new kubectl only: 1.20 asks /openapi/v2 for dry runs, which this small server does not have."""
    shared.program = KUBECTL
    shared.api.add(deployment("compared"))
    done = shared.kubectl("diff", "-f", "-", input=json.dumps(deployment("compared", replicas=9)))
    assert done.returncode == 1, done.stderr
    assert "replicas: 9" in done.stdout
    assert any(one["detail"]["dry_run"] for one in shared.commands())
    assert shared.api.store.get(("apps", "deployments", "shop", "compared"))["spec"]["replicas"] == 1
    shared.check_oracle()


def test_delete_of_all_is_a_deletecollection_or_each_by_name(kube: Cluster) -> None:
    kube.api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gone", "namespace": "attic"}})
    kube.run("delete", "configmaps", "--all", "-n", "attic", "--wait=false")
    done = kube.kubectl("delete", "--raw", "/api/v1/namespaces/attic/configmaps")
    assert done.returncode == 0, done.stderr
    assert last(kube, "deletecollection", "configmaps")["detail"]["namespace"] == "attic"


def test_a_long_list_comes_in_pages(kube: Cluster) -> None:
    if not kube.api.store.list("", "events", "long"):
        for number in range(1200):
            kube.api.add(
                {"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e{number:05}", "namespace": "long"}}
            )
    names = kube.run("get", "events", "-n", "long", "-o", "name", "--chunk-size=500").split()
    assert len(names) == 1200
    pages = [one for one in kube.commands() if one["detail"]["resource"] == "events"]
    assert len(pages) >= 3


def test_as_another_user_is_stripped_and_on_record(kube: Cluster) -> None:
    kube.run("get", "pods", "--as=system:admin", "--as-group=system:masters")
    entry = kube.api.audit[-1]
    assert (entry.user, entry.groups) == ("gateway", ())
    assert "Impersonate-User: system:admin" in kube.commands()[-1]["detail"]["impersonation"]


def test_a_secret_is_masked_in_every_form_and_never_on_record(kube: Cluster) -> None:
    name = f"login-{int(is_old(kube))}"
    kube.run("create", "secret", "generic", name, "--from-literal=password=hunter2-very-secret")
    for form in ("json", "yaml", "wide", "jsonpath={.data}", "go-template={{.data}}"):
        shown = kube.run("get", "secret", name, "-o", form)
        assert "aHVudGVyMi" not in shown
    assert "W3JlZGFjdGVkXQ==" in kube.run("get", "secret", name, "-o", "json")
    records = json.dumps([record.payload for record in kube.gateway.records()])
    assert "aHVudGVyMi" not in records
    assert "hunter2" not in records
    assert last(kube, "get", "secrets")["detail"]["reads_secrets"] is True


def test_a_masked_secret_written_back_is_refused_and_a_change_of_something_else_passes(kube: Cluster) -> None:
    name = f"kept-{int(is_old(kube))}"
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"password": "correct-horse"},
    }
    kube.run("apply", "-f", "-", "--validate=false", input=json.dumps(manifest))
    shown = kube.run("get", "secret", name, "-o", "json")
    assert "correct-horse" not in shown
    for verb in ("replace", "apply"):
        done = kube.kubectl(verb, "-f", "-", "--validate=false", input=shown)
        assert done.returncode == 1
        assert "masked values" in done.stderr
    kube.run("label", "secret", name, "tier=back")
    editor = {"KUBE_EDITOR": "sed -i s/tier:.back/tier:' 'front/"}
    kube.run("edit", "secret", name, "--validate=false", env=editor)
    kube.run("apply", "-f", "-", "--validate=false", input=json.dumps(manifest))
    stored = kube.api.store.get(("", "secrets", "shop", name))
    assert stored["data"]["password"] == "Y29ycmVjdC1ob3JzZQ=="


GENERATORS = {
    "deployments": ("deployment", "gen", "--image=nginx:1", "--replicas=0", "--port=80"),
    "configmaps": ("configmap", "gen", "--from-literal=a=b"),
    "serviceaccounts": ("serviceaccount", "gen"),
    "services": ("service", "clusterip", "gen", "--tcp=80:8080"),
    "ingresses": ("ingress", "gen", "--rule=shop.example.com/*=web:80"),
    "jobs": ("job", "gen", "--image=busybox:1", "--", "date"),
    "cronjobs": ("cronjob", "gen", "--image=busybox:1", "--schedule=*/5 * * * *", "--", "date"),
    "resourcequotas": ("quota", "gen", "--hard=cpu=1,memory=1Gi"),
    "poddisruptionbudgets": ("pdb", "gen", "--selector=app=web", "--min-available=50%"),
    "priorityclasses": ("priorityclass", "gen", "--value=1000"),
    "namespaces": ("namespace", "gen"),
}


@pytest.mark.parametrize("resource", GENERATORS)
def test_what_kubectl_generates_arrives_whole(shared: Cluster, resource: str) -> None:
    """The newest kubectl sends these in protobuf: they must arrive as `--dry-run=client` shows them."""
    shared.program = KUBECTL
    arguments = GENERATORS[resource]
    expected = json.loads(shared.run("create", *_with(arguments, "--dry-run=client", "-o", "json")))
    shared.run("create", *arguments)
    command = last(shared, "create", resource)
    sent = json.loads(shared.api.audit[-1].body)
    assert dict(shared.api.audit[-1].headers)["content-type"] == "application/json"
    assert _plain(sent) == _plain(expected)
    assert _plain(command["detail"]["body"]) == _plain(expected)
    shared.check_oracle()


def _with(arguments: tuple[str, ...], *more: str) -> list[str]:
    """`more` before the `--` of a command."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:at], *more, *arguments[at:]]


def _plain(value: Any) -> Any:
    """Without what is empty, which protobuf writes and JSON leaves out, and without namespaces."""
    if isinstance(value, dict):
        made = {key: _plain(item) for key, item in value.items() if key not in ("namespace", "status")}
        return {
            key: item for key, item in made.items() if item not in (None, "", {}, [], 0, False) or key == "replicas"
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value


def test_admin_commands_of_kubectl_are_denied(shared: Cluster) -> None:
    shared.program = KUBECTL
    for arguments in (
        ("create", "token", "bot"),
        ("create", "role", "gen", "--verb=get", "--resource=pods"),
        ("create", "clusterrolebinding", "gen", "--clusterrole=admin", "--user=bot"),
        ("run", "out", "--image=busybox:1", "--privileged"),
    ):
        done = shared.kubectl(*arguments)
        assert done.returncode == 1
        assert "onrecord:admin" in done.stderr
    shared.check_oracle()


def test_drain_evicts_by_the_eviction_subresource(shared: Cluster) -> None:
    shared.program = KUBECTL
    shared.api.add({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {}})
    pod = {**POD, "metadata": {"name": "evicted", "namespace": "shop"}, "spec": {**POD["spec"], "nodeName": "n1"}}  # type: ignore[dict-item]
    shared.api.add(pod)
    shared.run("cordon", "n1")
    assert last(shared, "patch", "nodes")["action"] == "write"
    path = "/api/v1/namespaces/shop/pods/evicted/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted", "namespace": "shop"}}
    shared.run("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    command = last(shared, "create", "pods")
    assert (command["detail"]["subresource"], command["action"]) == ("eviction", "write")
