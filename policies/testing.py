"""Unit tests for policies, without a gateway: make a command, ask a policy, look at the verdict.

A test file is Python: functions named `test_…` with plain asserts, in a file named `test_….py` beside the policy.
`onrecord policy test` runs them, and so does pytest.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from onrecord.policies.engine import PolicyEngine
from onrecord.policies.errors import PolicyError
from onrecord.policies.model import (
    Action,
    Command,
    ForwardCommand,
    HttpCommand,
    Identity,
    IdentityKind,
    KubeCommand,
    NameSet,
    Resource,
    ResourceType,
    Rule,
    Run,
    Session,
    SftpCommand,
    SqlCommand,
    SshCommand,
)
from onrecord.policies.policy_set import PolicyFile, PolicySet, read_source
from onrecord.policies.verdict import Verdict, combine

if TYPE_CHECKING:
    pass

__all__ = ["answer", "decide", "forward", "http", "kubernetes", "session", "sftp", "sql", "ssh"]

_READS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def session(
    resource: str = "orders",
    *,
    type: ResourceType = "postgres",
    subject: str = "agent",
    groups: Sequence[str] = ("agents",),
    kind: IdentityKind = "agent",
    on_behalf_of: str | None = None,
    default: Rule = "deny",
    admin: Rule = "deny",
    unknown: Rule = "deny",
) -> Session:
    """A session of `subject` on `resource`; `default`, `admin` and `unknown` are the resource's rules."""
    identity = Identity(
        issuer="https://idp.example.com", subject=subject, groups=tuple(groups), kind=kind, on_behalf_of=on_behalf_of
    )
    return Session(
        id="00000000-0000-7000-8000-000000000000",
        run=Run("test"),
        identity=identity,
        resource=Resource(
            name=resource, type=type, groups=tuple(groups), default=default, admin=admin, unknown=unknown
        ),
        protocol=type,
        client="127.0.0.1:50000",
        started_at=0,
    )


def sql(
    text: str,
    *,
    resource: str = "orders",
    groups: Sequence[str] = ("agents",),
    default: Rule = "deny",
    parameters: Sequence[str | None] | None = None,
    role: str = "",
    within: Session | None = None,
) -> SqlCommand:
    """The command that PostgreSQL statement `text` becomes. Raises SqlError, or PolicyError for not one statement."""
    from onrecord.policies.sql import analyse, command_of

    statements = analyse(text).statements
    if len(statements) != 1:
        raise PolicyError(f"{text!r} is {len(statements)} statements: give one")
    return command_of(
        statements[0],
        within or session(resource, groups=groups, default=default),
        parameters=None if parameters is None else tuple(parameters),
        role=role,
    )


def http(
    method: str,
    url: str,
    *,
    resource: str = "api",
    groups: Sequence[str] = ("agents",),
    default: Rule = "deny",
    headers: Mapping[str, str] | None = None,
    body: bytes | str | Mapping[str, object] | None = b"",
    action: Action | None = None,
    within: Session | None = None,
) -> HttpCommand:
    """The command that a request becomes; a mapping as `body` is sent as JSON; None stands for a streamed body.

    `action` follows the method; the gateway also looks into GraphQL bodies, so name the action for those.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PolicyError(f"not an http:// or https:// URL: {url!r}")
    fields = {name.lower(): value for name, value in (headers or {}).items()}
    if isinstance(body, Mapping):
        body = json.dumps(body)
        fields.setdefault("content-type", "application/json")
    method = method.upper()
    return HttpCommand(
        session=within or session(resource, type="http", groups=groups, default=default),
        action=action or ("read" if method in _READS else "write"),
        text=f"{method} {url}",
        method=method,
        scheme=parts.scheme,
        host=parts.hostname,
        port=parts.port or (443 if parts.scheme == "https" else 80),
        path=unquote(parts.path) or "/",
        query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        headers=tuple(fields.items()),
        content_type=fields.get("content-type", ""),
        body=body.encode() if isinstance(body, str) else body,
    )


def ssh(
    line: str,
    *,
    resource: str = "app1",
    groups: Sequence[str] = ("agents",),
    default: Rule = "deny",
    user: str = "deploy",
    within: Session | None = None,
) -> SshCommand:
    """The command that the shell command line `line` becomes when it is run over SSH as `user`."""
    from onrecord.policies.shell import command_of

    return command_of(line, within or session(resource, type="ssh", groups=groups, default=default), user=user)


def sftp(
    operation: str,
    path: str,
    *,
    target: str = "",
    action: Action = "read",
    resource: str = "app1",
    groups: Sequence[str] = ("agents",),
    default: Rule = "deny",
    within: Session | None = None,
) -> SftpCommand:
    """A file operation, such as `sftp("read", "/etc/shadow")` or `sftp("write", "/srv/x", action="write")`."""
    moves = operation in ("rename", "link", "copy")
    return SftpCommand(
        session=within or session(resource, type="ssh", groups=groups, default=default),
        action=action,
        text=f"{operation} {path}" + (f" {target}" if target else ""),
        operation=operation,
        path=path,
        target=target,
        paths_read=NameSet((path,) if moves or operation in ("read", "readdir") else ()),
        paths_written=NameSet(() if action == "read" else (path, target) if moves else (path,)),
    )


def forward(
    host: str = "",
    port: int = 0,
    *,
    path: str = "",
    direction: str = "local",
    resource: str = "app1",
    groups: Sequence[str] = ("agents",),
    default: Rule = "deny",
    within: Session | None = None,
) -> ForwardCommand:
    """A tunnel over SSH, such as `forward("db.internal", 5432)` or `forward(path="/run/app.sock")`."""
    return ForwardCommand(
        session=within or session(resource, type="ssh", groups=groups, default=default),
        action="write",
        text=f"unix:{path}" if path else f"{host}:{port}",
        direction=direction,
        host=host,
        port=port,
        path=path,
    )


def kubernetes(
    verb: str,
    resource: str,
    *,
    group: str = "",
    version: str = "v1",
    subresource: str = "",
    namespace: str = "",
    name: str = "",
    body: object = None,
    patch_type: str = "",
    argv: Sequence[str] = (),
    dry_run: bool = False,
    action: Action | None = None,
    cluster: str = "prod",
    groups: Sequence[str] = ("agents",),
    default: Rule = "deny",
    within: Session | None = None,
) -> KubeCommand:
    """The command of a Kubernetes request; `resource` may hold the subresource: `pods/exec`. `cluster` is the gateway's
    resource. `action` follows from the rest."""
    from onrecord.policies.kubernetes import admin_reasons

    resource, _, inner = resource.partition("/")
    subresource = subresource or inner
    reasons = admin_reasons(
        verb, resource, subresource, namespace=namespace, name=name, body=body, patch_type=patch_type
    )
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    reads = verb in {"get", "list", "watch"} and subresource not in {"exec", "attach", "portforward"}
    where = f"{namespace}/{name}".strip("/")
    return KubeCommand(
        session=within or session(cluster, type="kubernetes", groups=groups, default=default),
        action=action or ("admin" if reasons else "read" if reads else "write"),
        text=f"{verb} {resource}{'/' if subresource else ''}{subresource} {where}".rstrip(),
        verb=verb,
        group=group,
        version=version,
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
        body=body,
        argv=tuple(argv),
        dry_run=dry_run,
        patch_type=patch_type,
        labels=tuple((str(key), str(value)) for key, value in labels.items()) if isinstance(labels, Mapping) else (),
        admin_because=reasons,
        reads_secrets=reads and resource == "secrets" and not group,
    )


def decide(policy: Path | str, command: Command) -> Verdict:
    """The gateway's verdict on `command` under this one policy, the resource's own rules included."""
    return asyncio.run(_engine(policy).explain(command))[1].verdict


def answer(policy: Path | str, command: Command) -> Verdict | None:
    """What the policy itself says: a verdict, or None where it leaves the command to others.

    Raises PolicyError where a hook raised, was too slow or returned no verdict; the gateway would refuse.
    """
    answers, _ = asyncio.run(_engine(policy).explain(command))
    rulings = [found.ruling for found in answers if found.ruling is not None]
    for ruling in rulings:
        if ruling.policy in ("onrecord:engine", "onrecord:timeout"):
            raise PolicyError(getattr(ruling.verdict, "reason", "the policy failed"))
    own = [ruling for ruling in rulings if not ruling.policy.startswith("onrecord:")]
    return combine(own, own[0]).verdict if own else None


def _engine(policy: Path | str) -> PolicyEngine:
    label = str(policy)
    path = Path(label)
    if label.startswith("library:"):
        path = Path(__file__).resolve().parent / "library" / f"{label.removeprefix('library:')}.py"
    policies = PolicySet((PolicyFile(name=path.stem, ref=label, source=read_source(path)),))
    engine = PolicyEngine(timeout=5.0, stale_after=60.0)
    engine.prepare(policies)
    engine.commit(policies.digest)
    return engine
