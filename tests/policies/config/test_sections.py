"""policies/config/sections.py: what each section means, and what is refused in it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from onrecord.policies.config import Address
from tests.policies.config.loading import GATEWAY, HTTP, PEM, load, one_problem, problems

ISSUER = '[[issuers]]\nissuer = "https://idp.example.com"\naudience = "onrecord"\n'


def test_the_defaults_are_the_careful_ones(tmp_path):
    config = load(tmp_path, GATEWAY + ISSUER + HTTP)
    gateway = config.gateway
    assert (gateway.http, gateway.ssh) == (Address("127.0.0.1", 8080), None)
    assert (gateway.egress, gateway.mode, gateway.postgres_tls) == ("deny", "enforce", "require")
    assert (gateway.stale_policy, gateway.policy_timeout, gateway.session_grace) == (60.0, 1.0, 0.0)
    assert (config.recordings.body_limit, config.recordings.durability) == (1024 * 1024, "process")
    assert config.issuers[0].kind == "agent"
    resource = config.resources["billing"]
    assert (resource.default, resource.admin, resource.unknown) == ("deny", "deny", "deny")
    assert not resource.accept_privileged


def test_observing_needs_an_end(tmp_path):
    text = GATEWAY + 'mode = "observe"\n'
    assert 'gateway.observe_until: missing with mode = "observe"' in one_problem(tmp_path, text)
    assert "without a zone" in one_problem(tmp_path, text + "observe_until = 2026-12-01T12:00:00\n")
    assert "not a date" in one_problem(tmp_path, text + "observe_until = 3\n")
    config = load(tmp_path, text + "observe_until = 2026-12-01T12:00:00Z\n")
    assert config.gateway.observe_until == datetime(2026, 12, 1, 12, tzinfo=UTC).timestamp()
    assert load(tmp_path, text + "observe_until = 2026-12-01\n").gateway.observe_until > 0


@pytest.mark.parametrize(
    "line",
    ["workers = 0", "workers = 65", "workers = true", 'egress = "hold"', 'mode = "off"', "policy_timeout = 0",
     'stale_policy = "0 s"', 'handshake_timeout = "-1"', 'session_grace = "x"', "max_connections = 0", "state = 1",
     'postgres_tls = "disable"', "http = 8080", 'admin = "x"'],
)  # fmt: skip
def test_bad_gateway_values_are_refused_at_their_key(tmp_path, line):
    key = line.split(" ")[0]
    text = "[gateway]\n" + "".join(
        f"{one}\n" for one in ('http = "127.0.0.1:8080"', line) if key != "http" or one == line
    )
    assert one_problem(tmp_path, text).startswith(f"gateway.{key}: ")


@pytest.mark.parametrize("store", ["postgresql://u@h/db", "postgres://h/db", "sqlite:///x"])
def test_a_database_server_as_store_is_refused(tmp_path, store):
    found = one_problem(tmp_path, GATEWAY + f'[recordings]\nstore = "{store}"\n')
    assert "recordings.store: a database server as store is not in this version" in found


def test_limits_have_a_most(tmp_path):
    assert "recordings.body_limit" in one_problem(tmp_path, GATEWAY + '[recordings]\nbody_limit = "1 GiB"\n')
    config = load(tmp_path, GATEWAY + '[recordings]\nbody_limit = 0\nsample_limit = "2 KiB"\n')
    assert (config.recordings.body_limit, config.recordings.sample_limit) == (0, 2048)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('algorithms = ["none"]', "algorithms"),
        ('algorithms = ["HS256"]', "algorithms"),
        ("algorithms = []", "algorithms"),
        ("clients = []", "clients"),
        ('clients = ["10.0.0.1/8"]', "clients[0]"),
        ('leeway = "1 h"', "leeway"),
        ("max_ttl = 0", "max_ttl"),
        ('ca = "absent.pem"', "ca"),
        ('kind = "service"', "kind"),
        ('bind = "dpop"', "bind"),
        ("require = { a = 1 }", "require"),
    ],
)
def test_bad_issuer_values_are_refused_at_their_key(tmp_path, line, key):
    assert one_problem(tmp_path, GATEWAY + ISSUER + line).startswith(f"issuers[0].{key}: ")


@pytest.mark.parametrize(
    "url",
    [
        "idp.example.com",
        "http://idp.example.com",
        "ftp://x",
        "https://",
        "https://u@idp",
        "https://idp/?a=b",
        "onrecord:prod",
    ],
)
def test_what_is_no_issuer(tmp_path, url):
    found = one_problem(tmp_path, GATEWAY + f'[[issuers]]\nissuer = "{url}"\naudience = "x"\n')
    assert found.startswith("issuers[0].issuer: ")


def test_an_issuer_on_loopback_may_be_plain_http(tmp_path):
    assert problems(tmp_path, GATEWAY + ISSUER.replace("https://idp.example.com", "http://127.0.0.1:9000")) == []


@pytest.mark.parametrize("audience", ['""', "[]", '["a", ""]', "1"])
def test_an_audience_is_a_must(tmp_path, audience):
    found = one_problem(tmp_path, GATEWAY + ISSUER.replace('"onrecord"', audience))
    assert found.startswith("issuers[0].audience: ")


def test_issuer_values_are_read(tmp_path):
    (tmp_path / "ca.pem").write_text(PEM)
    more = (
        'kind = "human"\nclients = ["10.0.0.0/8", "::1"]\nmax_ttl = "15 min"\n'
        'algorithms = ["ES256"]\nca = "file:ca.pem"\n'
        'require = { org = "acme", repository = ["acme/*", "acme-labs/*"] }\n'
    )
    issuer = load(tmp_path, GATEWAY + ISSUER + more).issuers[0]
    assert (issuer.kind, issuer.clients, issuer.max_ttl) == ("human", ("10.0.0.0/8", "::1/128"), 900.0)
    assert (issuer.algorithms, issuer.ca) == (("ES256",), tmp_path / "ca.pem")
    assert issuer.require == {"org": ("acme",), "repository": ("acme/*", "acme-labs/*")}


def test_a_file_that_holds_no_certificate_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    assert "no certificate (PEM)" in one_problem(tmp_path, GATEWAY + ISSUER + 'ca = "ca.pem"')


def test_a_policy_takes_its_name_from_its_file(tmp_path):
    (tmp_path / "guard_orders.py").write_text("addons = []\n")
    (policy,) = load(tmp_path, GATEWAY + '[[policies]]\nfile = "guard_orders.py"\n').policies
    assert (policy.name, policy.path, policy.resources, policy.groups) == (
        "guard_orders",
        tmp_path / "guard_orders.py",
        (),
        (),
    )


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('file = "absent.py"', "file"),
        ('file = "library:absent"', "file"),
        ('file = "library:../engine"', "file"),
        ('file = "guard.py"\nresources = []', "resources"),
        ('file = "guard.py"\ngroups = []', "groups"),
        ('file = "guard.py"\nname = "onrecord:x"', "name"),
        ('file = "onrecord:x.py"', "file"),
        ('resources = ["a"]\nname = "x"', "file"),
    ],
)
def test_bad_policies_are_refused_at_their_key(tmp_path, lines, key):
    (tmp_path / "guard.py").write_text("addons = []\n")
    (tmp_path / "onrecord:x.py").write_text("addons = []\n")
    text = GATEWAY + f"[[policies]]\n{lines}\n" + HTTP.replace("billing", "a")
    assert one_problem(tmp_path, text).startswith(f"policies[0].{key}: ")


@pytest.mark.parametrize("name", ["a/b", "", "a b", "x" * 64, "-a", "ä"])
def test_resources_have_plain_names(tmp_path, name):
    assert "not a resource name" in one_problem(
        tmp_path, GATEWAY + HTTP.replace("resources.billing", f'resources."{name}"')
    )
