"""The gateway's credential for a cluster: a token that may rotate, or what a client-go credential plugin prints.

A token file is looked at for each request and read anew where it changed, a plugin runs again before its token expires.
Both happen before a request is forwarded, so the old token of a running stream stays known and is kept out of answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from onrecord.addons.credentials import Credential
from onrecord.policies.config import KubernetesResource, SecretRef
from onrecord.policies.errors import SecretError
from onrecord.policies.secrets import MAX_SECRET, Secrets, check_program

EXEC_TIMEOUT = 20.0
EARLY = 60.0  # seconds before its expiry a plugin's token is renewed
REREAD = 1.0  # seconds between two looks at a token file
KEPT = 4  # tokens whose spellings are kept out of answers: the present one and former ones
_API = "client.authentication.k8s.io/v1"


class ClusterCredential(Credential):
    """One cluster's. `prepare` must be done before `apply`."""

    def __init__(self, resource: KubernetesResource, secrets: Secrets) -> None:
        super().__init__(resource, secrets)
        self._config, self._secrets = resource, secrets
        self._tokens: list[str] = []
        self._expires = 0.0
        self._looked = 0.0
        self._stamp: tuple[int, int] | None = None
        self._lock = asyncio.Lock()
        self._names = self._names | {b"cookie"}
        self._static = not resource.exec and (resource.token is None or resource.token.scheme != "file")
        if resource.token is not None and self._static:
            self._take(secrets.resolve(resource.token))

    @property
    def is_fresh(self) -> bool:
        """Whether `prepare` has nothing to do."""
        if self._static:
            return True
        if self._config.exec:
            return bool(self._tokens) and (not self._expires or time.time() < self._expires - EARLY)
        return bool(self._tokens) and time.monotonic() - self._looked < REREAD

    async def prepare(self) -> None:
        """Make the token fresh. Raises SecretError where there is none."""
        async with self._lock:
            if self.is_fresh:
                return
            if self._config.exec:
                await self._run_plugin()
            else:
                await asyncio.to_thread(self._reread)

    def _reread(self) -> None:
        token = self._config.token
        if token is None:
            raise SecretError("a cluster without a token")
        self._looked = time.monotonic()
        stamp: tuple[int, int] | None = None
        with contextlib.suppress(OSError):
            status = Path(token.target).stat()
            stamp = (status.st_mtime_ns, status.st_ino)
        if self._tokens and stamp is not None and stamp == self._stamp:
            return
        # The cache of `Secrets` is for the process's life: a fresh one reads the file as it is now.
        self._take(Secrets(on_new=self._secrets.on_new).resolve(token))
        self._stamp = stamp

    def _take(self, token: str) -> None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise SecretError("the cluster's token is not one line of ASCII text")
        self._tokens = [token, *(known for known in self._tokens if known != token)][:KEPT]
        self.fields = [(b"Authorization", b"Bearer " + token.encode())]
        self._learn(self._tokens)

    async def _run_plugin(self) -> None:
        argv, where = self._config.exec, f"resources.{self._config.name}.exec"
        if reason := check_program(Path(argv[0])):
            raise SecretError(f"{where}: {reason}")
        environment = {"PATH": os.defpath, "KUBERNETES_EXEC_INFO": _exec_info()}
        for name, value in self._config.exec_env.items():
            environment[name] = self._secrets.resolve(value) if isinstance(value, SecretRef) else value
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=environment,
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # it may hold the secret
                limit=MAX_SECRET,
                start_new_session=True,
            )
        except OSError as error:
            raise SecretError(f"{where}: cannot be run: {error.strerror}") from None
        try:
            async with asyncio.timeout(EXEC_TIMEOUT):
                assert process.stdout is not None  # noqa: S101  # PIPE above
                output = await process.stdout.read(MAX_SECRET + 1)
                while len(output) <= MAX_SECRET and (more := await process.stdout.read(MAX_SECRET + 1)):
                    output += more
                returned = await process.wait() if len(output) <= MAX_SECRET else -1
        except TimeoutError:
            raise SecretError(f"{where}: no answer within {EXEC_TIMEOUT:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
        if returned != 0:
            raise SecretError(f"{where}: the program ended with status {returned} or printed too much")
        token, self._expires = read_exec_credential(output, where)
        if self._secrets.on_new is not None:
            self._secrets.on_new(token)
        self._take(token)


def read_exec_credential(output: bytes, where: str) -> tuple[str, float]:
    """The token of an ExecCredential and when it expires (Unix seconds; 0: never said). Raises SecretError."""
    try:
        document: Any = json.loads(output)
        if document["kind"] != "ExecCredential" or not str(document["apiVersion"]).startswith(
            "client.authentication.k8s.io/"
        ):
            raise ValueError
        status = document["status"]
        token = status["token"]
        until = status.get("expirationTimestamp")
        expires = datetime.fromisoformat(until).timestamp() if until else 0.0
        if not isinstance(token, str) or not token:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        hint = "it must print an ExecCredential with status.token"
        raise SecretError(f"{where}: what it printed is no token ({hint}); it is not shown") from None
    return token, expires


def _exec_info() -> str:
    return json.dumps({"apiVersion": _API, "kind": "ExecCredential", "spec": {"interactive": False}})
