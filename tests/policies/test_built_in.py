"""policies/built_in.py"""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies.built_in import BROKEN, NOT_LOADED, STALE, default_of, rule_on_action
from onrecord.policies.model import Resource
from onrecord.policies.verdict import Allow, Deny, Hold


def resource(**rules: Any) -> Resource:
    return Resource(name="orders", type="postgres", **rules)


@pytest.mark.parametrize(("rule", "kind"), [("allow", Allow), ("hold", Hold), ("deny", Deny), ("", Deny), (None, Deny)])
def test_a_resources_rules_become_rulings_and_nonsense_denies(rule, kind):
    assert type(rule_on_action("admin", resource(admin=rule)).verdict) is kind
    assert type(rule_on_action("unknown", resource(unknown=rule)).verdict) is kind
    assert type(default_of(resource(default=rule)).verdict) is kind


def test_what_is_left_out_denies():
    rulings = [rule_on_action("admin", resource()), rule_on_action("anything", resource()), default_of(resource())]
    assert [(type(ruling.verdict), ruling.policy) for ruling in rulings] == [
        (Deny, "onrecord:admin"),
        (Deny, "onrecord:unknown"),
        (Deny, "onrecord:default"),
    ]


def test_every_failure_of_the_engine_is_a_deny_in_its_name():
    for ruling in (NOT_LOADED, STALE, BROKEN):
        assert isinstance(ruling.verdict, Deny)
        assert ruling.policy == "onrecord:engine"
