"""What the pages need of approvals and kills, and nothing of how it is done: the recorder decides, not this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from onrecord.policies.errors import OnrecordError
from onrecord.policies.model import Identity

PENDING = "pending"


class DeskError(OnrecordError):
    """It was not done. The text is for the person who asked."""


class NoSuchApprovalError(DeskError):
    """There is no such approval, or not any more."""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who decides, and how sure we are. `auth_time` is Unix seconds."""

    identity: Identity
    auth_time: float
    acr: str
    client: str


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One person's word on an approval."""

    subject: str
    approved: bool
    at: float = 0.0
    reason: str = ""
    groups: tuple[str, ...] = ()


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An approval as an approver sees it. Times are Unix seconds; `digest` is what a grant binds to.

    `approvers` says in words who must approve; `groups` are all that count for it. `unbound` lists what the grant does
    not bind. `preview` is text, `no_preview` why there is none.
    """

    id: str
    state: str
    at: float
    expires: float
    identity: Identity
    run: str
    session: str
    resource: str
    protocol: str
    client: str = ""
    kind: str = ""
    action: str = ""
    text: str = ""
    formatted: str = ""
    parameters: tuple[str | None, ...] | None = None
    detail: dict[str, Any] = msgspec.field(default_factory=dict)
    cause: str = ""
    policy: str = ""
    reason: str = ""
    policies: str = ""
    approvers: str = ""
    groups: tuple[str, ...] = ()
    votes: tuple[Vote, ...] = ()
    digest: str = ""
    command: str = ""
    preview: str = ""
    no_preview: str = ""
    unbound: tuple[str, ...] = ()
    ended: str = ""

    @property
    def open(self) -> bool:
        """Whether a decision would still count."""
        return self.state == PENDING


class Desk(Protocol):
    """Approvals and kills, at the recorder."""

    async def approvals(self) -> list[Held]:
        """What waits and what was decided lately, newest first. Raises DeskError."""

    async def approval(self, id: str) -> Held:
        """One. Raises NoSuchApprovalError, DeskError."""

    async def decide(self, id: str, *, digest: str, approve: bool, reason: str, person: Person) -> Held:
        """Approve or refuse what has this digest; its new state. Raises DeskError, whose text says why not."""

    async def kill(self, what: str, name: str, *, reason: str, person: Person) -> str:
        """End a run, a session or an identity ("run", "session", "identity"); what was ended, in words."""

    def on_change(self, tell: Callable[[str, str], None]) -> None:
        """`tell(id, state)` is called for each change of an approval, from the event loop; ("", "") for any."""
