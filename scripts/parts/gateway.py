"""A gateway for tests, demo and benchmarks: a written mitm.toml and a running `onrecord up`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onrecord.scripts.parts.https_api import HttpsApi
from onrecord.scripts.parts.ports import free_ports
from onrecord.scripts.parts.postgres import PartError, PostgresPart
from onrecord.scripts.parts.toml_file import write_toml

AUDIENCE = "onrecord"
PATIENCE = 30.0
POLL = 0.01


def wait_until[T](check: Callable[[], T], *, timeout: float = PATIENCE, what: str = "") -> T:
    """Ask `check` until it answers something true, and return that; TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s for {what or check}")
        time.sleep(POLL)
    return answer


@dataclass
class Setup:
    """A written configuration: `path` of mitm.toml, `env` with the secrets it refers to, the listeners' ports."""

    path: Path
    env: dict[str, str]
    http_port: int
    postgres_port: int
    state: Path
    store: Path
    ssh_port: int = 0
    admin_port: int = 0

    @property
    def admin_url(self) -> str:
        """The admin page's origin; "" where there is none."""
        return f"http://127.0.0.1:{self.admin_port}" if self.admin_port else ""

    def mint(self, subject: str = "agent-7", *, groups: Sequence[str] = ("agents",), **more: Any) -> str:
        """A token of the dev issuer."""
        from onrecord.policies import dev_issuer

        return str(dev_issuer.mint(self.state, subject=subject, groups=list(groups), audience=AUDIENCE, **more))


def make_config(
    tmp_path: Path,
    *,
    resources: Mapping[str, Mapping[str, Any]] | None = None,
    policies: Sequence[Mapping[str, Any]] = (),
    masks: Sequence[Mapping[str, Any]] = (),
    issuers: Sequence[Mapping[str, Any]] | None = None,
    gateway: Mapping[str, Any] | None = None,
    recordings: Mapping[str, Any] | None = None,
    quotas: Mapping[str, Any] | None = None,
    tables: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Setup:
    """Write mitm.toml under `tmp_path`, on free loopback ports, with the dev issuer; keyword tables override.

    A listener that is overridden with None is left out; its port is then 0. `tables` are further tables, by name.
    """
    http_port, postgres_port = free_ports(2)
    folder = tmp_path / "gateway"
    folder.mkdir(mode=0o700, exist_ok=True)
    document: dict[str, Any] = {
        "gateway": {
            "http": f"127.0.0.1:{http_port}",
            "postgres": f"127.0.0.1:{postgres_port}",
            "state": "state",
            "postgres_tls": "allow",
            **(gateway or {}),
        },
        "recordings": {"store": "state/recordings.db", **(recordings or {})},
        **({"quotas": dict(quotas)} if quotas else {}),
        "issuers": [dict(issuer) for issuer in issuers]
        if issuers is not None
        else [{"issuer": "onrecord:dev", "audience": AUDIENCE}],
        "policies": [dict(policy) for policy in policies],
        **({"masks": [dict(mask) for mask in masks]} if masks else {}),
        **(tables or {}),
        "resources": {name: dict(table) for name, table in (resources or {}).items()},
    }
    listeners = document["gateway"]
    for name in [name for name, value in listeners.items() if value is None]:
        del listeners[name]
    path = folder / "mitm.toml"
    path.write_text(write_toml(document))
    path.chmod(0o600)
    state = folder / "state"
    return Setup(
        path,
        dict(env or {}),
        int(str(listeners["http"]).rpartition(":")[2]) if "http" in listeners else 0,
        int(str(listeners["postgres"]).rpartition(":")[2]) if "postgres" in listeners else 0,
        state,
        state / "recordings.db",
        ssh_port=int(str(listeners["ssh"]).rpartition(":")[2]) if "ssh" in listeners else 0,
        admin_port=int(str(listeners["admin"]).rpartition(":")[2]) if "admin" in listeners else 0,
    )


def postgres_resource(server: PostgresPart, *, user: str, database: str = "shop", **more: Any) -> dict[str, Any]:
    """A `[resources.NAME]` table for a part; the password is read from the variable SHOP_PASSWORD."""
    mode = "verify-full" if server.tls else "disable"
    table: dict[str, Any] = {
        "type": "postgres",
        "upstream": f"postgresql://{user}@{server.host}:{server.port}/{database}?sslmode={mode}",
        "password": "env:SHOP_PASSWORD",
        "groups": ["agents"],
        "default": "allow",
    }
    if server.ca is not None:
        table["ca"] = f"file:{server.ca}"
    return table | more


def http_resource(api: HttpsApi, **more: Any) -> dict[str, Any]:
    """A `[resources.NAME]` table for the HTTPS part: its first name, dialled at its loopback address."""
    return {
        "type": "http",
        "hosts": [api.names[0]],
        "upstream": f"https://{api.host}:{api.port}",
        "ca": f"file:{api.ca}",
        "groups": ["agents"],
        "default": "allow",
    } | more


@dataclass
class Gateway:
    """A running `onrecord up`."""

    setup: Setup
    process: subprocess.Popen[bytes]
    log: Path
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def proxy_ca(self) -> Path:
        """What HTTP clients of the gateway must trust."""
        return self.setup.state / "ca" / "mitmproxy-ca-cert.pem"

    def proxy(self, token: str) -> str:
        """HTTPS_PROXY for a token."""
        return f"http://agent:{token}@127.0.0.1:{self.setup.http_port}"

    def output(self) -> str:
        """What the gateway has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def onrecord(
        self, *arguments: str, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `onrecord ARGUMENTS -c CONFIG` and return what it printed; PartError on a status other than 0."""
        done = subprocess.run(
            [sys.executable, "-m", "onrecord.scripts.main", *arguments, "-c", str(self.setup.path)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **self.setup.env, **(env or {})},
            timeout=60,
        )
        if check and done.returncode:
            raise PartError(f"onrecord {arguments}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


@contextlib.contextmanager
def running_gateway(setup: Setup, *, timeout: float = PATIENCE) -> Iterator[Gateway]:
    """`onrecord up` as its own process, ready when its listeners take connections; stopped by SIGTERM."""
    log = setup.path.parent / "up.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "onrecord.scripts.main", "up", "-c", str(setup.path)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **setup.env},
            start_new_session=True,
        )
    gateway = Gateway(setup, process, log)
    try:
        for port in filter(None, (setup.http_port, setup.postgres_port, setup.ssh_port, setup.admin_port)):
            _wait_listening(gateway, port, timeout)
            if process.poll() is not None:
                raise PartError(f"onrecord up ended with {process.returncode}:\n{gateway.output()}")
        yield gateway
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any], *, timeout: float = PATIENCE) -> int:
    """SIGTERM, and SIGKILL to its whole process group where it does not end."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _wait_listening(gateway: Gateway, port: int, timeout: float) -> None:
    """Until `port` takes connections or the gateway has ended."""
    wait_until(lambda: gateway.process.poll() is not None or _listens(port), timeout=timeout, what=f"port {port}")


def _listens(port: int) -> bool:
    import socket

    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
