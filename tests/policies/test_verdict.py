"""Several answers become one: the strictest."""

from __future__ import annotations

import itertools

import pytest

from onrecord.policies.verdict import Allow, Deny, Hold, Ruling, combine

DEFAULT = Ruling(Deny("nothing spoke"), "onrecord:default")
ALLOW = Ruling(Allow(), "a")
HOLD = Ruling(Hold(approvers="dba"), "h")
DENY = Ruling(Deny("no"), "d")


@pytest.mark.parametrize("order", list(itertools.permutations([ALLOW, HOLD, DENY])))
def test_deny_wins_over_hold_over_allow_in_any_order(order):
    assert combine(order, DEFAULT) is DENY
    assert combine([ruling for ruling in order if ruling is not DENY], DEFAULT) is HOLD


def test_the_first_of_equals_speaks():
    assert combine([DENY, Ruling(Deny("also no"), "e")], DEFAULT).policy == "d"


def test_the_default_speaks_only_where_no_policy_did():
    assert combine([], DEFAULT) is DEFAULT
    assert combine([ALLOW], DEFAULT) is ALLOW


def test_masks_of_all_allows_add_up():
    first, second = Ruling(Allow(mask=("email",)), "a"), Ruling(Allow(mask=("iban", "email")), "b")
    assert combine([first, second], DEFAULT) == Ruling(Allow(mask=("email", "iban")), "a")
