"""policies/built_in.py"""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies.built_in import BROKEN, NOT_LOADED, STALE, default_of, rules_on_action
from onrecord.policies.model import Action, Identity, Resource, Run, Session, SqlCommand
from onrecord.policies.verdict import Allow, Deny, Hold


def resource(**rules: Any) -> Resource:
    return Resource(name="orders", type="postgres", **rules)


def command(action: Any, *, also_admin: bool = False, **rules: Any) -> SqlCommand:
    session = Session(
        id="0", run=Run("r"), identity=Identity(issuer="i", subject="s"), resource=resource(**rules),
        protocol="postgres", client="127.0.0.1:1", started_at=0,
    )  # fmt: skip
    return SqlCommand(session=session, action=action, text="", kind="", also_admin=also_admin)


def kinds(of: SqlCommand) -> list[type]:
    return [type(ruling.verdict) for ruling in rules_on_action(of)]


@pytest.mark.parametrize(("rule", "kind"), [("allow", Allow), ("hold", Hold), ("deny", Deny), ("", Deny), (None, Deny)])
def test_a_resources_rules_become_rulings_and_nonsense_denies(rule, kind):
    assert kinds(command("admin", admin=rule)) == [kind]
    assert kinds(command("unknown", unknown=rule)) == [kind]
    assert type(default_of(resource(default=rule)).verdict) is kind


def test_what_is_left_out_denies():
    rulings = [*rules_on_action(command("admin")), *rules_on_action(command("anything")), default_of(resource())]
    assert [(type(ruling.verdict), ruling.policy) for ruling in rulings] == [
        (Deny, "onrecord:admin"),
        (Deny, "onrecord:unknown"),
        (Deny, "onrecord:default"),
    ]


@pytest.mark.parametrize("action", ["read", "write"])
def test_reading_and_writing_are_left_to_policies_and_the_default(action: Action):
    assert kinds(command(action)) == []


def test_what_is_unknown_and_admin_meets_both_rules():
    both: dict[str, Any] = {"action": "unknown", "also_admin": True}
    assert kinds(command(**both, unknown="allow", admin="deny")) == [Allow, Deny]
    assert kinds(command(**both, unknown="deny", admin="allow")) == [Deny, Allow]


def test_every_failure_of_the_engine_is_a_deny_in_its_name():
    for ruling in (NOT_LOADED, STALE, BROKEN):
        assert isinstance(ruling.verdict, Deny)
        assert ruling.policy == "onrecord:engine"
