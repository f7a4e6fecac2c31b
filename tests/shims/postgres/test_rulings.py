"""What masks say of predicates and flows."""

from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies.sql.lineage import Lineage
from onrecord.policies.verdict import Deny, Hold
from onrecord.shims.postgres.rulings import MASKING, MaskedRules, ruling_of

EMAIL = "public.customers.email"


def ruling(lineage: Lineage, *rules: Any) -> Any:
    return ruling_of(lineage, EMAIL.__eq__, MaskedRules(*rules))


def test_a_filter_by_a_masked_column_is_denied_and_the_column_named():
    found = ruling(Lineage(predicates=frozenset({EMAIL, "public.customers.id"})))
    assert found.policy == MASKING
    assert isinstance(found.verdict, Deny)
    assert EMAIL in found.verdict.reason
    assert "customers.id" not in found.verdict.reason
    assert "another column" in found.verdict.hint


def test_a_flow_of_a_masked_column_is_denied():
    assert EMAIL in ruling(Lineage(flows=frozenset({EMAIL}))).verdict.reason


@pytest.mark.parametrize("lineage", [Lineage(unsure_predicates=True), Lineage(unsure_flows=True)])
def test_what_is_not_sure_counts_as_masked(lineage: Lineage):
    assert isinstance(ruling(lineage).verdict, Deny)


def test_other_columns_are_free():
    assert ruling(Lineage(predicates=frozenset({"public.customers.id"}), flows=frozenset({"a.b.c"}))) is None


def test_the_resource_may_hold_or_allow():
    lineage = Lineage(predicates=frozenset({EMAIL}))
    assert isinstance(ruling(lineage, "hold").verdict, Hold)
    assert ruling(lineage, "allow") is None
    assert ruling(Lineage(unsure_flows=True), "deny", "allow") is None


def test_deny_wins_over_hold():
    both = Lineage(predicates=frozenset({EMAIL}), flows=frozenset({EMAIL}))
    assert isinstance(ruling(both, "hold", "deny").verdict, Deny)
    assert isinstance(ruling(both, "deny", "hold").verdict, Deny)
