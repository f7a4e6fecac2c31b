"""The way out: one connection to the host, with the gateway's credential and a host key that was pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncssh

from onrecord.policies.config import SshResource
from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Identity
from onrecord.policies.secrets import Secrets
from onrecord.shims.ssh import algorithms
from onrecord.shims.ssh.authority import session_certificate
from onrecord.shims.ssh.transport import gather_writes

CONNECT_TIMEOUT = 10.0


class UpstreamError(OnrecordError):
    """The host cannot be reached or does not let the gateway in; the text is for the operator only."""


class _Quiet(asyncssh.SSHClient):
    """A client that answers no question of the host, opens nothing for it, and tells when the host is gone."""

    def __init__(self, password: str | None, on_lost: Any) -> None:
        self._password, self._on_lost = password, on_lost

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        gather_writes(conn._transport)  # noqa: SLF001  # it has no public name

    def password_auth_requested(self) -> str | None:
        password, self._password = self._password, None  # once: a wrong one is not tried again
        return password

    def kbdint_auth_requested(self) -> str | None:
        return "" if self._password is not None else None

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        if not prompts:
            return []
        password, self._password = self._password, None
        return [password] if len(prompts) == 1 and not prompts[0][1] and password is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(exc)


class Upstream:
    """How to reach one resource's host."""

    def __init__(self, resource: SshResource, secrets: Secrets, state: Path) -> None:
        self._resource, self._secrets, self._state = resource, secrets, state

    async def connect(
        self, user: str, identity: Identity, on_lost: Any, *, session: str = ""
    ) -> asyncssh.SSHClientConnection:
        """A logged-in connection as `user`. `on_lost` is called when it ends. Raises UpstreamError."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await self._connect(user, identity, on_lost, session)
        except TimeoutError:
            raise UpstreamError(f"no answer within {CONNECT_TIMEOUT:.0f} s") from None
        except asyncssh.HostKeyNotVerifiable as error:
            raise UpstreamError(f"its host key is none of host_key and host_ca: {error}") from None
        except (OSError, asyncssh.Error, OnrecordError, ValueError) as error:
            raise UpstreamError(f"{type(error).__name__}: {error}") from None

    async def _connect(self, user: str, identity: Identity, on_lost: Any, session: str) -> asyncssh.SSHClientConnection:
        resource = self._resource
        keys = self._keys(user, identity, session)
        password = self._secrets.resolve(resource.password) if resource.password is not None else None
        agent: asyncssh.SSHAgentClient | None = None
        try:
            if resource.agent:
                agent = await asyncssh.connect_agent(resource.agent)
                keys = [*keys, *await agent.get_keys()]
            return await asyncssh.connect(
                resource.host,
                resource.port,
                config=None,
                options=None,
                username=user,
                client_factory=lambda: _Quiet(password, on_lost),
                client_keys=keys or None,
                agent_path=None,  # its keys are asked for above; no key of this machine is looked for
                agent_forwarding=False,
                known_hosts=(
                    [asyncssh.import_public_key(key) for key in resource.host_keys],
                    [asyncssh.import_public_key(key) for key in resource.host_cas],
                    [],
                ),
                preferred_auth=("publickey", "keyboard-interactive", "password"),
                host_based_auth=False,
                gss_host=None,
                client_version="onrecord",
                kex_algs=algorithms.KEX,
                encryption_algs=algorithms.CIPHERS_OUT,
                mac_algs=algorithms.MACS_OUT,
                compression_algs=algorithms.NO_COMPRESSION,
                signature_algs=algorithms.SIGNATURES,
                rekey_bytes=algorithms.REKEY_BYTES,
                rekey_seconds=algorithms.REKEY_SECONDS,
                connect_timeout=CONNECT_TIMEOUT,
                login_timeout=CONNECT_TIMEOUT,
                keepalive_interval=30,
                keepalive_count_max=4,
            )
        finally:
            if agent is not None:
                agent.close()

    def _keys(self, user: str, identity: Identity, session: str) -> list[Any]:
        resource = self._resource
        if resource.certificate == "issue":
            key = asyncssh.generate_private_key("ssh-ed25519")  # lives as long as the session
            return [(key, session_certificate(self._state, key, identity, user=user, session=session))]
        if resource.key is None:
            return []
        passphrase = self._secrets.resolve(resource.passphrase) if resource.passphrase is not None else None
        key = asyncssh.import_private_key(self._secrets.resolve(resource.key) + "\n", passphrase)
        if isinstance(resource.certificate, Path):
            return [(key, asyncssh.read_certificate(resource.certificate))]
        return [key]
