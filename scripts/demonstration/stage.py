"""The demo's stage: real parts, a written mitm.toml, `onrecord up`, and an agent with its own token."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onrecord.scripts.demonstration.agent import Agent, find_curl, find_psql
from onrecord.scripts.demonstration.screen import Screen
from onrecord.scripts.parts.gateway import Gateway, Setup, make_config, running_gateway
from onrecord.scripts.parts.https_api import HttpsApi
from onrecord.scripts.parts.kube_api import KubeApi
from onrecord.scripts.parts.oidc import Client, OidcIssuer
from onrecord.scripts.parts.openssh import OpenSshPart, ssh_resource
from onrecord.scripts.parts.ports import free_port
from onrecord.scripts.parts.postgres import PartError, PostgresPart

API_NAME = "billing.internal"
CLUSTER_NAME = "prod.k8s.internal"
AGENT, HUMAN = "devin", "alice@example.com"
APPROVER = "carol"
HOST_POLICIES = ("no_destructive_files", "no_key_files")
PATIENCE = 20.0


@dataclass
class Stage:
    """Everything that runs."""

    folder: Path
    postgres: PostgresPart
    api: HttpsApi
    issuer: OidcIssuer
    client: Client
    gateway: Gateway
    agent: Agent
    tls: bool
    host: OpenSshPart | None
    cluster: KubeApi

    @property
    def config(self) -> Path:
        return self.gateway.setup.path

    def variables(self, token: str) -> dict[str, str]:
        """What `onrecord env` gives an agent with this token."""
        printed = self.gateway.onrecord("env", "--json", env={"ONRECORD_TOKEN": token}).stdout
        found: dict[str, str] = json.loads(printed)
        if not self.tls:
            found |= {"PGSSLMODE": "disable"}
            found.pop("PGSSLROOTCERT", None)
        return found

    def human(self, *words: str) -> str:
        """What `onrecord WORDS` prints for the approver, who has just logged in."""
        return self.gateway.onrecord(*words, check=False, env={"ONRECORD_TOKEN": self.login(APPROVER)}).stdout.strip()

    def login(self, name: str) -> str:
        """A human's token, fresh."""
        return self.gateway.onrecord("token", "--human", "--subject", name, "--groups", "dba").stdout.strip()

    def log(self, *arguments: str) -> list[dict[str, Any]]:
        """`onrecord log --json`."""
        printed = self.gateway.onrecord("log", "--json", *arguments).stdout
        return [json.loads(line) for line in printed.splitlines()]

    def settled(self, count: int) -> list[dict[str, Any]]:
        """The log as soon as it has `count` commands and each has its outcome."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.log()
            if len(found) >= count and all(view.get("outcome") for view in found):
                return found
            if time.monotonic() > deadline:
                return found
            time.sleep(0.1)


@contextlib.contextmanager
def open_stage(screen: Screen) -> Iterator[Stage]:
    """Start everything, and stop and remove it at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onrecord-demo-")))
        began = time.monotonic()
        postgres = stack.enter_context(PostgresPart())
        password = postgres.create_shop()
        screen.done(
            f"PostgreSQL 18 on 127.0.0.1:{postgres.port}: a shop with 60 customers, 200 orders and their payments; "
            "login [bold]svc_agent[/bold], no superuser"
        )
        held = f"Bearer {secrets.token_urlsafe(24)}"
        api = stack.enter_context(HttpsApi(API_NAME, authorization=held))
        screen.done(f"HTTPS API {API_NAME} on 127.0.0.1:{api.port}; it answers only to the gateway's credential")
        issuer = stack.enter_context(OidcIssuer())
        client = issuer.register(
            AGENT, subject=HUMAN, act={"sub": AGENT, "groups": ["agents"]}, run_id="run-refunds-0042"
        )
        screen.done(f"OIDC issuer {issuer.url} [yellow](for this demo only: a toy, never use it elsewhere)[/yellow]")
        host = open_host(stack, screen)
        cluster_token = secrets.token_urlsafe(24)
        cluster = stack.enter_context(KubeApi(CLUSTER_NAME, tokens=[cluster_token]))
        fill(cluster)
        screen.done(
            f"Kubernetes API {CLUSTER_NAME} on 127.0.0.1:{cluster.port} [dim](a small one, made for this)[/dim]"
        )
        psql, tls = find_psql(postgres.bindir)
        secret = {"ORDERS_PASSWORD": password, "BILLING_AUTH": held, "PROD_TOKEN": cluster_token}
        setup = write_config(folder, postgres, api, issuer, host, cluster, tls=tls, env=secret)
        gateway = stack.enter_context(running_gateway(setup))
        screen.done(
            f"onrecord up: HTTP on 127.0.0.1:{setup.http_port}, PostgreSQL on 127.0.0.1:{setup.postgres_port}; the "
            "repository's mitm.toml with these ports and this issuer "
            f"({time.monotonic() - began:.1f} s for all of it)"
        )
        stage = Stage(folder, postgres, api, issuer, client, gateway, Agent({}, psql, find_curl()), tls, host, cluster)
        token = issuer.token(client.subject, client_id=client.id, **client.claims)
        stage.agent = Agent(stage.variables(token), psql, find_curl())
        yield stage


def example() -> dict[str, Any]:
    """The commented mitm.toml of the repository; an installed package has a copy."""
    here = Path(__file__)
    for path in (here.resolve().parents[2] / "mitm.toml", here.with_name("mitm.toml")):
        if path.exists():
            return tomllib.loads(path.read_text())
    raise PartError(f"{here.with_name('mitm.toml')}: the example configuration is missing")


def open_host(stack: contextlib.ExitStack, screen: Screen) -> OpenSshPart | None:
    """A host to log in to, with a log and a key on it; None where this machine has no sshd."""
    try:
        host = stack.enter_context(OpenSshPart())
    except PartError as error:
        screen.warning(f"no SSH in this demo: {error}")
        return None
    (host.home / "app.log").write_text("".join(f"12:0{i} {'ERROR' if i % 3 else 'ok'} order {i}\n" for i in range(9)))
    (host.home / ".ssh").mkdir()
    (host.home / ".ssh/id_ed25519").write_text("not for agents\n")
    screen.done(f"OpenSSH on 127.0.0.1:{host.port}; the gateway holds the key to it")
    return host


def fill(cluster: KubeApi) -> None:
    """Two pods and a secret."""
    for name in ("web-1", "web-2"):
        spec = {"containers": [{"name": "web", "image": "web:1.4"}]}
        metadata = {"name": name, "namespace": "default"}
        cluster.add({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    value = base64.b64encode(secrets.token_bytes(12)).decode()
    metadata = {"name": "db", "namespace": "default"}
    cluster.add({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": value}})


def write_config(
    folder: Path,
    postgres: PostgresPart,
    api: HttpsApi,
    issuer: OidcIssuer,
    host: OpenSshPart | None,
    cluster: KubeApi,
    *,
    tls: bool,
    env: dict[str, str],
) -> Setup:
    """The example with this demo's ports, upstreams and issuer, a host and a cluster."""
    given = example()
    own = {"admin": f"127.0.0.1:{free_port()}"}
    gateway = {name: value for name, value in given["gateway"].items() if name not in ("http", "postgres", "admin")}
    resources = given["resources"]
    resources["orders"]["upstream"] = f"postgresql://svc_agent@{postgres.host}:{postgres.port}/shop"
    resources["billing"] |= {"upstream": f"https://{api.host}:{api.port}", "ca": f"file:{api.ca}"}
    policies = [*given["policies"], {"file": "library:no_secrets", "resources": ["prod"]}]
    resources["prod"] = {
        "type": "kubernetes",
        "hosts": [CLUSTER_NAME],
        "upstream": f"https://{cluster.host}:{cluster.port}",
        "ca": f"file:{cluster.ca}",
        "token": "env:PROD_TOKEN",
        "groups": ["agents"],
        "default": "allow",
    }
    if host is not None:
        own["ssh"] = f"127.0.0.1:{free_port()}"
        resources["app1"] = ssh_resource(host, unknown="deny")
        policies += [{"file": f"library:{name}", "resources": ["app1"]} for name in HOST_POLICIES]
    return make_config(
        folder,
        gateway=gateway | own | {"postgres_tls": "require" if tls else "allow"},
        recordings=given["recordings"],
        issuers=[
            {"issuer": issuer.url, "audience": issuer.audience, "clients": ["127.0.0.1/32"]},
            {"issuer": "onrecord:dev", "audience": issuer.audience},  # of the humans
        ],
        tables={name: given[name] for name in ("approvals", "admin")},
        policies=policies,
        resources=resources,
        env=env,
    )
