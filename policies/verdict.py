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
    """Approval required: a member of `approvers` must agree within `timeout` seconds."""

    approvers: str = ""
    reason: str = "approval required"
    timeout: float = 900.0


Verdict = Allow | Deny | Hold

_RANK: dict[type[Verdict], int] = {Allow: 0, Hold: 1, Deny: 2}


class Ruling(msgspec.Struct, frozen=True):
    """A verdict and the policy that gave it."""

    verdict: Verdict
    policy: str


def combine(rulings: Iterable[Ruling], default: Ruling) -> Ruling:
    """The strictest ruling: deny wins over hold, hold over allow; the first among equals.

    `default` speaks only where no policy did. The masks of all Allows add up.
    """
    strictest: Ruling | None = None
    masks: list[str] = []
    for ruling in rulings:
        if isinstance(ruling.verdict, Allow):
            masks.extend(ruling.verdict.mask)
        if strictest is None or _RANK[type(ruling.verdict)] > _RANK[type(strictest.verdict)]:
            strictest = ruling
    if strictest is None:
        return default
    if masks and isinstance(strictest.verdict, Allow):
        return Ruling(Allow(mask=tuple(dict.fromkeys(masks))), strictest.policy)
    return strictest
