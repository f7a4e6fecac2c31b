"""Impersonate-*: the agent's are taken away, the gateway's name the agent."""

from __future__ import annotations

import msgspec
import pytest

from onrecord.addons.http_head import HeadError
from onrecord.addons.kubernetes_api.impersonation import attempts, impersonation, stripped
from onrecord.policies.config import KubernetesResource
from onrecord.policies.model import Identity, Session
from onrecord.policies.testing import kubernetes

CONFIG = KubernetesResource(name="prod", type="kubernetes", hosts=("a",), impersonate=True)


def session(**identity: object) -> Session:
    within = kubernetes("list", "pods").session
    return msgspec.structs.replace(within, identity=msgspec.structs.replace(within.identity, **identity))


@pytest.mark.parametrize(
    "name", [b"Impersonate-User", b"impersonate-group", b"IMPERSONATE-EXTRA-x", b"Impersonate_Uid", b"Impersonate-Any"]
)
def test_every_spelling_of_the_agents_own_is_taken_away_and_told(name: bytes) -> None:
    fields = [(b"Accept", b"*/*"), (name, b"root")]
    assert stripped(fields) == [(b"Accept", b"*/*")]
    assert attempts(fields) == (f"{name.decode()}: root",)


def test_the_agent_is_named_with_groups_run_and_session() -> None:
    fields = impersonation(CONFIG, session(subject="devin", groups=("agents", "eu"), on_behalf_of="alice@example.com"))
    assert (b"Impersonate-User", b"onrecord:devin") in fields
    assert [value for name, value in fields if name == b"Impersonate-Group"] == [b"onrecord:agents", b"onrecord:eu"]
    extras = dict(fields)
    assert extras[b"Impersonate-Extra-Onrecord-On-Behalf-Of"] == b"alice@example.com"
    assert extras[b"Impersonate-Extra-Onrecord-Run"] == b"test"


@pytest.mark.parametrize("group", ["system:masters", "system:nodes"])
def test_no_token_names_one_of_kubernetes_own(group: str) -> None:
    fields = impersonation(CONFIG, session(subject="system:admin", groups=(group,)))
    assert not any(value.startswith(b"system:") for name, value in fields if b"Extra" not in name)


@pytest.mark.parametrize("subject", ["a\r\nImpersonate-Group: system:masters", "a\0b", " a", "a\u202eb"])
def test_a_name_that_cannot_stand_in_a_header_is_refused(subject: str) -> None:
    config = msgspec.structs.replace(CONFIG, impersonate_user="x{subject}")
    if subject == " a":
        config = msgspec.structs.replace(CONFIG, impersonate_groups="x{group} ")
    with pytest.raises(HeadError):
        impersonation(config, session(subject=subject, groups=("agents",)))


def test_without_impersonate_nothing_is_added() -> None:
    assert impersonation(msgspec.structs.replace(CONFIG, impersonate=False), session()) == []


def test_identity_is_what_was_checked() -> None:
    assert isinstance(session().identity, Identity)
