"""policies/config/resources.py: each resource type's keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from onrecord.policies.config import HttpResource, PostgresResource, SecretRef
from tests.policies.config.loading import GATEWAY, HTTP, PEM, POSTGRES, UPSTREAM, load, one_problem, problems


def http(folder: Path, more: str = "") -> HttpResource:
    resource = load(folder, GATEWAY + HTTP + more).resources["billing"]
    assert isinstance(resource, HttpResource)
    return resource


def postgres(folder: Path, url: str, more: str = "") -> PostgresResource:
    resource = load(folder, GATEWAY + POSTGRES + f'upstream = "{url}"\n{more}').resources["orders"]
    assert isinstance(resource, PostgresResource)
    return resource


@pytest.fixture
def pem(tmp_path):
    for name in ("ca.pem", "client.pem"):
        (tmp_path / name).write_text(PEM)
    (tmp_path / "client.key").touch(0o600)
    return tmp_path


def test_an_http_resource_as_in_the_documentation(pem):
    resource = http(
        pem,
        'upstream = "https://10.0.0.3:8443/"\nca = "file:ca.pem"\n'
        'client_cert = "client.pem"\nclient_key = "file:client.key"\n'
        'headers = { Authorization = "env:BILLING_AUTH", X-Team = "agents" }\ndefault = "allow"\nadmin = "hold"\n',
    )
    assert (resource.upstream_scheme, resource.upstream_host, resource.upstream_port) == ("https", "10.0.0.3", 8443)
    assert (resource.ca, resource.client_cert) == (pem / "ca.pem", pem / "client.pem")
    assert resource.client_key == SecretRef("file", str(pem / "client.key"), "mitm.toml: resources.billing.client_key")
    assert resource.headers == {
        "Authorization": SecretRef("env", "BILLING_AUTH", "mitm.toml: resources.billing.headers.Authorization"),
        "X-Team": "agents",
    }
    assert (resource.default, resource.admin, resource.unknown) == ("allow", "hold", "deny")


def test_without_an_upstream_the_host_itself_is_meant(tmp_path):
    resource = http(tmp_path)
    assert (resource.upstream_scheme, resource.upstream_host, resource.upstream_port) == ("https", "", 0)


def test_hosts_are_kept_in_their_one_form(tmp_path):
    text = GATEWAY + HTTP.replace('"billing.internal"', '"Billing.Internal.", "*.Bücher.example", "billing.internal"')
    hosts = getattr(load(tmp_path, text).resources["billing"], "hosts", ())
    assert hosts == (
        "billing.internal",
        "*.xn--bcher-kva.example",
    )


@pytest.mark.parametrize("key", ["bearer", "token"])
def test_a_bearer_token_has_two_names(tmp_path, key):
    assert http(tmp_path, f'{key} = "env:T"').bearer == SecretRef("env", "T", f"mitm.toml: resources.billing.{key}")


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('bearer = "env:A"\ntoken = "env:B"', "token"),
        ('bearer = "env:A"\nbasic = "env:B"', "basic"),
        ('basic = "env:A"\nheaders = { authorization = "env:B" }', "headers.authorization"),
        ('headers = { X-Token = "clear" }', "headers.X-Token"),
        ('headers = { X-Api-Key = "clear" }', "headers.X-Api-Key"),
        ('headers = { Cookie = "a=b" }', "headers.Cookie"),
        ('headers = { Host = "x" }', "headers.Host"),
        ('headers = { Transfer-Encoding = "chunked" }', "headers.Transfer-Encoding"),
        ('headers = { Proxy-Authorization = "env:A" }', "headers.Proxy-Authorization"),
        ('headers = { X-A = "a\\nb" }', "headers.X-A"),
        ('headers = { "X A" = "a" }', "headers.X A"),
        ('headers = { X-A = "a", x-a = "b" }', "headers.x-a"),
        ('headers = { X-A = "https://u:password@h" }', "headers.X-A"),
        ('headers = { X-A = "file:absent" }', "headers.X-A"),
        ('headers = { X-A = "exec:cat x" }', "headers.X-A"),
        ("headers = { X-A = 1 }", "headers"),
        ('upstream = "10.0.0.3:8443"', "upstream"),
        ('upstream = "https://10.0.0.3/v1"', "upstream"),
        ('upstream = "https://10.0.0.3?a=b"', "upstream"),
        ('upstream = "https://u@10.0.0.3"', "upstream"),
        ('upstream = "http://10.0.0.3"', "upstream"),
        ('client_cert = "client.pem"', "client_key"),
        ('client_key = "env:KEY"', "client_cert"),
        ('client_cert = "client.pem"\nclient_key = "client.key"', "client_key"),
        ('ca = "-----BEGIN CERTIFICATE-----"', "ca"),
        ('default = "maybe"', "default"),
        ('password = "env:X"', "password"),
    ],
)
def test_bad_http_values_are_refused_at_their_key(pem, lines, key):
    assert one_problem(pem, GATEWAY + HTTP + lines).startswith(f"resources.billing.{key}: ")


def test_plain_http_needs_loopback_or_a_word(tmp_path):
    assert http(tmp_path, 'upstream = "http://127.0.0.1:9"').plaintext
    assert http(tmp_path, 'upstream = "http://10.0.0.3"\nplaintext = true').upstream_port == 80
    assert not http(tmp_path, 'upstream = "https://127.0.0.1:9"').plaintext


@pytest.mark.parametrize("hosts", ["[]", '["*"]', '["h:80"]', '"billing.internal"', '[""]'])
def test_hosts_are_a_must(tmp_path, hosts):
    found = problems(tmp_path, GATEWAY + HTTP.replace('["billing.internal"]', hosts))
    assert found[0].startswith("resources.billing.hosts")


@pytest.mark.parametrize(("groups", "why"), [("", "missing"), ("groups = []", "empty"), ('groups = [""]', "empty")])
def test_groups_are_a_must(tmp_path, groups, why):
    found = one_problem(tmp_path, GATEWAY + HTTP.replace('groups = ["agents"]', groups))
    assert found.startswith(f"resources.billing.groups: {why}") or "an empty group name" in found


def test_a_postgres_resource_as_in_the_documentation(tmp_path):
    resource = postgres(
        tmp_path, "postgresql://svc_agent@orders.internal:5432/shop", 'password = "env:ORDERS_PASSWORD"\n'
    )
    assert (resource.host, resource.port, resource.database, resource.user) == (
        "orders.internal", 5432, "shop", "svc_agent",
    )  # fmt: skip
    assert resource.sslmode == "verify-full"
    assert str(resource.password) == "env:ORDERS_PASSWORD"


def test_parts_of_the_url_are_decoded(tmp_path):
    resource = postgres(tmp_path, "postgres://svc%40x@[2001:db8::1]/my%20shop")
    assert (resource.user, resource.host, resource.port, resource.database) == ("svc@x", "2001:db8::1", 5432, "my shop")


def test_tls_files_may_stand_in_the_url(pem):
    url = "postgresql://u@h/d?sslmode=verify-ca&sslrootcert=ca.pem&sslcert=client.pem&sslkey=client.key"
    resource = postgres(pem, url)
    assert (resource.sslmode, resource.ca, resource.client_cert) == ("verify-ca", pem / "ca.pem", pem / "client.pem")
    assert resource.client_key is not None
    assert resource.client_key.target == str(pem / "client.key")
    assert "given twice" in one_problem(pem, GATEWAY + POSTGRES + f'upstream = "{url}"\nca = "ca.pem"')


@pytest.mark.parametrize(
    ("url", "more", "sslmode"),
    [
        ("postgresql://u@127.0.0.1/d", "", "disable"),
        ("postgresql://u@localhost/d", "", "disable"),
        ("postgresql://u@127.0.0.1/d", 'ca = "ca.pem"', "verify-full"),
        ("postgresql://u@127.0.0.1/d?sslmode=require", "", "require"),
        ("postgresql://u@db/d?sslmode=disable", "plaintext = true", "disable"),
        ("postgresql://u@db/d", "plaintext = true", "verify-full"),
    ],
)
def test_tls_is_on_unless_it_is_loopback_or_said(pem, url, more, sslmode):
    assert postgres(pem, url, more).sslmode == sslmode


@pytest.mark.parametrize(
    "url",
    [
        "orders:5432", "", "https://u@h/d", "postgresql://", "postgresql://h/d", "postgresql://u@h", "postgresql://u@h/",
        "postgresql://u@h/a/b", "postgresql://u@/d", "postgresql://u@h:x/d", "postgresql://u@h:70000/d",
        "postgresql://u@h/d?sslmode=prefer", "postgresql://u@h/d?sslmode=allow", "postgresql://u@h/d?sslmode=disable",
        "postgresql://u@h/d?host=/tmp", "postgresql://u@h/d?options=-c%20x", "postgresql://u@h/d?sslmode=require&sslmode=disable",
        "postgresql://u:pw@h/d", "postgresql://u@h/d?password=x", "postgresql://u@h,g/d", "postgresql://u@h/d#x",
        "postgresql://u%00@h/d", "postgresql:u@h/d",
    ],
)  # fmt: skip
def test_what_is_no_postgres_upstream(tmp_path, url):
    found = one_problem(tmp_path, GATEWAY + POSTGRES + f'upstream = "{url}"\n')
    assert found.startswith("resources.orders.upstream: ")


def test_a_postgres_upstream_is_a_must(tmp_path):
    assert one_problem(tmp_path, GATEWAY + POSTGRES) == "resources.orders.upstream: missing"


def test_an_unknown_type_and_an_unknown_key_are_refused(tmp_path):
    assert "no such type: 'mysql'" in one_problem(tmp_path, GATEWAY + '[resources.x]\ntype = "mysql"\n')
    found = one_problem(tmp_path, GATEWAY + POSTGRES + UPSTREAM + 'pasword = "env:X"\n')
    assert found == "resources.orders.pasword: unknown key (did you mean password?)"
