"""scripts/check.py: the answer, its exit status, and what it says about real upstreams."""

from __future__ import annotations

import json

import asyncssh
import pytest
import typer
from typer.testing import CliRunner

from onrecord.policies.errors import ConfigError
from onrecord.scripts import check
from onrecord.scripts.parts.certs import Authority
from tests.helpers import http_resource, make_config, postgres_resource

SECRET = "hunter2-very-secret"


@pytest.fixture
def run(monkeypatch):
    """Runs `check` on a configuration: exit status and the findings as {(where, status): text}."""
    app = typer.Typer()
    check.register(app)

    def call(setup, *arguments):
        for name, value in setup.env.items():
            monkeypatch.setenv(name, value)
        done = CliRunner().invoke(app, ["-c", str(setup.path), "--json", *arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        answer = json.loads(done.stdout)
        assert answer["ok"] is (done.exit_code == 0)
        return done.exit_code, {(one["where"], one["status"]): one["text"] for one in answer["findings"]}, done.stdout

    return call


def test_a_good_configuration_passes_and_the_development_issuer_is_pointed_out(tmp_path, run):
    status, findings, _ = run(make_config(tmp_path), "--offline")
    assert status == 0
    assert ("policies", "ok") in findings
    status, findings, _ = run(make_config(tmp_path))
    assert status == 0
    assert "development issuer" in findings["issuers[0]", "note"]


def test_every_problem_of_a_bad_configuration_is_a_finding(tmp_path, run):
    setup = make_config(tmp_path, gateway={"workers": 0, "egres": "deny"}, resources={"x": {"type": "ftp"}})
    status, findings, _ = run(setup)
    assert status == 1
    assert {where for where, _ in findings} == {
        "mitm.toml: gateway.workers",
        "mitm.toml: gateway.egres",
        "mitm.toml: resources.x.type",
    }


def test_a_configuration_that_is_not_there_is_wrong_use(tmp_path):
    app = typer.Typer()
    check.register(app)
    done = CliRunner().invoke(app, ["-c", str(tmp_path / "absent.toml")])
    assert isinstance(done.exception, ConfigError), "main() makes this exit status 2"


def test_a_resource_without_its_listener_is_noted(tmp_path, run, host_key):
    resource = {"type": "ssh", "upstream": "ssh://u@10.0.0.9", "agent": "/run/agent.sock", "groups": ["agents"]}
    setup = make_config(tmp_path, resources={"app1": {**resource, "host_key": host_key}})
    status, findings, _ = run(setup, "--offline")
    assert status == 0
    assert "gateway.ssh is not set" in findings["resources.app1", "note"]


@pytest.fixture
def host_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


def test_a_policy_that_fails_when_it_runs_is_found(tmp_path, run):
    setup = make_config(tmp_path, policies=[{"file": "broken.py"}])
    (setup.path.parent / "broken.py").write_text("addons = [1 / 0]\n")
    status, findings, _ = run(setup, "--offline")
    assert status == 1
    assert "ZeroDivisionError" in findings["policies", "failed"]


def test_files_that_others_can_write_are_found(tmp_path, run):
    setup = make_config(tmp_path)
    setup.path.chmod(0o666)
    status, findings, _ = run(setup, "--offline")
    assert status == 1
    assert "can be written by all users" in findings["mitm.toml: (the file itself)", "failed"]


def test_an_ordinary_postgres_login_passes(tmp_path, run, shop):
    setup = make_config(
        tmp_path,
        resources={"orders": postgres_resource(shop.server, user=shop.user)},
        env={"SHOP_PASSWORD": shop.password},
    )
    status, findings, _ = run(setup)
    assert status == 0, findings
    assert "no special rights" in findings["resources.orders", "ok"]


@pytest.mark.parametrize(
    ("role", "rights", "why"),
    [
        ("check_super", "SUPERUSER", "a superuser"),
        ("check_bypass", "BYPASSRLS", "BYPASSRLS"),
        ("check_replication", "REPLICATION", "REPLICATION"),
        ("check_createrole", "CREATEROLE", "CREATEROLE"),
        ("check_program", "IN ROLE pg_execute_server_program", "it can run programs"),
        ("check_write", "IN ROLE pg_write_server_files", "it can write files"),
        ("check_read", "IN ROLE pg_read_server_files", "it can read files"),
        ("check_member", "IN ROLE postgres", "through role postgres: a superuser"),
    ],
)
def test_a_privileged_postgres_login_fails_unless_it_is_accepted(tmp_path, run, shop, role, rights, why):
    shop.server.sql(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD '{SECRET}' {rights}")
    table = postgres_resource(shop.server, user=role)
    status, findings, output = run(make_config(tmp_path, resources={"orders": table}, env={"SHOP_PASSWORD": SECRET}))
    assert status == 1
    assert why in findings["resources.orders.upstream", "failed"]
    table["accept_privileged"] = True
    status, findings, output = run(make_config(tmp_path, resources={"orders": table}, env={"SHOP_PASSWORD": SECRET}))
    assert status == 0
    assert why in findings["resources.orders", "note"]
    assert SECRET not in output


def test_a_wrong_password_and_a_dead_port_are_found(tmp_path, run, shop):
    table = postgres_resource(shop.server, user=shop.user)
    status, findings, output = run(make_config(tmp_path, resources={"orders": table}, env={"SHOP_PASSWORD": SECRET}))
    assert status == 1
    assert "28P01" in findings["resources.orders.upstream", "failed"]
    assert SECRET not in output
    dead = make_config(tmp_path, env={"SHOP_PASSWORD": SECRET}).postgres_port
    table["upstream"] = f"postgresql://svc@127.0.0.1:{dead}/shop?sslmode=disable"
    status, findings, _ = run(make_config(tmp_path, resources={"orders": table}, env={"SHOP_PASSWORD": SECRET}))
    assert status == 1
    assert "refused" in findings["resources.orders.upstream", "failed"]


def test_a_missing_secret_is_named(tmp_path, run, shop, monkeypatch):
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    status, findings, _ = run(make_config(tmp_path, resources={"orders": postgres_resource(shop.server, user="u")}))
    assert status == 1
    assert "SHOP_PASSWORD is not set" in findings["resources.orders.password", "failed"]


def test_postgres_tls_is_checked(tmp_path, run, tls_shop):
    table = postgres_resource(tls_shop.server, user=tls_shop.user)
    env = {"SHOP_PASSWORD": tls_shop.password}
    status, findings, _ = run(make_config(tmp_path, resources={"orders": table}, env=env))
    assert status == 0, findings
    del table["ca"]
    status, findings, _ = run(make_config(tmp_path, resources={"orders": table}, env=env))
    assert status == 1
    assert "certificate" in findings["resources.orders.upstream", "failed"]


def test_an_https_upstream_is_tried_with_its_own_ca_and_name(tmp_path, run, api):
    status, findings, _ = run(make_config(tmp_path, resources={"billing": http_resource(api)}))
    assert status == 0, findings
    assert "answers" in findings["resources.billing", "ok"]
    status, findings, _ = run(
        make_config(tmp_path, resources={"billing": http_resource(api, hosts=["other.internal"])})
    )
    assert status == 1
    assert "certificate is not accepted" in findings["resources.billing.upstream", "failed"]
    table = http_resource(api)
    del table["ca"]
    status, findings, _ = run(make_config(tmp_path, resources={"billing": table}))
    assert status == 1
    assert not api.requests, "check sends no request"


def test_an_issuer_that_does_not_answer_is_found(tmp_path, run):
    dead = make_config(tmp_path).http_port
    setup = make_config(tmp_path, issuers=[{"issuer": f"http://127.0.0.1:{dead}", "audience": "onrecord"}])
    assert run(setup, "--offline")[0] == 0
    status, findings, _ = run(setup)
    assert status == 1
    assert ("issuers[0]", "failed") in findings


def test_a_person_reads_marks_and_fixes(tmp_path):
    app = typer.Typer()
    check.register(app)
    setup = make_config(tmp_path, gateway={"workres": 1})
    done = CliRunner().invoke(app, ["-c", str(setup.path)])
    assert done.exit_code == 1
    assert "✗ mitm.toml: gateway.workres: unknown key (did you mean workers?)" in done.stdout


def test_a_listeners_certificate_and_key_must_belong_together(tmp_path, run):
    authority = Authority(tmp_path / "ca")
    pairs = [authority.issue("gateway.internal", file=name) for name in ("one", "two")]
    for key, status in ((pairs[0].key, 0), (pairs[1].key, 1)):
        setup = make_config(tmp_path, gateway={"tls": {"cert": f"file:{pairs[0].cert}", "key": f"file:{key}"}})
        code, findings, _ = run(setup, "--offline")
        assert code == status, findings
        assert ("gateway.tls", "failed" if status else "ok") in findings
