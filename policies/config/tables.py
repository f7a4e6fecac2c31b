"""The tables of mitm.toml as they are written: keys, types and defaults. `REQUIRED` names what may not be left out.

docs/reference/configuration.md lists exactly these keys; a test holds the two together.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(ge=1)]
RuleText = Literal["allow", "hold", "deny"]


class Table(msgspec.Struct, kw_only=True):
    """Base of all tables."""

    REQUIRED: ClassVar[tuple[str, ...]] = ()


class TlsTable(Table, kw_only=True):
    """`[gateway.tls]`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("cert", "key")

    cert: str = ""
    key: str = ""
    client_ca: str | None = None


class GatewayTable(Table, kw_only=True):
    """`[gateway]`"""

    http: str | None = None
    postgres: str | None = None
    ssh: str | None = None
    admin: str | None = None
    admin_url: str | None = None
    state: str = "state"
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    postgres_workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    egress: Literal["deny", "allow"] = "deny"
    mode: Literal["enforce", "observe"] = "enforce"
    observe_until: Any = None  # a TOML date-time or date, or text of that form
    tls: dict[str, Any] | None = None
    postgres_tls: Literal["require", "allow"] = "require"
    stale_policy: str | float = "60 s"
    policy_timeout: str | float = "1 s"
    session_grace: str | float = "0 s"
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 4096
    handshake_timeout: str | float = "10 s"


class RecordingsTable(Table, kw_only=True):
    """`[recordings]`"""

    store: str = "state/recordings.db"
    durability: Literal["process", "power"] = "process"
    body_limit: str | int = "1 MiB"
    sample_limit: str | int = "64 KiB"


class QuotasTable(Table, kw_only=True):
    """`[quotas]`"""

    sessions: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 512
    commands: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 0
    bytes: str | int = 0


class ApprovalsTable(Table, kw_only=True):
    """`[approvals]`"""

    approvers: list[str] | None = None
    fresh_login: str | float = "5 min"
    delegator_may_approve: bool = False
    max_pending: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20


class IssuerTable(Table, kw_only=True):
    """`[[issuers]]`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("issuer", "audience")

    issuer: str = ""
    audience: str | list[str] = ""
    kind: Literal["agent", "human"] = "agent"
    groups_claim: str = "groups"
    agent_claim: str = ""
    run_claim: str = "run_id"
    require: dict[str, str | list[str]] = msgspec.field(default_factory=dict)
    clients: list[str] | None = None
    max_ttl: str | float = "24 h"
    bind: Literal["none", "mtls"] = "none"
    algorithms: list[str] | None = None
    leeway: str | float = "30 s"
    ca: str | None = None
    jwks_stale: str | float = "1 h"
    client_id: str | None = None
    client_secret: str | None = None
    scopes: list[str] = msgspec.field(default_factory=lambda: ["openid"])
    acr: list[str] | None = None


class AdminTable(Table, kw_only=True):
    """`[admin]`"""

    roles: dict[str, list[str]] = msgspec.field(default_factory=dict)
    session_idle: str | float = "15 min"
    session_lifetime: str | float = "8 h"
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 256


class NotifyTable(Table, kw_only=True):
    """`[[notify]]`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("type", "url")

    type: Literal["webhook", "slack", "apprise"] = "webhook"
    name: str | None = None
    url: str = ""
    secret: str | None = None
    events: list[Literal["pending", "decided", "killed"]] | None = None
    private: bool = False
    ca: str | None = None


class PolicyTable(Table, kw_only=True):
    """`[[policies]]`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("file",)

    file: str = ""
    name: str | None = None
    resources: list[str] | None = None
    groups: list[str] | None = None


class MaskTable(Table, kw_only=True):
    """`[[masks]]`"""

    detect: list[str] | None = None
    columns: list[str] | None = None
    tables: list[str] | None = None
    types: list[str] | None = None
    json_paths: list[str] | None = None
    strategy: Literal["redact", "partial", "pseudonymise", "null", "format"] = "redact"
    resources: list[str] | None = None
    groups: list[str] | None = None
    except_groups: list[str] | None = None


class SshKeyTable(Table, kw_only=True):
    """`[[ssh_keys]]`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("key", "subject", "groups")

    key: str = ""
    subject: str = ""
    groups: list[str] | None = None
    on_behalf_of: str | None = None
    clients: list[str] | None = None


class ResourceTable(Table, kw_only=True):
    """What all `[resources.NAME]` share."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("type", "groups")

    type: Literal["http", "postgres", "kubernetes", "ssh"] = "http"
    groups: list[str] | None = None
    default: RuleText = "deny"
    admin: RuleText = "deny"
    unknown: RuleText = "deny"
    accept_privileged: bool = False


class HttpTable(ResourceTable, kw_only=True):
    """`[resources.NAME]` with `type = "http"`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("type", "groups", "hosts")

    hosts: list[str] = msgspec.field(default_factory=list)
    upstream: str | None = None
    ca: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    bearer: str | None = None
    token: str | None = None
    basic: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    plaintext: bool = False


class PostgresTable(ResourceTable, kw_only=True):
    """`[resources.NAME]` with `type = "postgres"`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("type", "groups", "upstream")

    upstream: str = ""
    password: str | None = None
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    plaintext: bool = False
    catalog: Literal["auto", "off"] = "auto"
    catalog_user: str | None = None
    catalog_password: str | None = None
    masked_predicates: RuleText = "deny"
    masked_flows: RuleText = "deny"


class SshTable(ResourceTable, kw_only=True):
    """`[resources.NAME]` with `type = "ssh"`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("type", "groups", "upstream")

    upstream: str = ""
    key: str | None = None
    passphrase: str | None = None
    password: str | None = None
    agent: str | None = None
    certificate: str | None = None
    host_key: str | list[str] | None = None
    host_ca: str | list[str] | None = None
    users: list[str] | None = None
    interactive: Literal["deny", "record", "per-line"] = "deny"
    masking: Literal["fast", "strict"] = "fast"
    forwards: list[str] | None = None
    env: list[str] | None = None


class KubernetesTable(ResourceTable, kw_only=True):
    """`[resources.NAME]` with `type = "kubernetes"`"""

    REQUIRED: ClassVar[tuple[str, ...]] = ("type", "groups", "hosts")

    hosts: list[str] = msgspec.field(default_factory=list)
    upstream: str | None = None
    prefix: str = ""
    ca: str | None = None
    token: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    exec: list[str] | None = None
    exec_env: dict[str, str] = msgspec.field(default_factory=dict)
    impersonate: bool = False
    impersonate_user: str = "onrecord:{subject}"
    impersonate_groups: str = "onrecord:{group}"
    secrets: Literal["mask", "show"] = "mask"
    listen: str | None = None
