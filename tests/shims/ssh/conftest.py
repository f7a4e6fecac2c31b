"""A real sshd, a running gateway before it, and the real ssh."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onrecord.scripts.parts.gateway import Gateway, make_config, running_gateway, wait_until
from onrecord.scripts.parts.openssh import OpenSshPart, SshClient, ssh_resource
from onrecord.scripts.parts.ports import free_port
from onrecord.scripts.parts.toml_file import write_toml
from onrecord.shims.ssh.hostkeys import gateway_key


@pytest.fixture(scope="session")
def sshd() -> Iterator[OpenSshPart]:
    """A real OpenSSH server, shared: leave its files as they are, but for your own folders in `home`."""
    with OpenSshPart() as host:
        yield host


class Lab:
    """A gateway before a host, clients for it, and what it has on record."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self.gateway, self._folder = gateway, folder
        self._clients = 0

    @property
    def host_key(self) -> str:
        return gateway_key(self.gateway.setup.state).export_public_key().decode().strip()

    def client(self, token: str | None = None, **options: str) -> SshClient:
        """A client with a token of devin, in the group agents."""
        self._clients += 1
        setup = self.gateway.setup
        return SshClient(
            self._folder / f"client{self._clients}",
            setup.ssh_port,
            self.host_key,
            token if token is not None else setup.mint("devin"),
            **options,
        )

    def log(self, *arguments: str) -> list[dict[str, Any]]:
        """`onrecord log --json`, the oldest first."""
        lines = self.gateway.onrecord("log", "--json", *arguments).stdout.splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda row: str(row["at"]))

    def commands(self, *, finished: int, kind: str = "ssh") -> list[dict[str, Any]]:
        """The records of the kind, once `finished` of them have an outcome."""

        def ready() -> list[dict[str, Any]]:
            found = [row for row in self.log() if row["kind"] == kind]
            return found if sum(row["outcome"] is not None for row in found) >= finished else []

        return wait_until(ready, timeout=60, what=f"{finished} finished commands: {self.log()}")


def _resource(host: OpenSshPart, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The table of app1; a field that is None is left out."""
    return {name: value for name, value in ssh_resource(host, **fields).items() if value is not None}


LabMaker = Callable[..., Lab]


@pytest.fixture
def make_lab(tmp_path: Path, sshd: OpenSshPart) -> Iterator[LabMaker]:
    """Starts gateways: `make_lab(policies=…, masks=…, **fields of the resource app1)`."""
    with ExitStack() as stack:

        def make(
            *,
            policies: Sequence[Mapping[str, Any]] = (),
            masks: Sequence[Mapping[str, Any]] = (),
            gateway: Mapping[str, Any] | None = None,
            host: OpenSshPart = sshd,
            resources: Mapping[str, Mapping[str, Any]] | None = None,
            env: Mapping[str, str] | None = None,
            pass_env: Sequence[str] = (),
            ssh_keys: Sequence[Mapping[str, Any]] = (),
            **fields: Any,
        ) -> Lab:
            if pass_env:
                fields["env"] = list(pass_env)
            setup = make_config(
                tmp_path,
                gateway={"http": None, "postgres": None, "ssh": f"127.0.0.1:{free_port()}", **(gateway or {})},
                policies=policies,
                masks=masks,
                env=env,
                resources={"app1": _resource(host, fields), **(resources or {})},
                tables={"admin": {"roles": {"operator": ["admins"]}}},
            )
            if ssh_keys:
                with setup.path.open("a") as file:
                    file.write("".join("\n[[ssh_keys]]\n" + write_toml(dict(key)) for key in ssh_keys))
            running = stack.enter_context(running_gateway(setup))
            return Lab(running, tmp_path)

        yield make
