"""recordings/approvals/bound.py: what an approver is told that an approval does not bind, or that is not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest

from onrecord.policies.model import (
    Command,
    ForwardCommand,
    Identity,
    KubeCommand,
    Resource,
    Run,
    Session,
    SftpCommand,
    SqlCommand,
    SshCommand,
)
from onrecord.policies.verdict import Hold, Ruling
from onrecord.recordings.approvals.bound import DATA, HIDDEN, PLAIN
from onrecord.recordings.approvals.holding import request_of
from onrecord.shims.ssh.authority import KeyIdentities, agent_certificate
from tests.policies.identity.signing import issuer_config

SESSION = Session(
    id="0", run=Run("run-1"), identity=Identity(issuer="i", subject="devin"), protocol="ssh", client="c", started_at=0,
    resource=Resource(name="app1", type="ssh"),
)  # fmt: skip
HEAD: dict[str, Any] = {"session": SESSION, "action": "write", "text": "x"}
KUBE: dict[str, Any] = HEAD | {"verb": "create", "group": "", "version": "v1", "resource": "pods"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (SshCommand(**HEAD), "standard input"),
        (SshCommand(**HEAD, interactive=True), "typed"),
        (SftpCommand(**HEAD, operation="write", path="/x"), "content"),
        (ForwardCommand(**HEAD, direction="local"), "sent through it"),
        (KubeCommand(**KUBE, subresource="exec"), "sent through it"),
        (KubeCommand(**KUBE, subresource="portforward"), "sent through it"),
        (KubeCommand(**KUBE), ""),
        (SqlCommand(**HEAD, kind="DELETE"), ""),
    ],
)
def test_what_follows_a_command_once_it_runs_is_told_as_not_bound(command: Command, said: str) -> None:
    asked = request_of(command, Ruling(Hold(), "p"), PLAIN, "sha256:p", b"{}")
    assert asked.unbound[0] == DATA
    assert (said in " ".join(asked.unbound[1:])) if said else asked.unbound == (DATA,)


def test_what_is_not_shown_is_told() -> None:
    command = SqlCommand(**HEAD, kind="DELETE")
    assert HIDDEN in request_of(command, Ruling(Hold(), "p"), PLAIN, "sha256:p", b"{}", hidden=True).unbound


def test_a_certificate_for_ssh_names_everybody_behind_its_token(tmp_path: Path) -> None:
    who = Identity(
        issuer=issuer_config().issuer, subject="devin", on_behalf_of="0u1", names=("alice@x",), actors=("carol",)
    )
    made = agent_certificate(tmp_path, asyncssh.generate_private_key("ssh-ed25519"), who, "run-1")
    found = KeyIdentities(tmp_path, (), (issuer_config(),)).identify(made.public_data, "127.0.0.1")
    assert found is not None
    assert msgspec.structs.replace(found[1], expires_at=0.0, run=None) == who
