"""The state machine of one approval. Pure: every function takes the moment and gives a new Approval.

    pending ─grant──▶ granted ─use──▶ used          (single use)
       │                 ├────use──▶ granted        (`reuse`: again, until it expires)
       ├─refuse─▶ refused ├─revoke─▶ revoked
       ├─expire─▶ expired ├─expire─▶ expired, or used where it was used before
       └─cancel─▶ cancelled└─cancel─▶ cancelled

Everything else is a StateError. An approval ends at the earlier of two clocks, wall and boot time: a jump of the wall

Everything else is a StateError. An approval ends at the earlier of two clocks, wall and boot time: a jump of the wall
clock can shorten it and never extends it.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from onrecord.policies.approvals.entitled import (
    check_approver,
    check_human,
    check_outsider,
    groups_of,
    is_complete,
    same_person,
    words,
)
from onrecord.policies.approvals.model import (
    OPEN,
    TRANSITIONS,
    Approval,
    Approver,
    Event,
    Moment,
    NotEntitledError,
    Participant,
    Request,
    Rules,
    State,
    StateError,
    Vote,
)

MAX_REASON = 1000
NONCES = 64


def request_approval(request: Request, now: Moment) -> Approval:
    """A pending approval that expires `request.timeout` seconds from now."""
    return Approval(
        request=request,
        requested_at=now.wall,
        expires_at=now.wall + request.timeout,
        deadline=now.boot + request.timeout,
        boot_id=now.boot_id,
    )


def tick(approval: Approval, now: Moment) -> Approval:
    """The approval at this moment: expired where its time is over."""
    if approval.state not in OPEN or approval.remaining(now) > 0:
        return approval
    if approval.nonces:
        return _to(approval, Event.END)
    return replace(_to(approval, Event.EXPIRE), reason=approval.reason or "nobody decided in time")


def approve(
    approval: Approval,
    approver: Approver,
    now: Moment,
    rules: Rules,
    *,
    participants: Iterable[Participant] = (),
    reason: str = "",
) -> Approval:
    """One person's yes; granted once all that is asked for is there. Raises StateError or NotEntitledError."""
    approval = _expect(tick(approval, now), State.PENDING)
    participants = tuple(participants)
    check_approver(approval, approver, now, rules, participants=participants)
    for vote in approval.votes:  # who agreed, and took part since
        check_outsider(approval.request, vote.approver, rules, participants)
    if any(same_person(vote.approver, approver) for vote in approval.votes):
        raise StateError(f"{approver.subject} has agreed already; another person must")
    votes = (*approval.votes, Vote(approver=approver, at=now.wall, reason=reason[:MAX_REASON]))
    approval = replace(approval, votes=votes)
    if not is_complete(approval, rules):
        return approval
    granted = _to(approval, Event.GRANT)
    reuse = granted.request.reuse
    if reuse > 0:
        granted = replace(granted, expires_at=now.wall + reuse, deadline=now.boot + reuse)
    return replace(granted, decided_at=now.wall, decided_by=approver, reason=reason[:MAX_REASON])


def refuse(
    approval: Approval,
    approver: Approver,
    now: Moment,
    rules: Rules,
    *,
    participants: Iterable[Participant] = (),
    reason: str = "",
) -> Approval:
    """One person's no, which ends it. No fresh login is needed for that. Raises StateError or NotEntitledError."""
    approval = _expect(tick(approval, now), State.PENDING)
    check_approver(approval, approver, now, rules, participants=participants, fresh=False)
    return replace(_to(approval, Event.REFUSE), decided_at=now.wall, decided_by=approver, reason=reason[:MAX_REASON])


def revoke(approval: Approval, approver: Approver, now: Moment, rules: Rules, *, reason: str = "") -> Approval:
    """Take it back, pending or granted. Raises StateError or NotEntitledError."""
    approval = tick(approval, now)
    if approval.state not in OPEN:
        raise StateError(_ended(approval))
    check_human(approver)
    wanted = {*rules.operators, *groups_of(approval, rules)}
    if wanted.isdisjoint(approver.groups):
        raise NotEntitledError(f"{approver.subject} is in none of the groups {words(wanted)}")
    return replace(_to(approval, Event.REVOKE), decided_at=now.wall, decided_by=approver, reason=reason[:MAX_REASON])


def cancel(approval: Approval, reason: str) -> Approval:
    """Nobody waits for it any more, or what it rests on has changed. Raises StateError."""
    return replace(_to(approval, Event.CANCEL), reason=reason[:MAX_REASON])


def use(approval: Approval, nonce: str, digest: str, policies: str, now: Moment) -> Approval:
    """Consume it for the command with `digest` under the policy set `policies`. Raises StateError.

    One use for each `nonce`: the same nonce again is the same use, for whoever did not hear the answer.
    """
    request = approval.request
    same = request.digest == digest and request.policies == policies
    if nonce in approval.nonces and same:
        return approval
    approval = _expect(tick(approval, now), State.GRANTED)
    if not same:
        raise StateError(f"approval {approval.id} is for another command, or was decided under other policies")
    event = Event.USE_AGAIN if request.reuse > 0 else Event.USE
    return replace(_to(approval, event), nonces=(*approval.nonces[-NONCES:], nonce))


def _to(approval: Approval, event: Event) -> Approval:
    state = TRANSITIONS.get((approval.state, event))
    if state is None:
        raise StateError(_ended(approval))
    return replace(approval, state=state)


def _expect(approval: Approval, state: State) -> Approval:
    if approval.state is not state:
        raise StateError(_ended(approval))
    return approval


def _ended(approval: Approval) -> str:
    by = f" by {approval.decided_by.subject}" if approval.decided_by is not None else ""
    why = f": {approval.reason}" if approval.reason and approval.state not in OPEN else ""
    return f"approval {approval.id} is {approval.state.value}{by}{why}"
