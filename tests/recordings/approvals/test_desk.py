"""recordings/approvals/desk.py: what processes ask and humans decide, with a real state file and an own clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from onrecord.policies.approvals import Moment, Participant, Rules, State
from onrecord.policies.errors import ControlError, StoreError
from onrecord.policies.model import Identity
from onrecord.recordings.approvals import switches as module
from onrecord.recordings.approvals.desk import GRACE, Desk
from onrecord.recordings.approvals.limits import MAX_REQUEST
from onrecord.recordings.approvals.state import ApprovalState
from onrecord.recordings.control.messages import (
    Answered,
    CancelHold,
    Changed,
    Consume,
    Consumed,
    Decide,
    HoldAnswer,
    HoldRequest,
    Kills,
    LiftKill,
    Ruled,
    SetKill,
    ToProcess,
    Watch,
    Watching,
)
from onrecord.recordings.frames import Kind
from onrecord.recordings.records import ApprovalRecord, KillRecord
from tests.policies.test_approvals import human, request

RULES = Rules(approvers=("dba",), operators=("ops",), max_pending=3)


class Peer:
    """A process that remembers what it was told."""

    def __init__(self, role: str = "datapath") -> None:
        self.process, self.role = role, role
        self.heard: list[ToProcess] = []

    def send(self, message: ToProcess) -> None:
        self.heard.append(message)

    def last[T](self, kind: type[T]) -> T:
        found = [message for message in self.heard if isinstance(message, kind)]
        assert found, f"no {kind.__name__} among {self.heard}"
        return found[-1]


class Office:
    """A desk, its clock, its records, one process and one admin process."""

    def __init__(self, folder: Path, *, rules: Rules = RULES) -> None:
        self.path, self.rules = folder / "approvals.db", rules
        self.wall = time.time()
        self.boot = 100.0
        self.boot_id = "b"
        self.records: list[ApprovalRecord | KillRecord] = []
        self.full = False
        self.taking_part: tuple[Participant, ...] = ()
        self.open()

    def open(self) -> None:
        self.state = ApprovalState(self.path)
        self.desk = Desk(
            self.state, self._record, self.rules,
            participants=lambda _: self.taking_part, key=b"k" * 32, clock=self.now,
        )  # fmt: skip
        self.process, self.admin = Peer(), Peer("admin")
        for peer in (self.process, self.admin):
            self.desk.connected(peer)
        self.desk.received(self.admin, Watch())

    def restart(self) -> None:
        self.state.close()
        self.open()

    def now(self) -> Moment:
        return Moment(self.wall, self.boot, self.boot_id)

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds
        self.desk.tick()

    def _record(self, kind: Kind, record: ApprovalRecord | KillRecord, session: bytes) -> None:
        if self.full:
            raise StoreError("no space left")
        self.records.append(record)

    def hold(self, id: str = "a", **more: Any) -> HoldAnswer:
        self.desk.received(self.process, HoldRequest(request(id=id, **more)))
        return self.process.last(HoldAnswer)

    def decide(self, id: str = "a", decision: Any = "approve", **more: Any) -> Answered:
        self.desk.received(self.admin, Decide("ref", id, decision, human(auth_time=self.wall, **more), "because"))
        return self.admin.last(Answered)

    def consume(self, id: str = "a", nonce: str = "n", digest: str = "sha256:d") -> Consumed:
        self.desk.received(self.process, Consume(id, nonce, digest, "sha256:p"))
        return self.process.last(Consumed)

    def state_of(self, id: str = "a") -> State:
        return self.desk._approvals[id].state

    @property
    def events(self) -> list[str]:
        return [record.event for record in self.records]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    found = Office(tmp_path)
    yield found
    found.state.close()


def test_a_hold_is_granted_told_consumed_once_and_each_step_is_on_record(office: Office) -> None:
    assert office.hold().state == "pending"
    assert office.admin.last(Changed).waiting
    assert office.decide() == Answered("ref", "ok", id="a", state="granted")
    assert office.process.last(Ruled).state == "granted"
    assert office.consume().ok
    assert office.consume().ok, "the same nonce is the same use"
    again = office.consume(nonce="m")
    assert not again.ok
    assert "is used" in again.reason
    assert office.events == ["requested", "granted", "consumed"]


def test_a_grant_is_for_its_own_command_only(office: Office) -> None:
    office.hold()
    office.decide()
    assert not office.consume(digest="sha256:other").ok
    assert not office.consume(id="b").ok
    assert office.consume().ok


def test_nothing_is_granted_that_cannot_be_recorded(office: Office) -> None:
    office.full = True
    assert not office.hold().approval
    office.full = False
    office.hold()
    office.full = True
    assert office.decide().code == "trouble"
    assert office.state_of() is State.PENDING
    office.full = False
    office.decide()
    office.full = True
    assert not office.consume().ok
    office.full = False
    assert not office.consume(nonce="m").ok, "it may have been used: it is lost, not doubled"


def test_a_refusal_and_a_kill_hold_even_where_they_cannot_be_recorded(office: Office) -> None:
    office.hold()
    office.hold("b", digest="sha256:e")
    office.full = True
    assert office.decide(decision="deny").code == "ok"
    assert office.state_of() is State.REFUSED
    office.desk.received(office.admin, SetKill("k", "run", "run-1", human(groups=("ops",))))
    assert office.admin.last(Answered).code == "ok"
    assert office.state_of("b") is State.CANCELLED


def test_pending_and_granted_ones_survive_a_restart_and_used_ones_stay_used(office: Office) -> None:
    for id in "abc":
        office.hold(id, digest=f"sha256:{id}", keep=True)
    office.decide("b")
    office.decide("c")
    assert office.consume("c", digest="sha256:c").ok
    office.restart()
    assert [office.state_of(id) for id in "abc"] == [State.PENDING, State.GRANTED, State.USED]
    assert office.consume("b", digest="sha256:b").ok
    assert not office.consume("c", nonce="x", digest="sha256:c").ok
    office.restart()
    assert not office.consume("b", nonce="x", digest="sha256:b").ok


def test_after_a_reboot_nothing_is_left(office: Office) -> None:
    office.hold(keep=True)
    office.decide()
    office.boot_id, office.boot = "next", 1.0
    office.restart()
    assert not office.consume().ok
    assert office.state_of() is State.EXPIRED


def test_a_clock_that_is_set_back_extends_nothing(office: Office) -> None:
    office.hold(timeout=60.0)
    office.wall -= 100_000
    office.boot += 60
    assert office.decide().code == "conflict"
    assert office.process.last(Ruled).state == "expired"


def test_a_process_that_is_gone_may_come_back_for_a_while(office: Office) -> None:
    office.hold()
    office.desk.lost(office.process)
    office.pass_time(GRACE - 1)
    office.desk.connected(office.process)
    again = HoldRequest(request(id="a", timeout=40.0), again=True)
    office.desk.received(office.process, again)
    assert office.process.last(HoldAnswer).state == "pending"
    office.pass_time(GRACE + 5)
    assert office.state_of() is State.PENDING
    office.desk.lost(office.process)
    office.pass_time(GRACE + 1)
    assert office.state_of() is State.CANCELLED


def test_another_command_cannot_take_an_approvals_id(office: Office) -> None:
    office.hold()
    office.decide()
    other = HoldRequest(request(id="a", digest="sha256:evil"), again=True)
    office.desk.received(office.process, other)
    assert not office.process.last(HoldAnswer).approval


def test_a_repeat_gets_what_nobody_waits_for_and_only_of_the_same_binding(office: Office) -> None:
    office.hold("a", keep=True)
    office.desk.received(office.process, CancelHold("a", "left", keep=True))
    for other in ({"digest": "sha256:x"}, {"policies": "sha256:q"}, {"approvers": ("other",)}, {"repeatable": False}):
        assert office.hold(f"o{len(other)}{next(iter(other))}"[:20], **other).approval != "a"
        office.desk.policies("")
    office.decide()
    office.desk._policies = ""
    if office.state_of() is State.GRANTED:
        assert office.hold("b", keep=True).approval == "a"


def test_a_client_that_waits_does_not_share_its_approval(office: Office) -> None:
    office.hold("a")
    assert office.hold("b").approval == "b"


def test_a_refusal_that_nobody_heard_is_told_to_the_repeat_once(office: Office) -> None:
    office.hold("a", wait=False, keep=True)
    office.decide(decision="deny")
    told = office.hold("b", wait=False, keep=True)
    assert (told.approval, told.state, told.by) == ("a", "refused", "alice")
    assert office.hold("c", wait=False, keep=True).approval == "c"


def test_what_one_identity_may_have_pending_is_bounded_and_so_is_a_request(office: Office) -> None:
    for id in "abc":
        office.hold(id, digest=f"sha256:{id}")
    assert "wait already" in office.hold("d", digest="sha256:z").reason
    office.decide("a", "deny")
    long = msgspec.Raw(b'{"text":"' + b"x" * MAX_REQUEST + b'"}')
    assert "nobody can read" in office.hold("e", command=long).reason


def test_nobody_to_ask_is_a_refusal_at_once(office: Office) -> None:
    office.desk._rules = Rules()
    assert "nobody may decide" in office.hold(approvers=("",)).reason


def test_other_policies_cancel_what_was_asked_under_the_old_ones(office: Office) -> None:
    office.hold()
    office.desk.policies("sha256:new")
    assert office.process.last(Ruled).state == "cancelled"
    assert "policies have changed" in office.hold("b").reason


def test_who_took_part_in_the_run_cannot_decide_and_the_attempt_is_on_record(office: Office) -> None:
    office.hold()
    office.taking_part = (Participant("", "alice"),)
    assert office.decide().code == "forbidden"
    rejected = office.records[-1]
    assert isinstance(rejected, ApprovalRecord)
    assert (rejected.event, rejected.decision) == ("rejected", "approve")
    assert rejected.by is not None
    assert rejected.by.subject == "alice"


def test_a_decision_on_what_does_not_exist_is_on_record(office: Office) -> None:
    assert office.decide("nothing").code == "not_found"
    assert office.events == ["rejected"]


def test_only_the_admin_process_decides_and_it_holds_nothing(office: Office) -> None:
    office.hold()
    for message in (Watch(), Decide("r", "a", "approve", human()), SetKill("r", "run", "x", human())):
        with pytest.raises(ControlError):
            office.desk.received(office.process, message)
    with pytest.raises(ControlError):
        office.desk.received(office.admin, HoldRequest(request()))
    assert office.state_of() is State.PENDING


def test_kills_are_told_to_all_kept_over_restarts_and_lifted_by_operators_only(office: Office) -> None:
    office.desk.received(office.admin, SetKill("k", "identity", "devin", human(groups=("ops",)), reason="leak"))
    kill = office.admin.last(Answered).id
    assert office.process.last(Kills).kills[0].value == "devin"
    office.restart()
    assert office.process.last(Kills).kills[0].id == kill
    office.desk.received(office.admin, LiftKill("l", kill, human()))
    assert office.admin.last(Answered).code == "forbidden"
    office.desk.received(office.admin, LiftKill("l", kill, human(groups=("ops",), auth_time=office.wall - 301)))
    assert office.admin.last(Answered).code == "forbidden", "an old login stops and starts nothing again"
    office.desk.received(office.admin, LiftKill("l", kill, human(groups=("ops",), auth_time=office.wall)))
    assert office.process.last(Kills).kills == ()
    assert office.events[-4:] == ["killed", "rejected", "rejected", "lifted"]


def test_an_admin_process_hears_what_there_is_and_each_change(office: Office) -> None:
    office.hold()
    late = Peer("admin")
    office.desk.connected(late)
    office.desk.received(late, Watch())
    assert [type(message) for message in late.heard] == [Kills, Changed, Kills, Watching]
    office.decide()
    assert late.last(Changed).approval.state is State.GRANTED


def test_state_that_was_put_back_on_disk_grants_nothing_by_itself(office: Office) -> None:
    """Compare and set: what the desk remembers and what the disk says must be the same."""
    office.hold()
    office.decide()
    pending = request(id="a")
    assert office.consume().ok
    assert pending
    office.state._write("UPDATE approvals SET state = 'granted'", ())
    office.state._write("UPDATE approvals SET data = replace(data, '\"used\"', '\"granted\"')", ())
    assert not office.consume(nonce="other").ok


def test_a_reason_can_be_carried_by_every_protocol(office: Office) -> None:
    office.hold()
    by = human(auth_time=office.wall)
    office.desk.received(office.admin, Decide("r", "a", "deny", by, "no\0\x1b[2J\nnever\u202e"))
    assert office.process.last(Ruled).reason == "no\ufffd\ufffd[2J never\ufffd"


def test_kill_switches_never_outgrow_the_message_that_tells_of_them(office: Office, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 4000)
    by = human(groups=("ops",))
    office.desk.received(office.admin, SetKill("k", "run", "x" * 1025, by))
    assert office.admin.last(Answered).code == "conflict"
    for number in range(20):
        office.desk.received(office.admin, SetKill("k", "run", f"{number:0900}", by))
    assert office.admin.last(Answered).code == "conflict"
    assert 0 < len(office.process.last(Kills).kills) < 20


def test_long_commands_of_one_identity_shut_nobody_else_out(tmp_path: Path) -> None:
    office = Office(tmp_path, rules=msgspec.structs.replace(RULES, max_pending=100))
    try:
        long = msgspec.Raw(b'"' + b"x" * 200_000 + b'"')
        for number in range(50):
            office.hold(str(number), digest=f"sha256:{number}", command=long)
        assert "wait already" in office.process.last(HoldAnswer).reason
        other = Identity(issuer="https://idp", subject="another")
        assert office.hold("other", identity=other, digest="sha256:o", command=long).state == "pending"
    finally:
        office.state.close()


@pytest.mark.parametrize("decision", ["deny", "revoke"])
def test_what_takes_a_right_away_holds_even_where_the_state_cannot_be_written(
    office: Office, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    def full(*_: object) -> int:
        raise StoreError("no space left")

    office.hold()
    if decision == "revoke":
        office.decide()
    monkeypatch.setattr(office.state, "_write", full)
    monkeypatch.setattr(office.state._reserve, "add", full)
    answer = office.decide(decision=decision)
    assert answer.code == "trouble"
    assert "until the recorder restarts" in answer.error
    assert not office.consume().ok
    assert office.process.last(Ruled).state == {"deny": "refused", "revoke": "revoked"}[decision]
    office.desk.received(office.admin, SetKill("k", "run", "run-1", human(groups=("ops",))))
    assert "until the recorder restarts" in office.admin.last(Answered).error
    assert [kill.value for kill in office.process.last(Kills).kills] == ["run-1"]
    assert office.hold("b", digest="sha256:other").approval == ""


@pytest.mark.parametrize("decision", ["deny", "revoke"])
def test_what_was_taken_away_on_a_full_disk_stays_so_over_a_restart(
    office: Office, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    def full(*_: object) -> int:
        raise StoreError("no space left")

    office.hold()
    if decision == "revoke":
        office.decide()
    with monkeypatch.context() as patch:
        patch.setattr(office.state, "_write", full)
        assert office.decide(decision=decision).code == "ok"
        office.desk.received(office.admin, SetKill("k", "run", "run-9", human(groups=("ops",))))
        assert office.admin.last(Answered).code == "ok"
        office.desk.tick()  # it cannot be written yet
    for _ in range(2):  # from the reserve, then from the file
        office.restart()
        assert office.state_of() is {"deny": State.REFUSED, "revoke": State.REVOKED}[decision]
        assert not office.consume().ok
        assert office.decide().code == "conflict"
        assert [kill.value for kill in office.process.last(Kills).kills] == ["run-9"]
        office.desk.tick()
    office.desk.received(office.admin, LiftKill("l", kill_of(office), human(groups=("ops",), auth_time=office.wall)))
    assert office.admin.last(Answered).code == "ok"
    office.restart()
    assert office.process.last(Kills).kills == ()


def kill_of(office: Office) -> str:
    (kill,) = office.process.last(Kills).kills
    return kill.id


def test_what_was_cancelled_on_a_full_disk_is_not_granted_after_a_restart(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise StoreError("no space left")

    office.hold()
    office.decide()
    with monkeypatch.context() as patch:
        patch.setattr(office.state, "_write", full)
        office.desk.policies("sha256:another")
    office.restart()
    assert not office.consume().ok
    assert office.state_of() is State.CANCELLED
