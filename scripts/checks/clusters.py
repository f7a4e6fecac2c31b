"""Whether a cluster takes the gateway's credential, and lets it speak for agents where it must."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
from typing import Any

from onrecord.policies.config import KubernetesResource
from onrecord.policies.config.values import ip_of
from onrecord.policies.errors import SecretError
from onrecord.policies.secrets import Secrets
from onrecord.scripts.checks.finding import Finding

TIMEOUT = 10.0
MAX_ANSWER = 256 * 1024
# Both ask about the caller alone, change nothing, and need a login: /version would answer anyone.
WHO = ("/apis/authentication.k8s.io/v1/selfsubjectreviews", "authentication.k8s.io/v1", "SelfSubjectReview")
MAY = ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "authorization.k8s.io/v1", "SelfSubjectAccessReview")
UNKNOWN = frozenset({403, 404, 405})  # SelfSubjectReview came with Kubernetes 1.28


class ClusterError(Exception):
    """The cluster cannot be asked, or says no; the text says why and holds no secret."""


def try_cluster(key: str, resource: KubernetesResource, secrets: Secrets, context: ssl.SSLContext) -> list[Finding]:
    """Log in with the resource's credential and ask the API server who that is."""
    from onrecord.addons.kubernetes_api.credentials import ClusterCredential

    way = next((name for name in ("token", "exec", "client_cert") if getattr(resource, name)), "")
    where = f"{key}.{way or 'upstream'}"
    if not way:
        return [Finding(key, "note", "no token, exec or client_cert: agents are nobody to the cluster")]
    try:
        credential = ClusterCredential(resource, secrets)
        asyncio.run(credential.prepare())
    except SecretError as error:
        return [Finding(where, "failed", str(error).removeprefix(f"{where}: "))]
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in credential.fields}
    try:
        code, answer = _ask(resource, context, fields, WHO, {})
        user = _text(answer, "status", "userInfo", "username")
        if code in UNKNOWN or not user:
            may = {"spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}}}
            code, answer = _ask(resource, context, fields, MAY, may)
        if code == 401:
            return [Finding(where, "failed", "the cluster does not accept the credential", "give it a valid one")]
        if code != 201:
            said = _text(answer, "message")[:200]
            return [Finding(where, "failed", f"the cluster answers {code} to the credential{said and ': ' + said}")]
        findings = [Finding(key, "ok", f"logged in to the cluster as {user or 'someone that it does not name'}")]
        if resource.impersonate:
            findings += _impersonates(key, resource, context, fields)
    except ClusterError as error:
        return [Finding(f"{key}.upstream", "failed", str(error))]
    return findings


def _impersonates(
    key: str, resource: KubernetesResource, context: ssl.SSLContext, fields: dict[str, str]
) -> list[Finding]:
    """Whether the credential may name the agent to the cluster."""
    findings = []
    for kind in ("users", "groups"):
        asked = {"spec": {"resourceAttributes": {"verb": "impersonate", "resource": kind}}}
        code, answer = _ask(resource, context, fields, MAY, asked)
        status = answer.get("status")
        if code != 201 or not isinstance(status, dict) or status.get("allowed") is not True:
            fix = "bind the ClusterRole of docs/howto/kubernetes.md to it"
            findings.append(Finding(f"{key}.impersonate", "failed", f"the credential may not impersonate {kind}", fix))
    return findings


def _ask(
    resource: KubernetesResource, context: ssl.SSLContext, fields: dict[str, str], review: tuple[str, str, str],
    more: dict[str, Any],
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Create a review; status and answer. Raises ClusterError."""
    path, version, kind = review
    body = json.dumps({"apiVersion": version, "kind": kind, **more})
    try:
        connection = _connect(resource, context)
        try:
            headers = {**fields, "Content-Type": "application/json", "Accept": "application/json"}
            connection.request("POST", resource.upstream_prefix + path, body, headers)
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or type(error).__name__
        raise ClusterError(f"the API server cannot be asked: {reason}") from None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = {}
    return answer.status, document if isinstance(document, dict) else {}


def _connect(resource: KubernetesResource, context: ssl.SSLContext) -> http.client.HTTPConnection:
    """A connection whose certificate is good for the upstream or for one of the resource's hosts."""
    exact = [host for host in resource.hosts if not host.startswith("*.")]
    host, port = resource.upstream_host or next(iter(exact), ""), resource.upstream_port or 443
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    if resource.upstream_scheme == "http":
        return connection
    names = [name for name in (host, *exact) if ip_of(name) is None] or [host]
    failure: OSError = OSError("no name to check")
    for name in dict.fromkeys(names):
        raw = socket.create_connection((host, port), TIMEOUT)
        try:
            connection.sock = context.wrap_socket(raw, server_hostname=name)
        except ssl.SSLCertVerificationError as error:
            raw.close()
            failure = error
        except BaseException:
            raw.close()
            raise
        else:
            return connection
    raise failure


def _text(value: Any, *path: str) -> str:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
