"""A refusal over a WebSocket holds for kubectl's second attempt, over SPDY/3.1, and for no other."""

from __future__ import annotations

from onrecord.addons.kubernetes_api.fallback import MAX_KEPT, MOMENT, Refusals
from onrecord.policies.testing import session
from onrecord.policies.verdict import Deny, Ruling

RULING = Ruling(Deny("not today", "ask again"), "holds")


def test_a_refusal_holds_for_a_moment() -> None:
    now = [100.0]
    refusals = Refusals(lambda: now[0])
    refusals.add(session(), "/exec?command=id", RULING)
    assert refusals.find(session(), "/exec?command=id") == RULING
    now[0] += MOMENT + 1
    assert refusals.find(session(), "/exec?command=id") is None


def test_it_holds_for_the_same_agent_and_request_only() -> None:
    refusals = Refusals()
    refusals.add(session(), "/exec?command=id", RULING)
    assert refusals.find(session(), "/exec?command=ls") is None
    assert refusals.find(session(subject="other"), "/exec?command=id") is None


def test_only_so_many_are_kept() -> None:
    refusals = Refusals()
    for number in range(MAX_KEPT + 10):
        refusals.add(session(), f"/exec?command={number}", RULING)
    assert refusals.find(session(), f"/exec?command={MAX_KEPT + 5}") is None
