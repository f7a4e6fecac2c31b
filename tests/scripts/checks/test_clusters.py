"""scripts/checks/clusters.py: the credential is tried at a cluster, and what is wrong with it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.config import load_config
from onrecord.policies.secrets import Secrets
from onrecord.scripts.checks.finding import Finding
from onrecord.scripts.checks.upstreams import try_resources
from onrecord.scripts.parts.certs import Authority
from onrecord.scripts.parts.kube_api import KubeApi
from tests.addons.kubernetes_api.cluster import HOST, TOKEN, kube_resource
from tests.helpers import make_config


def findings(tmp_path: Path, api: KubeApi, *, drop: tuple[str, ...] = (), **more: Any) -> list[Finding]:
    table = {name: value for name, value in (kube_resource(api) | more).items() if name not in drop}
    return try_resources(load_config(make_config(tmp_path, resources={"prod": table}).path), Secrets())


def test_a_good_token_is_told_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_TOKEN", TOKEN)
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        found = findings(tmp_path, api, impersonate=True)
        assert [one.status for one in found] == ["ok", "ok"]
        assert found[-1].text == "logged in to the cluster as gateway"
        assert [entry.verb for entry in api.audit] == ["create"] * 3


def test_a_token_that_is_not_accepted_fails_and_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_TOKEN", "stale-token-77c0")
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        bad = findings(tmp_path, api)[-1]
    assert (bad.where, bad.status) == ("resources.prod.token", "failed")
    assert "does not accept the credential" in bad.text
    assert "stale-token" not in repr(bad)


def test_a_credential_that_may_not_impersonate_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER_TOKEN", TOKEN)
    with KubeApi(HOST, tokens=[TOKEN]) as api:
        answer = api._create

        def refuse(kind: Any, asked: Any) -> Any:
            code, value = answer(kind, asked)
            return code, {
                **value,
                "status": {"allowed": False},
            } if asked.plural == "selfsubjectaccessreviews" else value

        api._create = refuse  # type: ignore[method-assign]
        found = findings(tmp_path, api, impersonate=True)
    assert [(one.where, one.status) for one in found[2:]] == [("resources.prod.impersonate", "failed")] * 2


def test_a_client_certificate_is_tried_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "clients")
    pair = authority.issue("onrecord-gateway", client=True)
    given = {"client_cert": str(pair.cert), "client_key": f"file:{pair.key}"}
    with KubeApi(HOST, client_ca=authority.cert) as api:
        assert findings(tmp_path, api, drop=("token",), **given)[-1].text == "logged in to the cluster as gateway"


def test_without_a_credential_that_is_pointed_out(tmp_path: Path) -> None:
    with KubeApi(HOST) as api:
        assert findings(tmp_path, api, drop=("token",))[-1].status == "note"
