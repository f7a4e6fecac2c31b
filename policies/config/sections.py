"""`[gateway]`, `[recordings]`, `[[issuers]]`, `[[policies]]`: tables → frozen types."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from onrecord.policies.config.admin import admin_url, check_admin, read_admin, read_login, read_notify
from onrecord.policies.config.approvals import read_approvals
from onrecord.policies.config.checks import check_config
from onrecord.policies.config.issuers import DEV_ISSUER
from onrecord.policies.config.masks import check_masks, read_mask
from onrecord.policies.config.policy_files import check_policy_file, library_path
from onrecord.policies.config.reading import Reader
from onrecord.policies.config.resources import read_resource
from onrecord.policies.config.ssh import read_ssh_key
from onrecord.policies.config.tables import (
    GatewayTable,
    IssuerTable,
    PolicyTable,
    QuotasTable,
    RecordingsTable,
    TlsTable,
)
from onrecord.policies.config.types import (
    Config,
    GatewayConfig,
    HttpResource,
    IssuerConfig,
    PolicyConfig,
    PostgresResource,
    QuotasConfig,
    RecordingsConfig,
    SshResource,
    TlsConfig,
)
from onrecord.policies.config.values import BadValue, address, duration, is_loopback, moment, name, network, shown, size

SECTIONS = (
    "gateway",
    "recordings",
    "approvals",
    "quotas",
    "issuers",
    "policies",
    "masks",
    "ssh_keys",
    "admin",
    "notify",
    "resources",
)


def read_config(data: dict[str, Any], path: Path, reader: Reader) -> Config:
    """The whole file. Problems are in `reader`; the result is only good where there are none."""
    reader.keys(data, SECTIONS, "")
    config = Config(
        path=path,
        gateway=_gateway(reader.section(data, "gateway"), reader),
        recordings=_recordings(reader.section(data, "recordings"), reader),
        quotas=_quotas(reader.section(data, "quotas"), reader),
        approvals=read_approvals(reader.section(data, "approvals"), reader),
        issuers=tuple(_issuer(item, key, reader) for key, item in reader.items(data, "issuers")),
        policies=tuple(_policy(item, key, reader) for key, item in reader.items(data, "policies")),
        masks=tuple(read_mask(item, key, reader) for key, item in reader.items(data, "masks")),
        ssh_keys=tuple(read_ssh_key(item, key, reader) for key, item in reader.items(data, "ssh_keys")),
        admin=read_admin(reader.section(data, "admin"), reader),
        notify=tuple(read_notify(item, key, reader) for key, item in reader.items(data, "notify")),
        resources=_resources(reader.section(data, "resources"), reader),
    )
    check_config(config, reader)
    check_admin(config, reader)
    check_masks(config, reader)
    return config


def _gateway(data: dict[str, Any], reader: Reader) -> GatewayConfig:
    table = reader.table(data, GatewayTable, "gateway")

    def listener(key: str, text: str | None) -> Any:
        return None if text is None else reader.value(f"gateway.{key}", None, address, text)

    def seconds(key: str) -> float:
        return reader.value(f"gateway.{key}", 1.0, duration, getattr(table, key))

    until = 0.0
    if table.observe_until is not None:
        until = reader.value("gateway.observe_until", 0.0, moment, table.observe_until)
    if table.mode == "observe" and table.observe_until is None and not reader.is_bad("gateway.observe_until"):
        reader.problem(
            "gateway.observe_until",
            'missing with mode = "observe"',
            "say until when: observe_until = 2026-12-01T18:00:00Z",
        )
    for key in ("stale_policy", "policy_timeout", "handshake_timeout"):
        if seconds(key) <= 0:
            reader.problem(f"gateway.{key}", "must be longer than nothing")
    return GatewayConfig(
        http=listener("http", table.http),
        postgres=listener("postgres", table.postgres),
        ssh=listener("ssh", table.ssh),
        admin=listener("admin", table.admin),
        admin_url=admin_url(table, listener("admin", table.admin), reader),
        state=reader.path(table.state),
        workers=table.workers,
        postgres_workers=table.postgres_workers,
        egress=table.egress,
        mode=table.mode,
        observe_until=until,
        tls=None if table.tls is None else _tls(table.tls, reader),
        postgres_tls=table.postgres_tls,
        stale_policy=seconds("stale_policy"),
        policy_timeout=seconds("policy_timeout"),
        session_grace=seconds("session_grace"),
        max_connections=table.max_connections,
        handshake_timeout=seconds("handshake_timeout"),
    )


def _tls(data: dict[str, Any], reader: Reader) -> TlsConfig:
    table = reader.table(data, TlsTable, "gateway.tls")
    cert = reader.certificate("gateway.tls.cert", table.cert)
    key = reader.existing("gateway.tls.key", table.key)
    if key is not None and stat.S_IMODE(key.stat().st_mode) & 0o077:
        reader.problem("gateway.tls.key", f"others can read the private key {str(key)!r}", "chmod 600")
    client_ca = reader.certificate("gateway.tls.client_ca", table.client_ca)
    return TlsConfig(cert=cert or Path(), key=key or Path(), client_ca=client_ca)


def _recordings(data: dict[str, Any], reader: Reader) -> RecordingsConfig:
    table = reader.table(data, RecordingsTable, "recordings")
    if "://" in table.store:
        reader.problem(
            "recordings.store",
            "a database server as store is not in this version",
            'give a file: "state/recordings.db"',
        )
    elif not table.store:
        reader.problem("recordings.store", "empty", 'give a file: "state/recordings.db"')
    limits = {key: reader.value(f"recordings.{key}", 0, size, getattr(table, key)) for key in _LIMITS}
    for key, most in _LIMITS.items():
        if limits[key] > most:
            reader.problem(
                f"recordings.{key}", f"{limits[key]} bytes are over the most that a record holds", f"at most {most}"
            )
    return RecordingsConfig(store=reader.path(table.store), durability=table.durability, **limits)


def _quotas(data: dict[str, Any], reader: Reader) -> QuotasConfig:
    table = reader.table(data, QuotasTable, "quotas")
    moved = reader.value("quotas.bytes", 0, size, table.bytes) if table.bytes else 0
    return QuotasConfig(sessions=table.sessions, commands=table.commands, bytes=moved)


_LIMITS = {"body_limit": 16 * 1024 * 1024, "sample_limit": 16 * 1024 * 1024}


def _issuer(data: dict[str, Any], key: str, reader: Reader) -> IssuerConfig:
    table = reader.table(data, IssuerTable, key)
    audience = (table.audience,) if isinstance(table.audience, str) else tuple(table.audience)
    if not reader.is_bad(f"{key}.audience") and not (audience and all(audience)):
        reader.problem(f"{key}.audience", "empty", 'give the aud claim of tokens for this gateway, such as "onrecord"')
    algorithms = table.algorithms
    chosen: dict[str, Any] = {}
    if algorithms is not None:
        chosen["algorithms"] = reader.value(f"{key}.algorithms", tuple(algorithms), _algorithms, algorithms)
    if table.clients == []:
        reader.problem(f"{key}.clients", "empty: no client could use its tokens", "leave it out to allow all networks")
    max_ttl = reader.value(f"{key}.max_ttl", 1.0, duration, table.max_ttl)
    if max_ttl <= 0:
        reader.problem(f"{key}.max_ttl", "must be longer than nothing")
    leeway = reader.value(f"{key}.leeway", 0.0, duration, table.leeway)
    if leeway > 300:
        reader.problem(f"{key}.leeway", f"{leeway:g} s would accept long expired tokens", "at most 5 min")
    return IssuerConfig(
        issuer=reader.value(f"{key}.issuer", "", _issuer_url, table.issuer),
        audience=audience,
        kind=table.kind,
        groups_claim=table.groups_claim,
        agent_claim=table.agent_claim,
        run_claim=table.run_claim,
        require={claim: (want,) if isinstance(want, str) else tuple(want) for claim, want in table.require.items()},
        clients=tuple(
            reader.value(f"{key}.clients[{i}]", "", network, text) for i, text in enumerate(table.clients or ())
        ),
        max_ttl=max_ttl,
        bind=table.bind,
        leeway=leeway,
        ca=reader.certificate(f"{key}.ca", table.ca),
        jwks_stale=reader.value(f"{key}.jwks_stale", 0.0, duration, table.jwks_stale),
        **read_login(table, key, reader),
        **chosen,
    )


_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def _algorithms(values: list[str]) -> tuple[str, ...]:
    for value in values:
        if value not in _ALGORITHMS:
            raise BadValue(
                f"not an accepted signature algorithm: {shown(value)}", "choose from " + ", ".join(_ALGORITHMS)
            )
    if not values:
        raise BadValue("empty: no token could be accepted", "leave it out for the usual ones")
    return tuple(dict.fromkeys(values))


def _issuer_url(text: str) -> str:
    if text == DEV_ISSUER:
        return text
    fix = f'write the iss claim of its tokens, such as "https://idp.example.com", or "{DEV_ISSUER}"'
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise BadValue(f"not an https:// URL: {shown(text)}", fix) from None
    if parts.scheme not in ("https", "http") or not host:
        raise BadValue(f"not an https:// URL: {shown(text)}", fix)
    if parts.username is not None or parts.query or parts.fragment:
        raise BadValue(f"an issuer has neither user, query nor fragment: {shown(text)}", fix)
    if parts.scheme == "http" and not is_loopback(host):
        raise BadValue(f"keys fetched over plain http can be forged: {shown(text)}", "use https://")
    return text


def _policy(data: dict[str, Any], key: str, reader: Reader) -> PolicyConfig:
    table = reader.table(data, PolicyTable, key)
    path = Path()
    if table.file.startswith("library:"):
        label = table.file.removeprefix("library:")
        path = reader.value(f"{key}.file", path, library_path, label)
    else:
        path = reader.path(table.file)
        label = path.stem
    if not reader.is_bad(f"{key}.file"):
        reader.value(f"{key}.file", None, check_policy_file, path)
    if table.name is not None:
        label = reader.value(f"{key}.name", "", name, table.name, "policy")
    elif not reader.is_bad(f"{key}.file"):
        reader.value(f"{key}.file", "", name, label, "policy")
    for field in ("resources", "groups"):
        if getattr(table, field) == []:
            reader.problem(f"{key}.{field}", "empty: the policy would never speak", f"leave {field} out to mean all")
    return PolicyConfig(
        name=label,
        file=table.file,
        path=path,
        resources=tuple(table.resources or ()),
        groups=tuple(table.groups or ()),
    )


def _resources(data: dict[str, Any], reader: Reader) -> dict[str, HttpResource | PostgresResource | SshResource]:
    resources = {}
    for label, table in data.items():
        key = f"resources.{label}"
        reader.value(key, "", name, label, "resource")
        if not isinstance(table, dict):
            reader.problem(key, "not a table", f"write [resources.{label}]")
            continue
        resource = read_resource(label, table, key, reader)
        if resource is not None:
            resources[label] = resource
    return resources
