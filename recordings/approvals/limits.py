"""What may be asked: how much may wait, of one identity and of all, and whether anybody could decide it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from onrecord.policies.approvals import Approval, Request, Rules

MAX_OPEN = 1000
MAX_BYTES = 8 * 1024 * 1024  # of all open requests: an admin process must be able to hear of them all
MAX_BYTES_OF_ONE = 1024 * 1024  # of one identity's open requests: it shuts nobody else out
MAX_REQUEST = 256 * 1024


def objection(request: Request, waiting: Sequence[Approval], rules: Rules, policies: str) -> str:
    """Why this cannot even be asked; empty where it can. `waiting` are all that wait, `policies` the set in force."""
    who = request.identity
    mine = [
        one
        for one in waiting
        if (one.request.identity.issuer, one.request.identity.subject, one.request.identity.on_behalf_of)
        == (who.issuer, who.subject, who.on_behalf_of)
    ]
    if len(mine) >= rules.max_pending:
        return f"{len(mine)} commands of this identity wait already: wait until they are decided"
    size = len(request.command)
    if size > MAX_REQUEST:
        return f"the command has {size} bytes; nobody can read more than {MAX_REQUEST} before deciding"
    if size + sum(len(one.request.command) for one in mine) > MAX_BYTES_OF_ONE:
        return f"commands of this identity wait already, up to {MAX_BYTES_OF_ONE} bytes: wait until some are decided"
    if len(waiting) >= MAX_OPEN or size + sum(len(one.request.command) for one in waiting) > MAX_BYTES:
        return "too many commands wait: wait until some are decided"
    if policies and request.policies != policies:
        return "the policies have changed meanwhile: ask again"
    if not all(name or rules.approvers for name in request.approvers):
        return "nobody may decide it: the policy names no group of approvers, and neither does the configuration"
    return ""
