"""policies/config/checks.py: what only the whole file shows."""

from __future__ import annotations

import pytest

from tests.policies.config.loading import GATEWAY, HTTP, PEM, POSTGRES, UPSTREAM, load, one_problem, problems


def gateway(**listeners: str) -> str:
    return "[gateway]\n" + "".join(f'{name} = "{at}"\n' for name, at in listeners.items())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("localhost:80", "127.0.0.1:80"),
        ("localhost:80", "[::1]:80"),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
    ],
)
def test_two_listeners_on_one_address_are_refused(tmp_path, one, other):
    assert "gateway.postgres: the same address as gateway.http" in one_problem(
        tmp_path, gateway(http=one, postgres=other)
    )


@pytest.mark.parametrize(("one", "other"), [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "127.0.0.1:80")])
def test_an_address_for_all_collides_with_each(tmp_path, one, other):
    found = problems(tmp_path, gateway(http=one, admin=other))
    assert any("gateway.admin: the same address" in line for line in found)


def test_other_ports_and_other_addresses_do_not_collide(tmp_path):
    assert problems(tmp_path, gateway(http="127.0.0.1:80", postgres="127.0.0.1:81", ssh="127.0.0.2:80")) == []


@pytest.mark.parametrize(
    "at", ["0.0.0.0:80", "10.0.0.1:80", "[::]:80", "gateway.internal:80", "127.0.0.1.example.com:80"]
)
def test_a_listener_for_other_hosts_needs_tls(tmp_path, at):
    assert "there is no [gateway.tls]" in one_problem(tmp_path, gateway(http=at))
    (tmp_path / "cert.pem").write_text(PEM)
    (tmp_path / "key.pem").touch(0o600)
    assert problems(tmp_path, gateway(http=at) + '[gateway.tls]\ncert = "cert.pem"\nkey = "file:key.pem"\n') == []


def test_a_private_key_that_others_can_read_is_refused(tmp_path):
    (tmp_path / "cert.pem").write_text(PEM)
    (tmp_path / "key.pem").touch(0o644)
    (tmp_path / "key.pem").chmod(0o644)
    text = GATEWAY + '[gateway.tls]\ncert = "cert.pem"\nkey = "key.pem"\n'
    assert "gateway.tls.key: others can read the private key" in one_problem(tmp_path, text)


def issuer(url: str = "https://idp.example.com", more: str = "") -> str:
    return f'[[issuers]]\nissuer = "{url}"\naudience = "onrecord"\n{more}\n'


def test_the_development_issuer_stays_on_loopback(tmp_path):
    (tmp_path / "cert.pem").write_text(PEM)
    (tmp_path / "key.pem").touch(0o600)
    tls = '[gateway.tls]\ncert = "cert.pem"\nkey = "key.pem"\n'
    assert problems(tmp_path, GATEWAY + tls + issuer("onrecord:dev")) == []
    text = gateway(http="10.0.0.1:80") + tls + issuer("onrecord:dev")
    assert "issuers[0].issuer: onrecord:dev is for demos and tests" in one_problem(tmp_path, text)


@pytest.mark.parametrize("second", ["https://idp.example.com", "https://idp.example.com/", "https://IDP.example.com"])
def test_an_issuer_twice_is_refused(tmp_path, second):
    assert "issuers[1].issuer: the same issuer as issuers[0]" in one_problem(
        tmp_path, GATEWAY + issuer() + issuer(second)
    )


SHARED = "https://token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    "require",
    ["", "require = {}", 'require = { repository = "*" }', 'require = { repository = "**/*" }',
     'require = { aud = "onrecord" }', 'require = { iss = "https://*" }', 'require = { repository = ["acme/*", "*"] }'],
)  # fmt: skip
def test_an_issuer_that_many_tenants_share_needs_a_requirement(tmp_path, require):
    found = one_problem(tmp_path, GATEWAY + issuer(SHARED, require))
    assert found.startswith("issuers[0].require: missing: anyone can get a token")


@pytest.mark.parametrize("require", ['{ repository = "acme/*" }', '{ repository = ["acme/a", "acme/b"], ref = "*" }'])
def test_a_requirement_that_names_the_tenant_is_enough(tmp_path, require):
    config = load(tmp_path, GATEWAY + issuer(SHARED, f"require = {require}"))
    assert config.issuers[0].require["repository"][0].startswith("acme/")


def test_a_requirement_without_patterns_is_refused(tmp_path):
    assert "require.repository: empty" in one_problem(tmp_path, GATEWAY + issuer(more="require = { repository = [] }"))


def test_binding_to_client_certificates_needs_their_ca(tmp_path):
    assert "issuers[0].bind" in one_problem(tmp_path, GATEWAY + issuer(more='bind = "mtls"'))


def test_a_policy_for_an_unknown_resource_is_refused(tmp_path):
    (tmp_path / "guard.py").write_text("addons = []\n")
    text = GATEWAY + '[[policies]]\nfile = "guard.py"\nresources = ["order"]\n' + POSTGRES + UPSTREAM
    assert "policies[0].resources: no such resource: 'order' (there are: orders)" in one_problem(tmp_path, text)


def test_two_files_with_one_policy_name_are_refused_and_one_file_twice_is_not(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "guard.py").write_text("addons = []\n")
    one, other = '[[policies]]\nfile = "a/guard.py"\n', '[[policies]]\nfile = "b/guard.py"\n'
    assert "policies[1].name: the name of policies[0]" in one_problem(tmp_path, GATEWAY + one + other)
    assert problems(tmp_path, GATEWAY + one + one) == []
    assert problems(tmp_path, GATEWAY + one + other + 'name = "second"\n') == []


@pytest.mark.parametrize("host", ["billing.internal", "BILLING.Internal.", "*.internal", "ｂilling.internal"])
def test_a_host_in_two_resources_is_refused_however_it_is_written(tmp_path, host):
    text = GATEWAY + HTTP + f'[resources.two]\ntype = "kubernetes"\nhosts = ["{host}"]\ngroups = ["agents"]\n'
    assert "also a host of resources.billing" in one_problem(tmp_path, text)


def test_the_gateways_own_name_is_no_resource(tmp_path):
    assert "the gateway itself" in one_problem(
        tmp_path, GATEWAY + HTTP.replace("billing.internal", "onrecord.internal")
    )


@pytest.mark.parametrize(
    ("resource", "key"),
    [
        (HTTP + 'upstream = "https://127.0.0.1:8080"\n', "resources.billing.upstream"),
        (HTTP + 'upstream = "https://localhost:5433"\n', "resources.billing.upstream"),
        (POSTGRES + 'upstream = "postgresql://u@127.0.0.1:5433/d"\n', "resources.orders.upstream"),
    ],
)
def test_no_resource_leads_to_the_gateway_itself(tmp_path, resource, key):
    found = one_problem(tmp_path, GATEWAY + resource)
    assert found.startswith(key)
    assert "itself" in found
