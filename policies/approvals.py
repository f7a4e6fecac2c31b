"""The state machine of one approval. Pure: every function takes the moment and gives a new Approval.

    pending ─grant──▶ granted ─use──▶ used          (single use)
       │                 ├────use──▶ granted        (`reuse`: again, until it expires)
       ├─refuse─▶ refused ├─revoke─▶ revoked
       ├─expire─▶ expired ├─expire─▶ expired, or used where it was used before
       └─cancel─▶ cancelled└─cancel─▶ cancelled

Everything else is a StateError. An approval ends at the earlier of two clocks, wall and boot time: a jump of the wall
clock can shorten it and never extends it.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Identity

MAX_REASON = 1000
NONCES = 64
FUTURE = 30.0  # seconds that an issuer's clock may be ahead


class ApprovalError(OnrecordError):
    """What was asked of an approval cannot be; the text is for the person or program that asked."""


class StateError(ApprovalError):
    """The approval is in a state in which that cannot happen: it was decided, used or ended before."""


class NotEntitledError(ApprovalError):
    """This person may not decide this approval."""


class State(enum.StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    GRANTED = "granted"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    USED = "used"
    REVOKED = "revoked"


class Event(enum.StrEnum):
    """What may happen to an approval."""

    GRANT = "grant"
    REFUSE = "refuse"
    EXPIRE = "expire"
    CANCEL = "cancel"
    USE = "use"
    USE_AGAIN = "use_again"
    END = "end"
    REVOKE = "revoke"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PENDING, Event.GRANT): State.GRANTED,
    (State.PENDING, Event.REFUSE): State.REFUSED,
    (State.PENDING, Event.EXPIRE): State.EXPIRED,
    (State.PENDING, Event.CANCEL): State.CANCELLED,
    (State.PENDING, Event.REVOKE): State.REVOKED,
    (State.GRANTED, Event.USE): State.USED,
    (State.GRANTED, Event.USE_AGAIN): State.GRANTED,
    (State.GRANTED, Event.END): State.USED,
    (State.GRANTED, Event.EXPIRE): State.EXPIRED,
    (State.GRANTED, Event.CANCEL): State.CANCELLED,
    (State.GRANTED, Event.REVOKE): State.REVOKED,
}

OPEN = frozenset({State.PENDING, State.GRANTED})


class Moment(NamedTuple):
    """Now: `wall` Unix seconds; `boot` seconds since `boot_id` began, which no clock setting moves."""

    wall: float
    boot: float
    boot_id: str = ""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Who may decide. `fresh` is the most seconds since the approver's login; `acr` the levels it must have, by issuer.

    `approvers` decide where a policy names no group; `operators` may revoke and kill.
    """

    approvers: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    fresh: float = 300.0
    acr: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    delegator: bool = False
    max_pending: int = 20


class Approver(msgspec.Struct, frozen=True, kw_only=True):
    """Whose decision it is, as the identity provider said it. `names` are other names of the same person (email).

    `auth_time` is when this person last logged in, Unix seconds; 0 where the token does not say. `via` is the way the
    decision came.
    """

    issuer: str
    subject: str
    groups: tuple[str, ...] = ()
    kind: str = "agent"
    on_behalf_of: str | None = None
    run: str | None = None
    names: tuple[str, ...] = ()
    auth_time: float = 0.0
    acr: str = ""
    token_id: str = ""
    client: str = ""
    via: str = ""

    @property
    def person(self) -> tuple[str, str]:
        """One person is one issuer and subject."""
        return self.issuer, self.subject


class Participant(NamedTuple):
    """An identity that took part in a run; `names` and `actors` as in Identity."""

    issuer: str
    subject: str
    on_behalf_of: str | None = None
    names: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, and all that an approver must see of it.

    `command` is the command as it stands on record (kind, action, text, detail, cause), masked like it. `digest` binds:
    identity, run, resource and the exact command; `rests_on` digests of what it rests on, by name; `unbound` says in
    words what may still change. `repeatable`: all of the command is bound, so that a client that gave up may repeat it
    and get the granted one; `keep`: the approval goes on while no client waits. `timeout`, `reuse` are seconds.
    """

    id: str
    identity: Identity
    run: str
    session: str
    resource: str
    protocol: str
    client: str
    command: msgspec.Raw
    policy: str
    reason: str
    policies: str
    digest: str
    approvers: tuple[str, ...] = ("",)
    minimum: int = 1
    timeout: float = 900.0
    reuse: float = 0.0
    max_rows: int | None = None
    wait: bool = True
    rests_on: tuple[tuple[str, str], ...] = ()
    unbound: tuple[str, ...] = ()
    repeatable: bool = True
    keep: bool = False
    login: str = ""

    def binding(self) -> tuple[Any, ...]:
        """What must be the same for one approval to serve another request."""
        return (self.digest, self.policies, self.rests_on, self.approvers, self.minimum, self.max_rows, self.reuse)


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen, as far as it can be told beforehand without doing it.

    `kind`: "explain", "diff", "parsed", or "none" with a `reason` why there is none. `rows` is what the planner
    estimates, `matched` what was counted.
    """

    kind: str
    text: str = ""
    rows: int | None = None
    matched: int | None = None
    reason: str = ""


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One person's yes. `at` is Unix seconds."""

    approver: Approver
    at: float
    reason: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """An approval and its state. Times are Unix seconds, `deadline` boot-time seconds of `boot_id`.

    `told`: the client has heard how it ended; `nonces` are those of its uses.
    """

    request: Request
    state: State = State.PENDING
    requested_at: float
    expires_at: float
    deadline: float
    boot_id: str = ""
    votes: tuple[Vote, ...] = ()
    decided_at: float | None = None
    decided_by: Approver | None = None
    reason: str = ""
    nonces: tuple[str, ...] = ()
    told: bool = False
    preview: Preview | None = None

    @property
    def id(self) -> str:
        return self.request.id

    @property
    def people(self) -> int:
        """How many different people must agree."""
        return max(self.request.minimum, len(self.request.approvers))

    def remaining(self, now: Moment) -> float:
        """Seconds until it expires by the clock that says so first; of another boot nothing remains."""
        if now.boot_id != self.boot_id:
            return 0.0
        return max(0.0, min(self.expires_at - now.wall, self.deadline - now.boot))


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
        _check_outsider(approval.request, vote.approver, rules, participants)
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
    wanted = {*rules.operators, *_groups(approval, rules)}
    if wanted.isdisjoint(approver.groups):
        raise NotEntitledError(f"{approver.subject} is in none of the groups {_words(wanted)}")
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


# -- who ---------------------------------------------------------------------------------------------------------------


def check_human(approver: Approver) -> None:
    """Raise NotEntitledError for agents, and for tokens with which one acts for another."""
    if approver.kind != "human" or approver.on_behalf_of is not None:
        raise NotEntitledError("only a human decides: this is an agent's token")


def check_operator(approver: Approver, rules: Rules) -> None:
    """Raise NotEntitledError unless this is a human in a group of operators, or of approvers where none are named."""
    check_human(approver)
    groups = rules.operators or rules.approvers
    if not groups:
        raise NotEntitledError("no group may do this: the configuration names neither operators nor approvers")
    if frozenset(groups).isdisjoint(approver.groups):
        raise NotEntitledError(f"{approver.subject} is in none of the groups {_words(groups)}")


def check_approver(
    approval: Approval,
    approver: Approver,
    now: Moment,
    rules: Rules,
    *,
    participants: Iterable[Participant] = (),
    fresh: bool = True,
) -> None:
    """Raise NotEntitledError unless this person may decide this approval now."""
    check_human(approver)
    _check_outsider(approval.request, approver, rules, participants)
    wanted = _groups(approval, rules)
    if not wanted:
        raise NotEntitledError("nobody may decide it: the policy names no group and neither does [approvals]")
    if wanted.isdisjoint(approver.groups):
        raise NotEntitledError(f"{approver.subject} is in none of the groups {_words(wanted)}")
    if fresh:
        check_fresh(approver, now, rules)


def _check_outsider(request: Request, approver: Approver, rules: Rules, participants: Iterable[Participant]) -> None:
    """Raise NotEntitledError for whoever takes part in the run that asks, or stands behind it."""
    who = request.identity
    requester = Participant(who.issuer, who.subject, who.on_behalf_of, who.names, who.actors)
    if approver.run is not None and approver.run == request.run:
        raise NotEntitledError("an identity of the run that asks cannot decide")
    for one in (requester, *participants):
        own = one.names if one.on_behalf_of is None else ()
        if any(_is(approver, name) for name in (one.subject, *own, *one.actors)):
            raise NotEntitledError(f"{approver.subject} takes part in the run that asks, and cannot decide")
        behind = () if one.on_behalf_of is None or rules.delegator else (one.on_behalf_of, *one.names)
        if any(_is(approver, name) for name in behind):
            raise NotEntitledError(f"the agent works for {approver.subject}, who therefore cannot decide")


def check_fresh(approver: Approver, now: Moment, rules: Rules) -> None:
    """Raise NotEntitledError unless the login is recent, and of a configured level."""
    age = now.wall - approver.auth_time
    if not approver.auth_time or age > rules.fresh or age < -FUTURE:
        read = f"{age:.0f} s old" if approver.auth_time else "of unknown age (the token has no auth_time)"
        raise NotEntitledError(
            f"the login is {read}; an approval needs one of at most {rules.fresh:.0f} s: log in again"
        )
    levels = rules.acr.get(approver.issuer)
    if levels and approver.acr not in levels:
        raise NotEntitledError(f"the login has the level (acr) {approver.acr!r}; needed is {_words(levels)}")


def is_complete(approval: Approval, rules: Rules) -> bool:
    """Whether enough different people agreed, and for each group another one of them."""
    votes = [vote.approver for vote in approval.votes]
    if len(votes) < approval.people:
        return False
    wanted = [frozenset(_named(group, rules)) for group in approval.request.approvers]
    return _matched(wanted, [frozenset(voter.groups) for voter in votes], frozenset())


def missing(approval: Approval, rules: Rules) -> tuple[str, ...]:
    """The groups of which nobody has agreed yet, in words."""
    have = {group for vote in approval.votes for group in vote.approver.groups}
    named = [_named(group, rules) for group in approval.request.approvers]
    return tuple(_words(names) for names in named if have.isdisjoint(names))


def same_person(one: Approver, other: Approver) -> bool:
    """Whether two logins are the same person's, by issuer and subject or by any name."""
    return one.person == other.person or bool(_names(one) & _names(other))


def _matched(wanted: list[frozenset[str]], voters: list[frozenset[str]], used: frozenset[int]) -> bool:
    """Whether each group finds a voter of its own (there are at most a handful of either)."""
    if not wanted:
        return True
    return any(
        index not in used and not wanted[0].isdisjoint(groups) and _matched(wanted[1:], voters, used | {index})
        for index, groups in enumerate(voters)
    )


def _named(group: str, rules: Rules) -> tuple[str, ...]:
    return (group,) if group else rules.approvers


def _groups(approval: Approval, rules: Rules) -> set[str]:
    return {name for group in approval.request.approvers for name in _named(group, rules)}


def _names(approver: Approver) -> set[str]:
    return {folded(name) for name in (approver.subject, *approver.names) if name}


def _is(approver: Approver, name: str) -> bool:
    """Whether `name` is this person: under whatever issuer, for one person may have logins of several."""
    return folded(name) in _names(approver)


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """A name as names are compared: providers write one in upper case, another in full-width or decomposed letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


# -- transitions -------------------------------------------------------------------------------------------------------


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
