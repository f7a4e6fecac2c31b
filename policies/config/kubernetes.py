"""`[resources.NAME]` with `type = "kubernetes"`: a cluster's API server and the gateway's one credential for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from onrecord.policies.config.reading import Reader
from onrecord.policies.config.tables import KubernetesTable
from onrecord.policies.config.types import KubernetesResource, SecretRef
from onrecord.policies.config.values import BadValue, Url, address, is_loopback, is_reference, shown, url
from onrecord.policies.redaction import clean_generic

_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SECRET_NAME = re.compile(r"(?i)token|secret|passw|key|credential")
_EXAMPLE = "https://10.0.0.5:6443"


def read_kubernetes(
    table: KubernetesTable,
    shared: dict[str, Any],
    key: str,
    reader: Reader,
    references: Callable[[str, str | None], SecretRef | None],
) -> KubernetesResource:
    """`references(key, text)` reads a secret reference; `shared` are the fields of all, hosts and certificate."""
    if not table.hosts and not reader.is_bad(f"{key}.hosts"):
        reader.problem(f"{key}.hosts", "empty", "name the hosts that agents' kubeconfigs ask for")
    prefix = reader.value(f"{key}.prefix", "", _prefix, table.prefix)
    scheme, host, port, upstream_prefix = "https", "", 0, prefix
    if table.upstream is not None:
        target = reader.value(f"{key}.upstream", None, _upstream, table.upstream)
        if target is not None:
            scheme, host, port = target.scheme, target.host, target.port or (443 if target.scheme == "https" else 80)
            upstream_prefix = target.path.rstrip("/") or prefix
            if scheme == "http" and not is_loopback(host):
                reader.problem(f"{key}.upstream", "plain http would show the credential to the network", "use https://")
    given = [name for name in ("token", "exec", "client_cert") if getattr(table, name) is not None]
    if len(given) > 1:
        reader.problem(f"{key}.{given[-1]}", f"a second credential beside {given[0]}", "keep one of them")
    _templates(table, key, reader)
    listen = None if table.listen is None else reader.value(f"{key}.listen", None, address, table.listen)
    if listen is not None and table.hosts and all(host.startswith("*.") for host in table.hosts):
        fix = "put the cluster's name before them"
        reader.problem(f"{key}.hosts", "only wildcards: a listener serves one cluster under one name", fix)
    return KubernetesResource(
        **shared,
        upstream_scheme=scheme,  # type: ignore[arg-type]  # _upstream gives no other
        upstream_host=host,
        upstream_port=port,
        ca=reader.certificate(f"{key}.ca", table.ca),
        prefix=prefix,
        upstream_prefix=upstream_prefix,
        token=references(f"{key}.token", table.token),
        exec=reader.value(f"{key}.exec", (), _plugin, table.exec) if table.exec is not None else (),
        exec_env=_environment(table.exec_env, key, reader, references),
        impersonate=table.impersonate,
        impersonate_user=table.impersonate_user,
        impersonate_groups=table.impersonate_groups,
        secrets=table.secrets,
        listen=listen,
    )


def _upstream(text: str) -> Url:
    target = url(text, ("https", "http"), _EXAMPLE)
    if target.user:
        raise BadValue(f"a user in {shown(text)}", "give the credential as token, exec or client_cert")
    if target.query:
        raise BadValue(f"a query in {shown(text)}", f'write "{_EXAMPLE}"')
    _prefix(target.path.rstrip("/"))
    return target


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise BadValue(f"not a path to stand before /api: {shown(text)}", 'write it as "/k8s/clusters/c-abc"')
    if text.split("/")[1:2] in (["api"], ["apis"]):
        raise BadValue(f"a prefix that the API server would read itself: {shown(text)}")
    return text


def _plugin(argv: list[str]) -> tuple[str, ...]:
    if not argv or not argv[0].startswith("/") or any("\0" in word for word in argv):
        raise BadValue(
            "not a list that begins with a program's absolute path", 'write exec = ["/usr/bin/program", "…"]'
        )
    return tuple(argv)


def _environment(
    variables: dict[str, str], key: str, reader: Reader, references: Callable[[str, str | None], SecretRef | None]
) -> dict[str, Any]:
    found: dict[str, str | SecretRef] = {}
    for name, text in variables.items():
        at = f"{key}.exec_env.{name}"
        if not _VARIABLE.fullmatch(name):
            reader.problem(at, "not the name of an environment variable")
        elif is_reference(text):
            ref = references(at, text)
            if ref is not None:
                found[name] = ref
        elif _SECRET_NAME.search(name) or clean_generic(text) != text:
            reader.problem(at, "a secret in clear; its value is not shown", 'give it as "env:NAME" or "file:PATH"')
        else:
            found[name] = text
    return found


def _templates(table: KubernetesTable, key: str, reader: Reader) -> None:
    """What agents are called in the cluster. A token's subject or group may never name one of Kubernetes' own."""
    for name, hole in (("impersonate_user", "{subject}"), ("impersonate_groups", "{group}")):
        text = getattr(table, name)
        front = text.partition(hole)[0]
        if (
            hole not in text
            or not text.isascii()
            or not text.isprintable()
            or re.search(r"[{}]", text.replace(hole, ""))
        ):
            reader.problem(
                f"{key}.{name}", f"not a text with {hole} in it: {shown(text)}", f'such as "onrecord:{hole}"'
            )
        elif not front or "system:".startswith(front.lower()) or front.lower().startswith("system:"):
            fix = f'put a name of your own in front, such as "onrecord:{hole}"'
            reader.problem(f"{key}.{name}", "a token could name one of Kubernetes' own (system:masters)", fix)
