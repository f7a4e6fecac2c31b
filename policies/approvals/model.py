"""What an approval is made of: the request, who may decide, its states and which may follow which."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import msgspec

from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Identity


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
