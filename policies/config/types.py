"""mitm.toml as frozen types. What they mean: docs/reference/configuration.md; how they are read: `load_config`.

A value that may be a secret is a `SecretRef` ("env:NAME", "file:PATH", "exec:/abs/argv …"), never the secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from onrecord.policies.model import IdentityKind, ResourceType, Rule

Mode = Literal["enforce", "observe"]
Strategy = Literal["redact", "partial", "pseudonymise", "null", "format"]


class SecretRef(msgspec.Struct, frozen=True):
    """Where a secret is: `scheme` env, file or exec; `target` the name, absolute path or command line."""

    scheme: Literal["env", "file", "exec"]
    target: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.target}"


class Address(msgspec.Struct, frozen=True):
    """A listener's host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A listener's certificate chain and key; `client_ca` verifies client certificates (`bind = "mtls"`)."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[gateway]`. Listeners that are None are off. `observe_until` is Unix time in seconds.

    `admin_url` is the origin under which browsers reach the admin page, without a slash at its end; "" without `admin`.
    """

    http: Address | None = None
    postgres: Address | None = None
    ssh: Address | None = None
    admin: Address | None = None
    admin_url: str = ""
    state: Path
    workers: int = 1
    postgres_workers: int = 1
    egress: Rule = "deny"
    mode: Mode = "enforce"
    observe_until: float = 0.0
    tls: TlsConfig | None = None
    postgres_tls: Literal["require", "allow"] = "require"
    stale_policy: float = 60.0
    policy_timeout: float = 1.0
    session_grace: float = 0.0
    max_connections: int = 4096
    handshake_timeout: float = 10.0


class RecordingsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[recordings]`. `body_limit` and `sample_limit` are bytes."""

    store: Path
    durability: Literal["process", "power"] = "process"
    body_limit: int = 1024 * 1024
    sample_limit: int = 64 * 1024


class QuotasConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[quotas]`: what one identity may use of one process; 0 is no limit. `bytes` and `commands` a minute."""

    sessions: int = 512
    commands: int = 0
    bytes: int = 0


class IssuerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[issuers]]`. `clients` are CIDR networks; `max_ttl` seconds; `require` claim → glob patterns.

    `client_id`, `client_secret` and `scopes` log people in at the admin page; `acr` is what a login must have been
    (the `acr` claim, one of them) to decide an approval.
    """

    issuer: str
    audience: tuple[str, ...]
    kind: IdentityKind = "agent"
    groups_claim: str = "groups"
    agent_claim: str = ""
    run_claim: str = "run_id"
    require: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    clients: tuple[str, ...] = ()
    max_ttl: float = 86400.0
    bind: Literal["none", "mtls"] = "none"
    algorithms: tuple[str, ...] = (
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "EdDSA",
    )
    leeway: float = 30.0
    ca: Path | None = None
    jwks_stale: float = 3600.0
    client_id: str = ""
    client_secret: SecretRef | None = None
    scopes: tuple[str, ...] = ("openid",)
    acr: tuple[str, ...] = ()


AdminRole = Literal["viewer", "approver", "auditor", "operator"]
NotifyEvent = Literal["pending", "decided", "killed"]


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[admin]`: role → groups whose members have it; sessions of browsers end after so many seconds."""

    roles: dict[AdminRole, tuple[str, ...]] = msgspec.field(default_factory=dict)
    session_idle: float = 900.0
    session_lifetime: float = 28800.0
    max_connections: int = 256


class ApprovalsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[approvals]`: `approvers` are the groups that decide where a policy names none; `fresh_login` seconds."""

    approvers: tuple[str, ...] = ()
    fresh_login: float = 300.0
    delegator_may_approve: bool = False
    max_pending: int = 20


class NotifyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[notify]]`: where to, for which events. `url` may hold a secret, so it may be a reference.

    `secret` signs webhooks, and checks what Slack sends. `private` allows addresses that are not public.
    """

    name: str
    type: Literal["webhook", "slack", "apprise"]
    url: str | SecretRef
    secret: SecretRef | None = None
    events: tuple[NotifyEvent, ...] = ("pending",)
    private: bool = False
    ca: Path | None = None


class PolicyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[policies]]`: `file` is "library:NAME" or a path; empty `resources` and `groups` mean all."""

    name: str
    file: str
    path: Path
    resources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class MaskConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[masks]]`: what is masked, how, where and for whom. Empty `resources` and `groups` mean all."""

    detect: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    json_paths: tuple[str, ...] = ()
    strategy: Strategy = "redact"
    resources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    except_groups: tuple[str, ...] = ()

    @property
    def by_column(self) -> bool:
        """Whether it names columns, tables or types: those of PostgreSQL."""
        return bool(self.columns or self.tables or self.types)


class SshKeyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One `[[ssh_keys]]`: `key` ("TYPE BASE64") logs in as `subject`. `clients` are CIDR networks, all if empty."""

    key: str
    subject: str
    groups: tuple[str, ...] = ()
    on_behalf_of: str | None = None
    clients: tuple[str, ...] = ()


class ResourceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What all `[resources.NAME]` share."""

    name: str
    type: ResourceType
    groups: tuple[str, ...] = ()
    default: Rule = "deny"
    admin: Rule = "deny"
    unknown: Rule = "deny"
    accept_privileged: bool = False


class HttpResource(ResourceConfig, frozen=True, kw_only=True):
    """`upstream` is None where the host itself is meant; `headers` values may hold references."""

    hosts: tuple[str, ...]
    upstream_scheme: Literal["http", "https"] = "https"
    upstream_host: str = ""
    upstream_port: int = 0
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: SecretRef | None = None
    headers: dict[str, str | SecretRef] = msgspec.field(default_factory=dict)
    bearer: SecretRef | None = None
    basic: SecretRef | None = None
    plaintext: bool = False


class PostgresResource(ResourceConfig, frozen=True, kw_only=True):
    """`sslmode` as in libpq, without `allow` and `prefer`; passwords and `client_key` are references.

    `catalog_user` and `catalog_password` log the catalog's side connection in; without them `user` does, and with
    `catalog = "off"` there is none. `masked_predicates` and `masked_flows`: what becomes of commands that choose rows
    by a masked column, or send one somewhere other than to the client.
    """

    host: str
    port: int
    database: str
    user: str
    password: SecretRef | None = None
    sslmode: Literal["disable", "require", "verify-ca", "verify-full"] = "verify-full"
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: SecretRef | None = None
    catalog: Literal["auto", "off"] = "auto"
    catalog_user: str = ""
    catalog_password: SecretRef | None = None
    masked_predicates: Rule = "deny"
    masked_flows: Rule = "deny"


class SshResource(ResourceConfig, frozen=True, kw_only=True):
    """`user` is who logs in on the host; `users` are the others that `RESOURCE+USER` may name.

    `certificate` is "issue" (the gateway signs one a session), the path of the key's certificate, or "". `host_keys`
    and `host_cas` are public keys as "TYPE BASE64". `forwards` are destinations that may be asked for at all; `env`
    the variables that are passed on beside the locale.
    """

    host: str
    port: int
    user: str
    users: tuple[str, ...] = ()
    key: SecretRef | None = None
    passphrase: SecretRef | None = None
    password: SecretRef | None = None
    agent: str = ""
    certificate: Literal["", "issue"] | Path = ""
    host_keys: tuple[str, ...] = ()
    host_cas: tuple[str, ...] = ()
    interactive: Literal["deny", "record", "per-line"] = "deny"
    masking: Literal["fast", "strict"] = "fast"
    forwards: tuple[str, ...] = ()
    env: tuple[str, ...] = ()


class KubernetesResource(HttpResource, frozen=True, kw_only=True):
    """A cluster's API server: an HTTPS upstream with its own credential and reading.

    `prefix` stands in front of the agents' paths, `upstream_prefix` in front of the API server's. `token` may rotate
    where it is a file. `exec` is a client-go credential plugin's argument list. `impersonate_user` and
    `impersonate_groups` hold `{subject}` and `{group}`. `listen` is a listener of the gateway that serves this cluster
    and nothing else.
    """

    prefix: str = ""
    upstream_prefix: str = ""
    token: SecretRef | None = None
    exec: tuple[str, ...] = ()
    exec_env: dict[str, str | SecretRef] = msgspec.field(default_factory=dict)
    impersonate: bool = False
    impersonate_user: str = "onrecord:{subject}"
    impersonate_groups: str = "onrecord:{group}"
    secrets: Literal["mask", "show"] = "mask"
    listen: Address | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of mitm.toml, paths resolved against its folder."""

    path: Path
    gateway: GatewayConfig
    recordings: RecordingsConfig
    quotas: QuotasConfig = QuotasConfig()
    approvals: ApprovalsConfig = ApprovalsConfig()
    issuers: tuple[IssuerConfig, ...]
    policies: tuple[PolicyConfig, ...]
    masks: tuple[MaskConfig, ...] = ()
    ssh_keys: tuple[SshKeyConfig, ...] = ()
    admin: AdminConfig = AdminConfig()
    notify: tuple[NotifyConfig, ...] = ()
    resources: dict[str, HttpResource | PostgresResource | SshResource]
