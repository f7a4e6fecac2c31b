"""Who else could change what the gateway obeys: configuration, policies, `exec:` programs, state.

An agent that can write one of them is its own approver. So nobody but root and the gateway's own user may be able to
write them, replace them in their folder, or swap a folder on the way there, symbolic links included.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from onrecord.policies.config.types import (
    Config,
    HttpResource,
    KubernetesResource,
    PostgresResource,
    SecretRef,
    SshResource,
)
from onrecord.policies.errors import Problem

MAX_LINKS = 40


def check_files(config: Config, *, demo: bool = False) -> list[Problem]:
    """What others can write of the files that `config` names. Empty with `demo`, which protects nothing real."""
    if demo:
        return []
    problems: list[Problem] = []
    seen: set[tuple[str, str]] = set()
    for what, path in files_of(config):
        for place, reason, fix in weak_places(path):
            if (key := (str(place), reason)) not in seen:
                seen.add(key)
                problems.append(Problem(f"{config.path.name}: {what}", f"{str(place)!r} {reason}", fix))
    return problems


def files_of(config: Config) -> Iterator[tuple[str, Path]]:
    """What is protected: its place in the configuration and its path."""
    yield "(the file itself)", config.path
    yield "gateway.state", config.gateway.state
    yield "recordings.store", config.recordings.store
    if config.gateway.tls is not None:
        yield "gateway.tls.key", config.gateway.tls.key
    for i, policy in enumerate(config.policies):
        yield f"policies[{i}].file", policy.path
    for key, ref in admin_refs(config):
        yield from _file_of(key, ref)
    for name, resource in config.resources.items():
        for field, ref in secret_refs(resource):
            yield from _file_of(f"resources.{name}.{field}", ref)
        if isinstance(resource, KubernetesResource) and resource.exec:
            yield f"resources.{name}.exec", Path(resource.exec[0])


def _file_of(key: str, ref: SecretRef) -> Iterator[tuple[str, Path]]:
    if ref.scheme == "file":
        yield key, Path(ref.target)
    elif ref.scheme == "exec":
        yield key, Path(shlex.split(ref.target)[0])


def certificates_of(config: Config) -> Iterator[tuple[str, Path]]:
    """The certificates that are trusted. Often they belong to another service's user, so `up` does not refuse them."""
    tls = config.gateway.tls
    if tls is not None and tls.client_ca is not None:
        yield "gateway.tls.client_ca", tls.client_ca
    for i, issuer in enumerate(config.issuers):
        if issuer.ca is not None:
            yield f"issuers[{i}].ca", issuer.ca
    for name, resource in config.resources.items():
        ca = None if isinstance(resource, SshResource) else resource.ca
        if ca is not None:
            yield f"resources.{name}.ca", ca


def admin_refs(config: Config) -> list[tuple[str, SecretRef]]:
    """The references that the admin process reads, each under its key."""
    found = [(f"issuers[{i}].client_secret", issuer.client_secret) for i, issuer in enumerate(config.issuers)]
    for i, target in enumerate(config.notify):
        found += [(f"notify[{i}].url", target.url if isinstance(target.url, SecretRef) else None)]
        found += [(f"notify[{i}].secret", target.secret)]
    return [(key, ref) for key, ref in found if ref is not None]


def secret_refs(resource: HttpResource | PostgresResource | SshResource) -> list[tuple[str, SecretRef]]:
    """The references of one resource, each under its key."""
    fields = ("password", "catalog_password", "client_key", "bearer", "basic", "token", "key", "passphrase")
    found = [(field, ref) for field in fields if (ref := getattr(resource, field, None)) is not None]
    headers = resource.headers if isinstance(resource, HttpResource) else {}
    found += [(f"headers.{name}", ref) for name, ref in headers.items() if isinstance(ref, SecretRef)]
    variables = resource.exec_env if isinstance(resource, KubernetesResource) else {}
    return found + [(f"exec_env.{name}", ref) for name, ref in variables.items() if isinstance(ref, SecretRef)]


def weak_places(path: Path) -> list[tuple[Path, str, str]]:
    """Every component on the way to `path` that others could change: the place, why, what to do.

    A path that does not exist yet is judged by the folders that exist. In a sticky folder that others can write
    (/tmp) an entry is safe that root or we own, since nobody else can rename or remove it; one that does not exist
    yet is not, since another user can be first.
    """
    own = (0, os.geteuid())
    weak: list[tuple[Path, str, str]] = []
    pending = list(reversed((Path.cwd() / path).parts[1:]))
    place, links = Path("/"), 0
    sticky = False
    while True:
        try:
            status = place.lstat()
        except OSError as error:
            if sticky and isinstance(error, FileNotFoundError):
                weak.append((place, "does not exist yet in a folder that all can write", "create it first"))
            elif not isinstance(error, FileNotFoundError):
                weak.append((place, f"cannot be examined: {error.strerror}", ""))
            return weak
        if status.st_uid not in own:
            weak.append((place, f"belongs to another user (uid {status.st_uid})", "chown it to root"))
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MAX_LINKS:
                return [*weak, (place, "is a loop of symbolic links", "")]
            target = place.readlink()
            pending += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            place, sticky = Path("/") if target.is_absolute() else place.parent, False
            continue
        writable = status.st_mode & 0o022
        sticky = bool(writable and status.st_mode & stat.S_ISVTX and stat.S_ISDIR(status.st_mode) and pending)
        if writable and not sticky:
            who = "all users" if status.st_mode & 0o002 else f"group {status.st_gid}"
            weak.append((place, f"can be written by {who}", "chmod go-w"))
        if not pending:
            return weak
        part = pending.pop()
        place = place.parent if part == ".." else place / part  # no link is left in `place`, so `..` is its parent
