"""A policy set: the policy files in force, as text with a digest, so that every process runs the same ones."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onrecord.policies.errors import PolicyError

if TYPE_CHECKING:  # the configuration's checks load policies: no import circle
    from onrecord.policies.config import PolicyConfig

MAX_FILE = 256 * 1024
MAX_SET = 4 * 1024 * 1024
MAX_FILES = 256
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True):
    """One policy: its `name` on records (the file's stem), `ref` as mitm.toml has it, its text, where it applies.

    Empty `resources` and `groups` mean all.
    """

    name: str
    ref: str
    source: str
    resources: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class PolicySet(msgspec.Struct, frozen=True, dict=True):
    """Policies in order."""

    files: tuple[PolicyFile, ...]

    @functools.cached_property
    def digest(self) -> str:
        """`sha256:` over names, texts and filters in order; where the files lie does not count."""
        content = [[file.name, file.source, sorted(file.resources), sorted(file.groups)] for file in self.files]
        return "sha256:" + hashlib.sha256(msgspec.json.encode(content)).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(file.name for file in self.files)


def read_policy_set(policies: Iterable[PolicyConfig]) -> PolicySet:
    """Read the files of `[[policies]]`. Raises PolicyError that names every file that does not read, and why."""
    files: list[PolicyFile] = []
    problems: list[str] = []
    for policy in policies:
        try:
            source = read_source(policy.path)
        except PolicyError as error:
            problems.append(str(error))
            continue
        files.append(
            PolicyFile(
                name=policy.name,
                ref=policy.file,
                source=source,
                resources=policy.resources,
                groups=policy.groups,
            )
        )
    if problems:
        raise PolicyError("; ".join(problems))
    policy_set = PolicySet(tuple(files))
    check_policy_set(policy_set)
    return policy_set


def check_policy_set(policy_set: PolicySet) -> None:
    """Raise PolicyError where a set is over its bounds or its names are not clear."""
    if len(policy_set.files) > MAX_FILES:
        raise PolicyError(f"{len(policy_set.files)} policies are more than {MAX_FILES}")
    if sum(len(file.source) for file in policy_set.files) > MAX_SET:
        raise PolicyError(f"the policies are longer than {MAX_SET} characters together")
    sources: dict[str, str] = {}
    for file in policy_set.files:
        if not _NAME.fullmatch(file.name):
            raise PolicyError(
                f"{file.ref}: {file.name!r} cannot name a policy: rename the file with letters, digits, '_', '-', '.'"
            )
        if sources.setdefault(file.name, file.source) != file.source:
            raise PolicyError(f"{file.ref}: two different policies are called {file.name}: rename one file")


def read_source(path: Path) -> str:
    """One policy file's text. Raises PolicyError for what is no readable UTF-8 file of at most MAX_FILE bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise PolicyError(f"{path}: is not a regular file")
    with os.fdopen(fd, "rb") as file:
        try:
            data = file.read(MAX_FILE + 1)
        except OSError as error:
            raise PolicyError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise PolicyError(f"{path}: is longer than {MAX_FILE} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: is not UTF-8 at byte {error.start}") from None
