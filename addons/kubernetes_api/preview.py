"""What a held write would change: a dry run with the gateway's credential, and its difference to the live object.

The API server runs admission and defaulting for `dryRun=All` and keeps nothing. Three requests at most, as the agent
(impersonation included); the cluster's audit log has them under ids that begin with "preview-". A server behind the API
may not know of `dryRun` and act: it is asked only for what the API server keeps itself.
"""

from __future__ import annotations

import difflib
import json
import ssl
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import certifi
import httpx
import yaml

from onrecord.addons.addresses import is_address
from onrecord.addons.kubernetes_api.body import PATCHES
from onrecord.addons.kubernetes_api.failures import mask_failure
from onrecord.addons.kubernetes_api.impersonation import impersonation
from onrecord.addons.kubernetes_api.secret_values import without_secrets
from onrecord.addons.request_route import bracket
from onrecord.policies.approvals import Preview
from onrecord.policies.config import KubernetesResource
from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Command, KubeCommand
from onrecord.policies.secrets import Secrets

if TYPE_CHECKING:
    from onrecord.addons.kubernetes_api.credentials import ClusterCredential

TIMEOUT = 10.0
MAX_TEXT = 16 * 1024
MAX_ANSWER = 4 * 1024 * 1024
_WRITES = frozenset({"create", "update", "patch", "delete"})
_TYPES = {name: kind for kind, name in PATCHES.items()}
_APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
_BUILT_IN = frozenset(
    {
        "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "autoscaling",
        "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "extensions",
        "flowcontrol.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io",
        "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
    }
)  # fmt: skip
_NOISE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


class Previews:
    """One cluster's. `of` is a recordings.approvals.Previewer."""

    def __init__(self, config: KubernetesResource, credential: ClusterCredential, secrets: Secrets, host: str) -> None:
        self._config, self._credential, self._secrets, self._host = config, credential, secrets, host

    async def of(self, command: Command) -> Preview:
        """The preview. Never raises: what cannot be told has a reason."""
        if not isinstance(command, KubeCommand) or command.verb not in _WRITES:
            return Preview(
                kind="none", reason="a preview is made of creates, updates, patches and deletes of one object"
            )
        if command.subresource not in ("", "scale", "status"):
            return Preview(kind="none", reason=f"there is no dry run of {command.subresource}")
        try:
            return await self._diff(command)
        except (httpx.HTTPError, OSError, ValueError, OnrecordError) as error:
            return Preview(kind="none", reason=f"the dry run failed: {type(error).__name__}")

    async def _diff(self, command: KubeCommand) -> Preview:
        await self._credential.prepare()
        strict = command.resource == "secrets" and not command.group
        async with httpx.AsyncClient(verify=self._context(), timeout=TIMEOUT, trust_env=False) as client:
            exists = bool(command.name) and command.path.rstrip("/").endswith(
                "/" + (command.subresource or command.name)
            )
            status, live = await self._ask(client, command, "GET") if exists else (404, {})
            if status not in (200, 404):
                return Preview(
                    kind="none", reason=f"the live object cannot be read: {_reason(status, live, strict=strict)}"
                )
            before = live if status == 200 else {}
            if command.verb == "delete":
                return Preview(kind="diff", text=_difference(before, {}, command.name))
            if not await self._keeps_itself(client, command):
                return Preview(
                    kind="none", reason="no dry run: another server may be behind this API and may act on it"
                )
            status, after = await self._ask(client, command, command.method, body=command.body)
            if status not in (200, 201):
                return Preview(
                    kind="none", reason=f"the API server would refuse it: {_reason(status, after, strict=strict)}"
                )
            return Preview(kind="diff", text=_difference(before, after, command.name))

    async def _keeps_itself(self, client: httpx.AsyncClient, command: KubeCommand) -> bool:
        """Whether the API server answers for the group itself, as for definitions of custom resources."""
        if command.group in _BUILT_IN:
            return True
        path = f"{_APISERVICES}/{command.version}.{command.group}"
        status, found = await self._ask(client, command, "GET", path=path)
        spec = found.get("spec") if isinstance(found, dict) else None
        return status == 200 and isinstance(spec, dict) and spec.get("service") is None

    async def _ask(
        self, client: httpx.AsyncClient, command: KubeCommand, method: str, body: Any = None, path: str = ""
    ) -> tuple[int, Any]:
        kind = "application/json" if not command.patch_type else _TYPES[command.patch_type]
        query = [(key, value) for key, value in command.query if method != "GET" and key != "dryRun"]
        query += [("dryRun", "All")] if method != "GET" else []
        fields = [*self._credential.apply([]), *impersonation(self._config, command.session)]
        headers = [(name.decode(), value.decode()) for name, value in fields]
        headers += [("accept", "application/json"), ("audit-id", f"preview-{uuid.uuid4()}"), ("host", self._host)]
        content = None if body is None or method == "GET" else json.dumps(body).encode()
        if content is not None:
            headers.append(("content-type", kind))
        path = self._config.upstream_prefix + quote(path or command.path, safe="/:@!$&'()*+,=~")
        where = self._config.upstream_host or self._host
        port = self._config.upstream_port or 443
        url = f"{self._config.upstream_scheme}://{bracket(where)}:{port}{path}?{urlencode(query)}"
        extensions = {"sni_hostname": self._host} if is_address(where) else {}
        async with client.stream(method, url, headers=headers, content=content, extensions=extensions) as answer:
            data = b""
            async for part in answer.aiter_bytes():
                data += part
                if len(data) > MAX_ANSWER:
                    raise ValueError("an answer that is too long")
            return answer.status_code, json.loads(data or b"{}")

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self._config.ca or certifi.where())
        if self._config.client_cert is not None and self._config.client_key is not None:
            import tempfile
            from pathlib import Path

            with tempfile.TemporaryDirectory() as folder:  # 0700; the ssl module reads keys from files only
                path = Path(folder) / "key.pem"
                path.touch(mode=0o600)
                path.write_text(self._secrets.resolve(self._config.client_key))
                context.load_cert_chain(self._config.client_cert, path)
        return context


def _difference(before: Any, after: Any, name: str) -> str:
    """A unified diff of both as YAML, values of Secrets masked, bounded."""
    old, new = (_lines(value) for value in (before, after))
    text = "".join(difflib.unified_diff(old, new, f"live {name}", f"after {name}", n=3))
    if not text:
        return "nothing would change"
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + f"\n… {len(text) - MAX_TEXT} characters more\n"


def _lines(value: Any) -> list[str]:
    if not value:
        return []
    clean = without_secrets(value)
    metadata = clean.get("metadata")
    if isinstance(metadata, dict):
        clean["metadata"] = {key: item for key, item in metadata.items() if key not in _NOISE}
    text: str = yaml.safe_dump(clean, allow_unicode=True, width=200)  # type: ignore[no-untyped-call]
    return text.splitlines(keepends=True)


def _reason(status: int, answer: Any, *, strict: bool) -> str:
    """In the API server's words, without the live object that a failed patch quotes."""
    answer = mask_failure(answer, {}, strict=strict)
    message = answer.get("message") if isinstance(answer, dict) else None
    return f"{status} {message}"[:500] if isinstance(message, str) else str(status)
