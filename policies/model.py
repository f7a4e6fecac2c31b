"""Who asks, where, and for what: the frozen types that policies read.

Every command class carries the same head (`session`, `action`, `text`, `cause`) and the fields that
docs/reference/policies.md promises for its kind. `digest` is what an approval binds to: identity, run,
resource and the exact command with its parameters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

Action = Literal["read", "write", "admin", "unknown"]
IdentityKind = Literal["agent", "human"]
ResourceType = Literal["http", "postgres", "kubernetes", "ssh"]
Rule = Literal["allow", "hold", "deny"]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A checked token's claims, never the token.

    `token_id` is the `jti` claim or a digest of the signed part; `expires_at` is Unix time in seconds. `names` are
    other names (email, …) of the one whom the token's `sub` names: of the identity, or of the human it acts for.
    `actors` names everybody else in its chain of delegation (RFC 8693 §4.1).
    """

    issuer: str
    subject: str
    groups: tuple[str, ...] = ()
    kind: IdentityKind = "agent"
    on_behalf_of: str | None = None
    agent: str | None = None
    token_id: str = ""
    expires_at: float = 0.0
    run: str | None = None
    names: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()


class Run(msgspec.Struct, frozen=True):
    """One task of one agent; `id` comes from a signed claim or is derived from the token."""

    id: str


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """A configured backend as policies see it: no credential, no address."""

    name: str
    type: ResourceType
    groups: tuple[str, ...] = ()
    default: Rule = "deny"
    admin: Rule = "deny"
    unknown: Rule = "deny"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One connection's life. `started_at` is Unix time in nanoseconds; `login` the name the client gave."""

    id: str
    run: Run
    identity: Identity
    resource: Resource
    protocol: str
    client: str
    started_at: int
    login: str = ""


class NameSet(frozenset[str]):
    """A set of `schema.table` names in which `in` also answers a bare name, for any schema.

    >>> "orders" in NameSet({"public.orders"}), "public.orders" in NameSet({"public.orders"})
    (True, True)
    """

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        if frozenset.__contains__(self, name):
            return True
        if not isinstance(name, str) or "." in name:
            return False
        suffix = "." + name
        return any(entry.endswith(suffix) for entry in self)


_HEAD = frozenset({"session", "action", "text", "cause", "also_admin"})


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every command has. Subclasses set `command_kind`.

    `also_admin`: the action is unknown, and a part that is understood is admin: the resource's rules on both hold.
    """

    command_kind: ClassVar[str] = ""

    session: Session
    action: Action
    text: str
    cause: str | None = None
    also_admin: bool = False

    @property
    def identity(self) -> Identity:
        return self.session.identity

    @property
    def resource(self) -> Resource:
        return self.session.resource

    @property
    def run(self) -> Run:
        return self.session.run

    def detail(self) -> dict[str, object]:
        """The fields of this kind under their names, for the record. Shape: JSON-able."""
        return {name: _plain(getattr(self, name)) for name in self.__struct_fields__ if name not in _HEAD}

    @property
    def digest(self) -> str:
        """`sha256:` over identity, run, resource and the exact command."""
        identity = self.session.identity
        exact = [
            self.command_kind,
            [identity.issuer, identity.subject, identity.on_behalf_of],
            self.session.run.id,
            self.session.resource.name,
            self.text,
            self.detail(),
        ]
        try:
            content = msgspec.json.encode(exact, order="sorted")
        except UnicodeEncodeError:  # lone surrogates, which stand for bytes that are no text
            content = json.dumps(exact, sort_keys=True).encode()
        return "sha256:" + hashlib.sha256(content).hexdigest()


class SqlCommand(_Head, frozen=True, kw_only=True):
    """One PostgreSQL message's statement. `kind` is the statement's tag word: "SELECT", "DELETE", "DROP", …

    `parameters` are the decoded bind values of the extended protocol (`None` before Bind). `foreign_tables` are those
    of the tables whose rows are on another server, as far as a catalog tells.
    """

    command_kind: ClassVar[str] = "sql"

    kind: str
    tables_read: NameSet = NameSet()
    tables_written: NameSet = NameSet()
    columns_read: NameSet = NameSet()
    functions: NameSet = NameSet()
    foreign_tables: NameSet = NameSet()
    has_where: bool = False
    parameters: tuple[str | None, ...] | None = None
    role: str = ""


class HttpCommand(_Head, frozen=True, kw_only=True):
    """One HTTP request or one message of a WebSocket (`method` "WEBSOCKET"), or of a stream a policy asked to see.

    `path` is percent-decoded and normalised; `headers` are lower-case names without credentials; `body` is None
    where it is streamed or over the bound.
    """

    command_kind: ClassVar[str] = "http"

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    body: bytes | None = None


class KubeCommand(_Head, frozen=True, kw_only=True):
    """One Kubernetes API request. `resource` is Kubernetes' own word; the gateway's is `session.resource`.

    `body` is the parsed object (or patch) of a write, `labels` those that it sets, `patch_type` the kind of patch
    ("json", "merge", "strategic", "apply"). `path` and `query` are the request's own; a request outside of
    resources has no `resource`. `admin_because` says what makes the action `admin`, `reads_secrets` marks an answer
    with values of Secrets, `impersonation` names the Impersonate-* headers that the agent sent in vain.
    """

    command_kind: ClassVar[str] = "kubernetes"

    verb: str
    group: str
    version: str
    resource: str  # type: ignore[assignment]  # Kubernetes' term wins in its own class
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    body: object = None
    argv: tuple[str, ...] = ()
    dry_run: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    container: str = ""
    patch_type: str = ""
    field_manager: str = ""
    method: str = ""
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    admin_because: tuple[str, ...] = ()
    reads_secrets: bool = False
    impersonation: tuple[str, ...] = ()


class SshCommand(_Head, frozen=True, kw_only=True):
    """One exec request, one shell, or one line of a per-line shell. `user` is who runs it on the host.

    `dials`: (host, port) that its words name, port 0 where none is given; `redirections`: (operator, target).
    """

    command_kind: ClassVar[str] = "ssh"

    argv: tuple[tuple[str, ...], ...] = ()
    programs: NameSet = NameSet()
    paths_read: NameSet = NameSet()
    paths_written: NameSet = NameSet()
    paths_deleted: NameSet = NameSet()
    dials: tuple[tuple[str, int], ...] = ()
    redirections: tuple[tuple[str, str], ...] = ()
    interactive: bool = False
    user: str = ""


class SftpCommand(_Head, frozen=True, kw_only=True):
    """One file operation. `path` and `target` are resolved: no symbolic link hides where they lead.

    `paths_read` and `paths_written` say what becomes readable and what changes, whatever the operation: both ends of a
    rename are written, and its first is read (it can be read under the other name).
    """

    command_kind: ClassVar[str] = "sftp"

    operation: str
    path: str
    target: str = ""
    size: int | None = None
    sha256: str = ""
    paths_read: NameSet = NameSet()
    paths_written: NameSet = NameSet()


class ForwardCommand(_Head, frozen=True, kw_only=True):
    """One tunnel: `direction` is "local" or "remote"; `path` a Unix socket's."""

    command_kind: ClassVar[str] = "forward"

    direction: str
    host: str = ""
    port: int = 0
    path: str = ""


class LlmCommand(_Head, frozen=True, kw_only=True):
    """One request to a model API."""

    command_kind: ClassVar[str] = "llm"

    provider: str
    model: str
    conversation: str = ""
    new_turns: tuple[object, ...] = ()
    tools: tuple[str, ...] = ()
    tool_results: tuple[object, ...] = ()


class McpCommand(_Head, frozen=True, kw_only=True):
    """One MCP message."""

    command_kind: ClassVar[str] = "mcp"

    method: str
    tool: str = ""
    arguments: object = None
    server: str = ""


Command = SqlCommand | HttpCommand | KubeCommand | SshCommand | SftpCommand | ForwardCommand | LlmCommand | McpCommand

OutcomeStatus = Literal["ok", "error", "refused", "aborted"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a command.

    `code` is the protocol's own (SQLSTATE, HTTP status, exit status); `size` counts the whole result in bytes and
    `digest` is its HMAC-SHA256 under the session's key; `sample` is the bounded, masked part that is kept.
    `sha256` (hex) is of a file's content as it passed, where that was in order; `tag` says of what part.
    """

    status: OutcomeStatus
    code: str = ""
    rows: int = 0
    bytes: int = 0
    duration_ms: float = 0.0
    error: str | None = None
    tag: str = ""
    masked: Mapping[str, int] = msgspec.field(default_factory=dict)
    sample: object = None
    digest: str | None = None
    size: int = 0
    sha256: str = ""


def _plain(value: object) -> object:
    """A JSON-able form of a command's field; sets are sorted so that digests are stable."""
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, bytes):
        return body_text(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def body_text(data: bytes) -> object:
    """Bytes as they stand in a record: text where it is UTF-8, else `{"base64": …}`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        import base64

        return {"base64": base64.b64encode(data).decode()}
