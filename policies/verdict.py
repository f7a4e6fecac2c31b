"""What a policy answers, and how several answers become one."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Allow(msgspec.Struct, frozen=True, tag="allow", tag_field="type"):
    """Let the command pass. `mask` names detectors to apply on top of the configured ones."""

    mask: tuple[str, ...] = ()


class Deny(msgspec.Struct, frozen=True, tag="deny", tag_field="type"):
    """Refuse the command. `reason` and `hint` are shown to the agent: what was refused, what to do next."""

    reason: str
    hint: str = ""


class Hold(msgspec.Struct, frozen=True, tag="hold", tag_field="type"):
    """Approval required: a member of the group `approvers` must agree within `timeout` seconds.

    Of several groups ("dba", "security") one person each must agree, and no person counts twice; "" is the group of
    `[approvals] approvers`. `minimum` people in all. The approval is for one use; with `reuse` the same command may run
    again in the same run for so many seconds after it was granted. A command that changes more than `max_rows` rows is
    rolled back. With `wait=False` the client is not kept waiting: it is told the approval's id and asks again.
    `mask` names detectors to apply on top of the configured ones once it is granted.
    """

    approvers: str | tuple[str, ...] = ""
    reason: str = "approval required"
    timeout: float = 900.0
    minimum: int = 1
    reuse: float = 0.0
    max_rows: int | None = None
    wait: bool = True
    mask: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of which one person each must agree, without repetition."""
        names = (self.approvers,) if isinstance(self.approvers, str) else self.approvers
        return tuple(dict.fromkeys(names)) or ("",)

    @property
    def people(self) -> int:
        """How many different people must agree."""
        return max(self.minimum, len(self.groups))

    @property
    def who(self) -> str:
        """The groups in words; empty where it is the configured one."""
        return " and ".join(name for name in self.groups if name)


Verdict = Allow | Deny | Hold

_RANK: dict[type[Verdict], int] = {Allow: 0, Hold: 1, Deny: 2}


class Ruling(msgspec.Struct, frozen=True):
    """A verdict and the policy that gave it."""

    verdict: Verdict
    policy: str


def combine(rulings: Iterable[Ruling], default: Ruling) -> Ruling:
    """The strictest ruling: deny wins over hold, hold over allow; the first among equals.

    `default` speaks only where no policy did. The masks of all Allows and Holds add up, and so do several Holds: what
    each of them asks for must be met.
    """
    strictest: Ruling | None = None
    masks: list[str] = []
    holds: list[Hold] = []
    for ruling in rulings:
        if isinstance(ruling.verdict, Allow):
            masks.extend(ruling.verdict.mask)
        elif isinstance(ruling.verdict, Hold):
            masks.extend(ruling.verdict.mask)
            holds.append(ruling.verdict)
        if strictest is None or _RANK[type(ruling.verdict)] > _RANK[type(strictest.verdict)]:
            strictest = ruling
    if strictest is None:
        return default
    if masks and isinstance(strictest.verdict, Allow):
        return Ruling(Allow(mask=tuple(dict.fromkeys(masks))), strictest.policy)
    if isinstance(strictest.verdict, Hold) and (masks or len(holds) > 1):
        return Ruling(_all_of(holds, tuple(dict.fromkeys(masks))), strictest.policy)
    return strictest


def _all_of(holds: list[Hold], masks: tuple[str, ...]) -> Hold:
    """One Hold that asks for what each of them does."""
    limits = [hold.max_rows for hold in holds if hold.max_rows is not None]
    return Hold(
        approvers=tuple(dict.fromkeys(name for hold in holds for name in hold.groups)),
        reason="; ".join(dict.fromkeys(hold.reason for hold in holds)),
        timeout=min(hold.timeout for hold in holds),
        minimum=max(hold.minimum for hold in holds),
        reuse=min(hold.reuse for hold in holds),
        max_rows=min(limits) if limits else None,
        wait=all(hold.wait for hold in holds),
        mask=masks,
    )
