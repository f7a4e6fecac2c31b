"""`type = "kubernetes"`: what is read, and what would hand out more than was meant."""

from __future__ import annotations

import pytest

from onrecord.policies.config import KubernetesResource, SecretRef
from tests.policies.config.loading import GATEWAY, load, one_problem

HEAD = '[resources.prod]\ntype = "kubernetes"\nhosts = ["prod.k8s.internal"]\ngroups = ["agents"]\n'


def cluster(tmp_path, text):
    found = load(tmp_path, GATEWAY + HEAD + text).resources["prod"]
    assert isinstance(found, KubernetesResource)
    return found


def test_a_cluster_is_read_with_its_credential(tmp_path):
    found = cluster(tmp_path, 'upstream = "https://10.0.0.5:6443"\ntoken = "env:TOKEN"\n')
    assert (found.upstream_host, found.upstream_port, found.upstream_prefix) == ("10.0.0.5", 6443, "")
    assert isinstance(found.token, SecretRef)
    assert found.secrets == "mask"


def test_a_cluster_below_a_path_keeps_it_on_both_sides(tmp_path):
    assert cluster(tmp_path, 'prefix = "/k8s/clusters/c-abc"\n').upstream_prefix == "/k8s/clusters/c-abc"
    found = cluster(tmp_path, 'upstream = "https://rancher.internal/k8s/clusters/c-abc"\n')
    assert (found.prefix, found.upstream_prefix, found.upstream_port) == ("", "/k8s/clusters/c-abc", 443)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('upstream = "http://10.0.0.5:6443"', "plain http would show the credential"),
        ('upstream = "https://u@10.0.0.5:6443"', "a user in"),
        ('prefix = "k8s"', "not a path"),
        ('prefix = "/k8s/../x"', "not a path"),
        ('prefix = "/api/x"', "the API server would read itself"),
        ('exec = ["aws", "eks"]', "absolute path"),
        ("exec = []", "absolute path"),
        ('exec_env = { AWS_SECRET_ACCESS_KEY = "wJalrXUtnFEMI" }', "a secret in clear"),
        ('impersonate_user = "{subject}"', "one of Kubernetes' own"),
        ('impersonate_user = "sys{subject}"', "one of Kubernetes' own"),
        ('impersonate_groups = "system:{group}"', "one of Kubernetes' own"),
        ('impersonate_groups = "agents"', "not a text with {group}"),
        ('token = "env:A"\nexec = ["/bin/x"]', "a second credential"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, line, problem):
    assert problem in one_problem(tmp_path, GATEWAY + HEAD + line + "\n")


def test_the_token_the_plugin_and_its_secrets_are_files_that_nobody_else_may_write(tmp_path):
    from onrecord.policies.config.ownership import files_of, secret_refs

    for name in ("token", "secret"):
        (tmp_path / name).write_text("x")
    files = dict(files_of(load(tmp_path, GATEWAY + HEAD + 'token = "file:token"\n')))
    assert files["resources.prod.token"] == tmp_path / "token"
    text = 'exec = ["/usr/bin/env", "x"]\nexec_env = { A = "file:secret", B = "plain" }\n'
    files = dict(files_of(load(tmp_path, GATEWAY + HEAD + text)))
    assert str(files["resources.prod.exec"]) == "/usr/bin/env"
    assert files["resources.prod.exec_env.A"] == tmp_path / "secret"
    assert [field for field, _ in secret_refs(cluster(tmp_path, text))] == ["exec_env.A"]
