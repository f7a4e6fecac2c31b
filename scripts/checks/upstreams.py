"""Whether upstreams answer with the configured credentials, and what those credentials may do."""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any

import certifi

from onrecord.policies.config import Config, HttpResource, KubernetesResource, PostgresResource, SshResource
from onrecord.policies.config.ownership import secret_refs
from onrecord.policies.config.values import ip_of
from onrecord.policies.errors import SecretError
from onrecord.policies.secrets import Secrets
from onrecord.scripts.checks.catalogs import try_catalog
from onrecord.scripts.checks.clusters import try_cluster
from onrecord.scripts.checks.finding import Finding
from onrecord.scripts.checks.hosts import try_ssh

TIMEOUT = 10.0

# What the login can become counts as what it is: a member may SET ROLE.
RIGHTS = """
SELECT r.rolname = current_user, r.rolname, r.rolsuper, r.rolbypassrls, r.rolreplication, r.rolcreaterole
FROM pg_catalog.pg_roles AS r
WHERE pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER')
  AND (r.rolname = current_user OR NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user))
"""
DANGEROUS_ROLES = {
    "pg_execute_server_program": "it can run programs on the database's host",
    "pg_write_server_files": "it can write files on the database's host",
    "pg_read_server_files": "it can read files on the database's host",
}
ATTRIBUTES = (
    ("a superuser", "superuser rights are no boundary"),
    ("BYPASSRLS", "it passes row security"),
    ("REPLICATION", "it can copy the whole server"),
    ("CREATEROLE", "it can give itself more rights"),
)


def try_resources(config: Config, secrets: Secrets) -> list[Finding]:
    """One or more findings a resource."""
    findings: list[Finding] = []
    for name, resource in config.resources.items():
        key = f"resources.{name}"
        bad = _secrets(key, resource, secrets) if not _unserved(resource) else []
        if bad:
            findings += bad
        elif isinstance(resource, PostgresResource):
            findings += try_postgres(key, resource, secrets)
            findings += try_catalog(key, resource, secrets)
        elif isinstance(resource, HttpResource):
            findings += try_http(key, resource, secrets)
            if isinstance(resource, KubernetesResource) and findings[-1].status == "ok":
                findings += try_cluster(key, resource, secrets, tls_context(resource, secrets))
        elif isinstance(resource, SshResource):
            findings += try_ssh(key, resource, secrets, config.gateway.state)
    return findings


def _unserved(resource: object) -> bool:
    return not isinstance(resource, HttpResource | PostgresResource | SshResource)


def _secrets(key: str, resource: Any, secrets: Secrets) -> list[Finding]:
    findings = []
    for field, ref in secret_refs(resource):
        try:
            secrets.resolve(ref)
        except SecretError as error:
            findings.append(Finding(f"{key}.{field}", "failed", str(error).removeprefix(f"{ref.where}: ")))
    return findings


def tls_context(resource: HttpResource | PostgresResource, secrets: Secrets, *, verify: bool = True) -> ssl.SSLContext:
    """A client context with the resource's CA and client certificate. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if verify:
        context.load_verify_locations(resource.ca or certifi.where())
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if resource.client_cert is not None and resource.client_key is not None:
        with tempfile.TemporaryDirectory() as folder:  # 0700; the ssl module reads keys from files only
            path = Path(folder) / "key.pem"
            path.touch(mode=0o600)
            path.write_text(secrets.resolve(resource.client_key))
            context.load_cert_chain(resource.client_cert, path)
    return context


def try_http(key: str, resource: HttpResource, secrets: Secrets) -> list[Finding]:
    """TCP and, where it is https, TLS with the certificate checked. No request is sent."""
    exact = [host for host in resource.hosts if not host.startswith("*.")]
    if resource.upstream_host:
        targets = [(resource.upstream_host, resource.upstream_port)]
    else:
        targets = [(host, 443) for host in exact]
    if not targets:
        return [Finding(key, "note", "only wildcard hosts and no upstream: nothing to try")]
    findings = []
    for host, port in targets:
        names = [name for name in (host, *(exact if resource.upstream_host else ())) if ip_of(name) is None] or [host]
        try:
            if resource.upstream_scheme == "https":
                _handshake(host, port, names, tls_context(resource, secrets))
            else:
                socket.create_connection((host, port), TIMEOUT).close()
        except (OSError, ValueError) as error:
            findings.append(Finding(f"{key}.upstream", "failed", f"{host}:{port}: {_reason(error)}"))
        else:
            findings.append(Finding(key, "ok", f"{host}:{port} answers"))
    return findings


def _handshake(host: str, port: int, names: list[str], context: ssl.SSLContext) -> None:
    """TLS to host and port; the certificate must be good for one of `names`. Raises the last error."""
    failure: OSError | None = None
    for name in dict.fromkeys(names):
        try:
            with (
                socket.create_connection((host, port), TIMEOUT) as raw,
                context.wrap_socket(raw, server_hostname=name),
            ):
                return
        except ssl.SSLCertVerificationError as error:
            failure = error
    if failure is not None:
        raise failure


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def try_postgres(key: str, resource: PostgresResource, secrets: Secrets) -> list[Finding]:
    """Log in and ask what the login may do. A privileged one fails unless `accept_privileged` says it is meant."""
    import pg8000.exceptions
    import pg8000.native

    driver: Any = pg8000.native  # untyped
    where = f"{resource.user} at {resource.host}:{resource.port}/{resource.database}"
    try:
        context = None
        if resource.sslmode != "disable":
            context = tls_context(resource, secrets, verify=resource.sslmode != "require")
            context.check_hostname = resource.sslmode == "verify-full"
        connection = driver.Connection(
            resource.user,
            host=resource.host,
            port=resource.port,
            database=resource.database,
            password=secrets.resolve(resource.password) if resource.password is not None else None,
            ssl_context=context,
            timeout=TIMEOUT,
            application_name="onrecord check",
        )
        try:
            roles: list[list[Any]] = connection.run(RIGHTS)
        finally:
            connection.close()
    except pg8000.exceptions.Error as error:
        return [Finding(f"{key}.upstream", "failed", f"{where}: {_postgres_reason(error)}")]
    except (OSError, ValueError) as error:
        return [Finding(f"{key}.upstream", "failed", f"{where}: {_reason(error)}")]
    found = list(dict.fromkeys(privileges(roles)))
    if not found:
        return [Finding(key, "ok", f"{where}: logged in, no special rights")]
    text = f"{where} is privileged: " + "; ".join(found)
    if resource.accept_privileged:
        return [Finding(key, "note", f"{text} (accept_privileged = true)")]
    fix = "use a login with only the rights that agents need, or say accept_privileged = true"
    return [Finding(f"{key}.upstream", "failed", text, fix)]


def privileges(roles: list[list[Any]]) -> list[str]:
    """What is too much about the rows of RIGHTS, in words."""
    found = []
    for own, role, *flags in roles:
        for flag, (name, why) in zip(flags, ATTRIBUTES, strict=True):
            if flag:
                found.append(f"{name}, {why}" if own else f"through role {role}: {name}, {why}")
        if role in DANGEROUS_ROLES:
            found.append(f"member of {role}, {DANGEROUS_ROLES[role]}")
    return found


def _postgres_reason(error: Exception) -> str:
    detail = error.args[0] if error.args else ""
    if isinstance(detail, dict):
        return f"{detail.get('C', '')} {detail.get('M', '')}".strip()
    cause = error.__cause__ or error.__context__
    return _reason(cause) if isinstance(cause, OSError) else str(detail) or type(error).__name__
