"""`[resources.NAME]`: tables → frozen types, one function a type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from onrecord.policies.config.kubernetes import read_kubernetes
from onrecord.policies.config.reading import Reader
from onrecord.policies.config.ssh import read_ssh
from onrecord.policies.config.tables import HttpTable, KubernetesTable, PostgresTable, ResourceTable, SshTable
from onrecord.policies.config.types import HttpResource, PostgresResource, SecretRef, SshResource
from onrecord.policies.config.values import (
    BadValue,
    Url,
    host_name,
    is_loopback,
    is_reference,
    reference,
    shown,
    url,
)
from onrecord.policies.redaction import clean_generic

_TYPES = ("http", "postgres", "kubernetes", "ssh")
_SSLMODES = ("disable", "require", "verify-ca", "verify-full")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CREDENTIAL = re.compile(r"auth|cookie|token|secret|passw|credential|signature|session|(^|[-_])(api)?[-_]?key($|[-_])")
# Headers that frame the message or the connection: the gateway's own business.
_FRAMING = frozenset(
    {"connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
     "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
)  # fmt: skip

POSTGRES_EXAMPLE = "postgresql://user@db.internal:5432/database"


def read_resource(
    label: str, data: dict[str, Any], key: str, reader: Reader
) -> HttpResource | PostgresResource | SshResource | None:
    """One resource, or None where its type is missing or unknown (noted)."""
    kind = data.get("type")
    if kind == "http":
        return _http(label, reader.table(data, HttpTable, key), key, reader)
    if kind == "postgres":
        return _postgres(label, reader.table(data, PostgresTable, key), key, reader)

    def reference_at(at: str, text: str | None) -> SecretRef | None:
        return _reference(at, text, reader)

    if kind == "ssh":
        ssh = reader.table(data, SshTable, key)
        return read_ssh(ssh, _shared(label, ssh, key, reader), key, reader, reference_at)
    if kind == "kubernetes":
        cluster = reader.table(data, KubernetesTable, key)
        shared = _shared(label, cluster, key, reader)
        shared["hosts"] = _hosts(cluster.hosts, key, reader)
        shared["client_cert"], shared["client_key"] = _client_certificate(cluster, key, reader)
        return read_kubernetes(cluster, shared, key, reader, reference_at)
    reason = (
        "missing" if kind is None else f"no such type: {shown(str(kind))}" if isinstance(kind, str) else "not a text"
    )
    reader.problem(f"{key}.type", reason, "one of " + ", ".join(f'"{name}"' for name in _TYPES))
    return None


def _shared(label: str, table: ResourceTable, key: str, reader: Reader) -> dict[str, Any]:
    """The fields that all resources share."""
    if table.groups is not None and not all(table.groups):
        reader.problem(f"{key}.groups", "an empty group name")
    if table.groups == []:
        reader.problem(f"{key}.groups", "empty: nobody could use the resource", 'name at least one, such as ["agents"]')
    return {
        "name": label,
        "type": table.type,
        "groups": tuple(table.groups or ()),
        "default": table.default,
        "admin": table.admin,
        "unknown": table.unknown,
        "accept_privileged": table.accept_privileged,
    }


def _hosts(hosts: list[str], key: str, reader: Reader) -> tuple[str, ...]:
    found = [reader.value(f"{key}.hosts[{i}]", "", _wildcard_host, text) for i, text in enumerate(hosts)]
    return tuple(dict.fromkeys(host for host in found if host))


def _wildcard_host(text: str) -> str:
    return host_name(text, wildcard=True)


def _reference(key: str, text: str | None, reader: Reader) -> SecretRef | None:
    """The reference at `key`; a file that is named must exist."""
    if text is None:
        return None
    ref: SecretRef | None = reader.value(key, None, reference, text, f"{reader.name}: {key}", reader.folder)
    if ref is not None and ref.scheme == "file":
        reader.existing(key, ref.target)
    return ref


def _client_certificate(
    table: HttpTable | PostgresTable | KubernetesTable, key: str, reader: Reader
) -> tuple[Path | None, SecretRef | None]:
    cert = reader.certificate(f"{key}.client_cert", table.client_cert)
    secret = _reference(f"{key}.client_key", table.client_key, reader)
    if (table.client_cert is None) != (table.client_key is None):
        missing = "client_cert" if table.client_cert is None else "client_key"
        reader.problem(f"{key}.{missing}", "missing: a client certificate needs both client_cert and client_key")
    return cert, secret


def _http(label: str, table: HttpTable, key: str, reader: Reader) -> HttpResource:
    if not table.hosts and not reader.is_bad(f"{key}.hosts"):
        reader.problem(f"{key}.hosts", "empty", "name the hosts that agents ask for")
    scheme, host, port = "https", "", 0
    plaintext = table.plaintext
    if table.upstream is not None:
        target = reader.value(f"{key}.upstream", None, _http_url, table.upstream)
        if target is not None:
            scheme, host, port = target.scheme, target.host, target.port or (443 if target.scheme == "https" else 80)
            if scheme == "http" and not plaintext and not is_loopback(host):
                reader.problem(
                    f"{key}.upstream",
                    "plain http would show the credential to the network",
                    "use https://, or say plaintext = true",
                )
            plaintext = plaintext or scheme == "http"
    bearer_text = table.bearer if table.bearer is not None else table.token
    bearer_key = f"{key}.bearer" if table.bearer is not None else f"{key}.token"
    ways = [name for name in ("bearer", "token", "basic") if getattr(table, name) is not None]
    ways += [f"headers.{name}" for name in table.headers if name.lower() == "authorization"]
    if len(ways) > 1:
        reader.problem(f"{key}.{ways[-1]}", f"a second Authorization beside {ways[0]}", "keep one of them")
    cert, secret = _client_certificate(table, key, reader)
    return HttpResource(
        **_shared(label, table, key, reader),
        hosts=_hosts(table.hosts, key, reader),
        upstream_scheme=scheme,  # type: ignore[arg-type]  # _http_url gives no other
        upstream_host=host,
        upstream_port=port,
        ca=reader.certificate(f"{key}.ca", table.ca),
        client_cert=cert,
        client_key=secret,
        headers=_headers(table.headers, key, reader),
        bearer=_reference(bearer_key, bearer_text, reader),
        basic=_reference(f"{key}.basic", table.basic, reader),
        plaintext=plaintext,
    )


def _http_url(text: str) -> Url:
    target = url(text, ("https", "http"), "https://10.0.0.3:8443")
    if target.user:
        raise BadValue(f"a user in {shown(text)}", "give the credential as bearer, basic or a header")
    if target.path not in ("", "/") or target.query:
        raise BadValue(
            f"a path or query in {shown(text)}", "a resource is a whole host: write scheme, host and port only"
        )
    return target


def _headers(headers: dict[str, str], key: str, reader: Reader) -> dict[str, str | SecretRef]:
    found: dict[str, str | SecretRef] = {}
    seen: set[str] = set()
    for header, text in headers.items():
        at = f"{key}.headers.{header}"
        lower = header.lower()
        if not _TOKEN.fullmatch(header):
            reader.problem(at, "not a header name")
        elif lower in _FRAMING or lower.startswith(("proxy-", "sec-websocket-")):
            reader.problem(at, "this header belongs to the connection; it cannot be set")
        elif lower in seen:
            reader.problem(at, "the same header twice")
        elif is_reference(text):
            ref = _reference(at, text, reader)
            if ref is not None:
                found[header] = ref
        elif _CREDENTIAL.search(lower) or _looks_secret(text):
            reader.problem(
                at,
                "a secret in clear (or no reference); its value is not shown",
                'give it as "env:NAME" or "file:PATH"',
            )
        elif not text.isprintable() or not text.isascii():
            reader.problem(at, "a header value must be printable ASCII")
        else:
            found[header] = text
        seen.add(lower)
    return found


def _looks_secret(text: str) -> bool:
    return clean_generic(text) != text or re.match(r"(?i)(bearer|basic|token|digest|aws4\S*)\s", text) is not None


def _postgres(label: str, table: PostgresTable, key: str, reader: Reader) -> PostgresResource:
    empty = Url("postgresql", "", "", 0, "/", ())
    target = reader.value(f"{key}.upstream", empty, _postgres_url, table.upstream)
    query = dict(target.query)
    for ours, theirs in (("ca", "sslrootcert"), ("client_cert", "sslcert"), ("client_key", "sslkey")):
        if theirs in query and getattr(table, ours) is not None:
            reader.problem(f"{key}.{ours}", f"given twice: here and as {theirs} in upstream", "keep one of them")
    table.ca = table.ca if table.ca is not None else query.get("sslrootcert")
    table.client_cert = table.client_cert if table.client_cert is not None else query.get("sslcert")
    if table.client_key is None and "sslkey" in query:
        table.client_key = "file:" + query["sslkey"].removeprefix("file:")
    local = is_loopback(target.host)
    sslmode = query.get("sslmode") or ("verify-full" if not local or table.ca is not None else "disable")
    if sslmode == "disable" and not local and not table.plaintext and not reader.is_bad(f"{key}.upstream"):
        reader.problem(
            f"{key}.upstream",
            "sslmode=disable would show every row to the network",
            "use sslmode=verify-full, or say plaintext = true",
        )
    cert, secret = _client_certificate(table, key, reader)
    return PostgresResource(
        **_shared(label, table, key, reader),
        host=target.host,
        port=target.port or 5432,
        database=target.path[1:],
        user=target.user,
        password=_reference(f"{key}.password", table.password, reader),
        sslmode=sslmode,  # type: ignore[arg-type]  # _postgres_url checked it
        ca=reader.certificate(f"{key}.ca", table.ca),
        client_cert=cert,
        client_key=secret,
        **_catalog(table, key, reader),
        masked_predicates=table.masked_predicates,
        masked_flows=table.masked_flows,
    )


def _catalog(table: PostgresTable, key: str, reader: Reader) -> dict[str, Any]:
    """The login of the catalog's side connection."""
    given = [name for name in ("catalog_user", "catalog_password") if getattr(table, name) is not None]
    if table.catalog == "off":
        for name in given:
            reader.problem(f"{key}.{name}", 'without effect with catalog = "off"', "take one of the two out")
    elif given == ["catalog_password"]:
        reader.problem(f"{key}.catalog_user", "missing beside catalog_password", "name the user that it belongs to")
    elif table.catalog_user is not None and (not table.catalog_user or "\0" in table.catalog_user):
        reader.problem(f"{key}.catalog_user", "not a user name", "leave it out to use the user of upstream")
    return {
        "catalog": table.catalog,
        "catalog_user": table.catalog_user or "",
        "catalog_password": _reference(f"{key}.catalog_password", table.catalog_password, reader),
    }


def _postgres_url(text: str) -> Url:
    from urllib.parse import unquote

    fix = f'write "{POSTGRES_EXAMPLE}"'
    if not text.lower().startswith(("postgres://", "postgresql://")):
        raise BadValue(f"not a postgres:// URL: {shown(text)}", fix)
    target = url(text, ("postgres", "postgresql"), POSTGRES_EXAMPLE)
    database = unquote(target.path[1:])
    if not target.user:
        raise BadValue(f"no user in {shown(text)}", fix)
    if not database or "/" in database or "\0" in database + target.user:
        raise BadValue(f"no database in {shown(text)}", fix)
    for name, value in target.query:
        if name == "password":
            raise BadValue("a password in the URL; its value is not shown", 'give it as password = "env:NAME"')
        if name not in ("sslmode", "sslrootcert", "sslcert", "sslkey"):
            raise BadValue(f"not supported in the URL: {shown(name)}", "sslmode, sslrootcert, sslcert and sslkey are")
        if name == "sslmode" and value not in _SSLMODES:
            raise BadValue(f"not a supported sslmode: {shown(value)}", "one of " + ", ".join(_SSLMODES))
    return target._replace(path="/" + database)
