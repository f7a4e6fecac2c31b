"""policies/approvals.py: the state machine under every order of events, and who may decide."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from onrecord.policies.approvals import (
    OPEN,
    TRANSITIONS,
    Approval,
    ApprovalError,
    Approver,
    Event,
    Moment,
    NotEntitledError,
    Participant,
    Request,
    Rules,
    State,
    StateError,
    approve,
    cancel,
    check_operator,
    missing,
    refuse,
    request_approval,
    revoke,
    tick,
    use,
)
from onrecord.policies.kills import Kill
from onrecord.policies.model import Identity

RULES = Rules(approvers=("dba",), operators=("ops",))
NOW = Moment(1_000_000.0, 5_000.0, "boot")
DEVIN = Identity(issuer="https://idp", subject="devin", groups=("agents", "dba"), on_behalf_of="bob@example.com")


def request(**more: Any) -> Request:
    fields: dict[str, Any] = {
        "id": "a",
        "identity": DEVIN,
        "run": "run-1",
        "session": "s",
        "resource": "orders",
        "protocol": "postgres",
        "client": "127.0.0.1:5",
        "command": msgspec.Raw(b'{"text": "DELETE FROM orders"}'),
        "policy": "guard",
        "reason": "why",
        "policies": "sha256:p",
        "digest": "sha256:d",
        "approvers": ("dba",),
        "timeout": 60.0,
    }
    return Request(**(fields | more))


def human(subject: str = "alice", groups: tuple[str, ...] = ("dba",), **more: Any) -> Approver:
    fields: dict[str, Any] = {"issuer": "https://people", "kind": "human", "auth_time": NOW.wall - 10}
    return Approver(subject=subject, groups=groups, **(fields | more))


def later(seconds: float, wall: float | None = None) -> Moment:
    return Moment(NOW.wall + (seconds if wall is None else wall), NOW.boot + seconds, "boot")


def granted(**more: Any) -> Approval:
    return approve(request_approval(request(**more), NOW), human(), NOW, RULES)


# -- who ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("approver", "why"),
    [
        (human(kind="agent"), "only a human"),
        (human(on_behalf_of="carol"), "only a human"),
        (human(subject="devin"), "takes part"),
        (human(subject="DEVIN", issuer="https://other"), "takes part"),
        (human(subject="bob@example.com"), "works for"),
        (human(subject="0123", names=("Bob@Example.com",)), "works for"),
        (human(run="run-1"), "of the run"),
        (human(groups=("security",)), "in none of the groups"),
        (human(groups=()), "in none of the groups"),
        (human(auth_time=NOW.wall - 301), "log in again"),
        (human(auth_time=0.0), "no auth_time"),
        (human(auth_time=NOW.wall + 3600), "log in again"),
    ],
)
def test_who_may_not_approve_whatever_groups_the_token_has(approver: Approver, why: str) -> None:
    pending = request_approval(request(), NOW)
    with pytest.raises(NotEntitledError, match=why):
        approve(pending, approver, NOW, RULES)


BOB = Identity(
    issuer="https://idp", subject="devin", on_behalf_of="00u1", names=("Bob@Example.com",), actors=("carol",)
)


@pytest.mark.parametrize(
    ("asks", "approver"),
    [
        (BOB, human(subject="bob@example.com", issuer="https://other")),
        (BOB, human(subject="7", names=("bob@example.com",))),
        (BOB, human(subject="CAROL")),
        (
            Identity(issuer="https://idp", subject="00u1", kind="human", names=("bob@example.com",)),
            human("bob@example.com"),
        ),
        (DEVIN, human(subject="\uff42\uff4f\uff42@example.com")),
        (Identity(issuer="https://idp", subject="ren\u00e9"), human(subject="rene\u0301")),
    ],
)
def test_nobody_approves_themselves_under_another_of_their_names(asks: Identity, approver: Approver) -> None:
    pending = request_approval(request(identity=asks), NOW)
    with pytest.raises(NotEntitledError, match=r"takes part|works for"):
        approve(pending, approver, NOW, RULES)
    one = Participant("", asks.subject, asks.on_behalf_of, asks.names, asks.actors)
    with pytest.raises(NotEntitledError, match=r"takes part|works for"):
        approve(request_approval(request(), NOW), approver, NOW, RULES, participants=(one,))


def test_a_vote_of_somebody_who_took_part_since_does_not_count() -> None:
    first = approve(request_approval(request(minimum=2), NOW), human("carol"), NOW, RULES)
    with pytest.raises(NotEntitledError, match="carol takes part"):
        approve(first, human(), NOW, RULES, participants=(Participant("", "carol"),))
    assert approve(first, human(), NOW, RULES).state is State.GRANTED


@pytest.mark.parametrize("name", ["devin", "DEVIN", "00u1", "bob@example.com", "Carol", "\uff44evin"])
def test_a_kill_of_a_name_stops_whoever_has_it_or_works_for_it(name: str) -> None:
    assert Kill(id="k", target="identity", value=name).stops_identity(BOB)
    assert not Kill(id="k", target="identity", value=name, issuer="https://other").stops_identity(BOB)
    assert not Kill(id="k", target="identity", value=name + "x").stops_identity(BOB)


def test_a_human_whom_the_configuration_lets_decide_for_their_agent_may_under_every_name() -> None:
    rules = msgspec.structs.replace(RULES, delegator=True)
    pending = request_approval(request(identity=BOB), NOW)
    assert approve(pending, human("bob@example.com"), NOW, rules).state is State.GRANTED
    with pytest.raises(NotEntitledError, match="takes part"):
        approve(pending, human("carol"), NOW, rules)


def test_an_identity_that_took_part_in_the_run_cannot_decide_and_neither_can_whom_it_works_for() -> None:
    pending = request_approval(request(), NOW)
    others = (Participant("", "carol"), Participant("", "agent-9", "dave@example.com"))
    for name in ("carol", "Carol", "dave@example.com", "agent-9"):
        for decide in (approve, refuse):
            with pytest.raises(NotEntitledError):
                decide(pending, human(name), NOW, RULES, participants=others)
    assert approve(pending, human(), NOW, RULES, participants=others).state is State.GRANTED


def test_the_delegating_human_may_decide_only_where_it_is_configured() -> None:
    pending = request_approval(request(), NOW)
    allowed = msgspec.structs.replace(RULES, delegator=True)
    assert approve(pending, human("bob@example.com"), NOW, allowed).state is State.GRANTED


def test_a_configured_level_of_login_is_asked_for_of_its_issuer() -> None:
    strict = msgspec.structs.replace(RULES, acr={"https://people": ("mfa",)})
    pending = request_approval(request(), NOW)
    with pytest.raises(NotEntitledError, match="acr"):
        approve(pending, human(acr="pwd"), NOW, strict)
    assert approve(pending, human(acr="mfa"), NOW, strict).state is State.GRANTED


def test_a_refusal_needs_no_fresh_login_and_all_the_rest() -> None:
    pending = request_approval(request(), NOW)
    assert refuse(pending, human(auth_time=0.0), NOW, RULES).state is State.REFUSED
    with pytest.raises(NotEntitledError):
        refuse(pending, human("devin"), NOW, RULES)


def test_without_any_group_nobody_decides() -> None:
    pending = request_approval(request(approvers=("",)), NOW)
    with pytest.raises(NotEntitledError, match="nobody may decide"):
        approve(pending, human(), NOW, Rules())
    assert approve(pending, human(), NOW, RULES).state is State.GRANTED


def test_each_group_needs_a_person_of_its_own() -> None:
    pending = request_approval(request(approvers=("dba", "security")), NOW)
    both = human("carol", ("dba", "security"))
    one = approve(pending, both, NOW, RULES)
    assert one.state is State.PENDING
    with pytest.raises(StateError, match="agreed already"):
        approve(one, both, NOW, RULES)
    with pytest.raises(StateError, match="agreed already"):
        approve(one, human("x-1", ("security",), names=("CAROL",)), NOW, RULES)
    assert missing(request_approval(request(approvers=("dba", "security")), NOW), RULES) == ("dba", "security")
    assert approve(one, human("dave", ("dba",)), NOW, RULES).state is State.GRANTED
    other = approve(approve(pending, human("a"), NOW, RULES), human("b"), NOW, RULES)
    assert other.state is State.PENDING, "two of one group are not one of each"


def test_a_minimum_of_people_counts_different_ones() -> None:
    pending = request_approval(request(minimum=3), NOW)
    for name in ("a", "b"):
        pending = approve(pending, human(name), NOW, RULES)
        assert pending.state is State.PENDING
    assert approve(pending, human("c"), NOW, RULES).state is State.GRANTED


def test_operators_stop_and_revoke_and_others_do_not() -> None:
    check_operator(human(groups=("ops",)), RULES)
    for other in (human(), human(groups=("ops",), kind="agent")):
        with pytest.raises(NotEntitledError):
            check_operator(other, RULES)
    assert revoke(granted(), human("z", ("ops",), auth_time=0.0), NOW, RULES).state is State.REVOKED
    with pytest.raises(NotEntitledError):
        revoke(granted(), human("z", ("nobody",)), NOW, RULES)


# -- what --------------------------------------------------------------------------------------------------------------


def test_a_grant_serves_one_use_of_its_own_command() -> None:
    for digest, policies in (("sha256:other", "sha256:p"), ("sha256:d", "sha256:other")):
        with pytest.raises(StateError, match="another command"):
            use(granted(), "n", digest, policies, NOW)
    used = use(granted(), "n", "sha256:d", "sha256:p", NOW)
    assert used.state is State.USED
    assert use(used, "n", "sha256:d", "sha256:p", NOW) is used, "the same nonce is the same use"
    with pytest.raises(StateError, match="is used"):
        use(used, "m", "sha256:d", "sha256:p", NOW)


def test_what_may_be_repeated_ends_with_its_time_not_with_its_use() -> None:
    grant = granted(reuse=100.0)
    for nonce in "abc":
        grant = use(grant, nonce, "sha256:d", "sha256:p", later(90))
    assert grant.state is State.GRANTED
    with pytest.raises(StateError):
        use(grant, "d", "sha256:d", "sha256:p", later(101))
    assert tick(grant, later(101)).state is State.USED


def test_neither_a_pending_nor_a_granted_one_outlives_its_expiry() -> None:
    with pytest.raises(StateError, match="expired"):
        approve(request_approval(request(), NOW), human(), later(60), RULES)
    with pytest.raises(StateError, match="expired"):
        use(granted(), "n", "sha256:d", "sha256:p", later(60))


@pytest.mark.parametrize("jump", [-86400.0, -10.0, 0.0, 59.0])
def test_a_jump_of_the_wall_clock_never_extends_one(jump: float) -> None:
    pending = request_approval(request(), NOW)
    assert tick(pending, later(60, wall=jump)).state is State.EXPIRED
    assert tick(pending, Moment(NOW.wall + 61, NOW.boot + 1, "boot")).state is State.EXPIRED, "nor a stopped boot clock"


def test_what_is_left_of_another_boot_is_over() -> None:
    assert tick(request_approval(request(), NOW), Moment(NOW.wall, NOW.boot, "next")).state is State.EXPIRED


def test_every_transition_is_in_the_table_and_nothing_leaves_an_end() -> None:
    assert {state for state, _ in TRANSITIONS} == set(OPEN)
    reached = set(TRANSITIONS.values()) | {State.PENDING}
    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


# -- any order of events -----------------------------------------------------------------------------------------------


class Machine(RuleBasedStateMachine):
    """One approval under any order of decisions, cancels, uses and clock jumps."""

    @initialize(reuse=st.sampled_from([0.0, 30.0]), groups=st.sampled_from([("dba",), ("dba", "security"), ("",)]))
    def begin(self, reuse: float, groups: tuple[str, ...]) -> None:
        self.now = NOW
        self.limit = NOW.boot + 60.0
        self.approval = request_approval(request(reuse=reuse, approvers=groups), NOW)
        self.was: list[State] = [State.PENDING]
        self.runs = 0
        self.nonces: set[str] = set()

    def become(self, new: Approval) -> None:
        if new.state is not self.was[-1]:
            assert self.was[-1] in OPEN, "nothing leaves an end"
            if new.state is State.GRANTED and new.request.reuse:
                self.limit = self.now.boot + new.request.reuse
        self.approval = new
        self.was.append(new.state)

    def attempt(self, make: Any) -> bool:
        try:
            self.become(make())
        except ApprovalError:
            return False
        return True

    @rule(seconds=st.floats(0.0, 40.0), wall=st.floats(-1000.0, 1000.0))
    def pass_time(self, seconds: float, wall: float) -> None:
        self.now = Moment(self.now.wall + wall, self.now.boot + seconds, "boot")
        self.become(tick(self.approval, self.now))

    @rule(name=st.sampled_from(["alice", "carol", "devin", "bob@example.com"]), security=st.booleans())
    def agree(self, name: str, security: bool) -> None:
        groups = ("security",) if security else ("dba",)
        approver = human(name, groups, auth_time=self.now.wall)
        done = self.attempt(lambda: approve(self.approval, approver, self.now, RULES))
        assert not (done and name in ("devin", "bob@example.com"))

    @rule()
    def say_no(self) -> None:
        self.attempt(lambda: refuse(self.approval, human("zoe"), self.now, RULES))

    @rule()
    def take_back(self) -> None:
        self.attempt(lambda: revoke(self.approval, human("zoe", ("ops",)), self.now, RULES))

    @rule()
    def leave(self) -> None:
        self.attempt(lambda: cancel(self.approval, "left"))

    @rule(nonce=st.sampled_from("abcd"), right=st.booleans())
    def consume(self, nonce: str, right: bool) -> None:
        before = self.approval
        digest = "sha256:d" if right else "sha256:e"
        if not self.attempt(lambda: use(before, nonce, digest, "sha256:p", self.now)):
            return
        assert right
        if nonce in self.nonces:
            assert self.approval is before
            return
        assert State.GRANTED in self.was
        assert self.now.boot < self.limit, "nothing is used behind its expiry"
        self.nonces.add(nonce)
        self.runs += 1

    @invariant()
    def a_command_runs_once_or_as_often_as_its_time_allows(self) -> None:
        if hasattr(self, "approval") and not self.approval.request.reuse:
            assert self.runs <= 1
            assert (self.approval.state is State.USED) == (self.runs == 1)

    @invariant()
    def nobody_but_enough_people_grants(self) -> None:
        if hasattr(self, "approval") and State.GRANTED in self.was:
            assert len({vote.approver.subject for vote in self.approval.votes}) >= self.approval.people


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
