"""The samples of docs/howto/identity.md: every TOML block loads, and its claims are read as the text says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.certs import CertStore

from onrecord.policies.config import Config, IssuerConfig, load_config
from onrecord.policies.identity.claims import check_claims
from onrecord.policies.model import Identity

TEXT = (Path(__file__).parents[3] / "docs" / "howto" / "identity.md").read_text()
NOW = 1_800_000_000
GATEWAY = """
[gateway]
http = "127.0.0.1:8080"
state = "state"
{tls}
[recordings]
store = "state/recordings.db"
"""
TLS = '[gateway.tls]\ncert = "mitmproxy-ca-cert.pem"\nkey = "mitmproxy-ca.pem"\nclient_ca = "mitmproxy-ca-cert.pem"\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("howto")
    CertStore.from_store(found, "mitmproxy", 2048)
    for name in ("cluster-ca.pem", "issuer-ca.pem"):
        (found / name).write_bytes((found / "mitmproxy-ca-cert.pem").read_bytes())
    return found


def load(folder: Path, toml: str) -> Config:
    file = folder / "mitm.toml"
    file.write_text(GATEWAY.format(tls=TLS if "mtls" in toml else "") + toml)
    return load_config(file)


def issuer(folder: Path, name: str) -> IssuerConfig:
    (toml,) = (block for block in blocks("toml") if f'issuer = "{name}"' in block)
    return load(folder, toml).issuers[0]


def identity(config: IssuerConfig, **claims: Any) -> Identity:
    head = {"iss": config.issuer, "aud": config.audience[0], "iat": NOW, "exp": NOW + 300}
    return check_claims({**head, **claims}, config, now=NOW, signing_input=b"x").identity


@pytest.mark.parametrize("toml", blocks("toml"))
def test_every_sample_loads(folder: Path, toml: str) -> None:
    assert load(folder, toml).issuers


def test_all_samples_fit_into_one_file(folder: Path) -> None:
    assert len(load(folder, "\n".join(blocks("toml"))).issuers) == len(blocks("toml"))


def test_a_kubernetes_pod_is_a_member_of_its_namespace(folder: Path) -> None:
    found = identity(
        issuer(folder, "https://kubernetes.default.svc.cluster.local"),
        sub="system:serviceaccount:agents:devin",
        **{"kubernetes.io": {"namespace": "agents", "serviceaccount": {"name": "devin"}, "pod": {"uid": "u-1"}}},
    )
    assert (found.groups, found.agent, found.run) == (("agents",), "devin", "u-1")


def test_a_github_job_is_known_by_its_repository(folder: Path) -> None:
    config = issuer(folder, "https://token.actions.githubusercontent.com")
    claims = {"sub": "repo:acme/shop:ref:refs/heads/main", "repository": "acme/shop", "ref": "refs/heads/main"}
    found = identity(config, **claims, repository_owner="acme", workflow="deploy", run_id="77")
    assert (found.groups, found.agent, found.run) == (("acme",), "deploy", "77")


def test_a_gitlab_job_is_known_by_its_namespace(folder: Path) -> None:
    config = issuer(folder, "https://gitlab.com")
    claims = {"sub": "project_path:acme/shop:ref_type:branch:ref:main", "ref_protected": "true"}
    found = identity(config, **claims, namespace_path="acme", project_path="acme/shop", pipeline_id="5")
    assert (found.groups, found.agent, found.run) == (("acme",), "acme/shop", "5")


def test_the_delegated_sample_reads_as_the_text_says() -> None:
    (sample,) = blocks("json")
    claims = json.loads(sample)
    config = IssuerConfig(issuer=claims["iss"], audience=("onrecord",))
    found = check_claims(claims, config, now=claims["iat"] + 1.0, signing_input=b"x").identity
    assert (found.subject, found.on_behalf_of, found.groups) == ("devin", "alice@example.com", ("agents",))
