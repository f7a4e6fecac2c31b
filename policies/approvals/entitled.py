"""Who may decide an approval, stop something, or let it go on. Pure: each check raises NotEntitledError or returns."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from onrecord.policies.approvals.model import (
    Approval,
    Approver,
    Moment,
    NotEntitledError,
    Participant,
    Request,
    Rules,
)

FUTURE = 30.0  # seconds that an issuer's clock may be ahead


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
        raise NotEntitledError(f"{approver.subject} is in none of the groups {words(groups)}")


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
    check_outsider(approval.request, approver, rules, participants)
    wanted = groups_of(approval, rules)
    if not wanted:
        raise NotEntitledError("nobody may decide it: the policy names no group and neither does [approvals]")
    if wanted.isdisjoint(approver.groups):
        raise NotEntitledError(f"{approver.subject} is in none of the groups {words(wanted)}")
    if fresh:
        check_fresh(approver, now, rules)


def check_outsider(request: Request, approver: Approver, rules: Rules, participants: Iterable[Participant]) -> None:
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
        raise NotEntitledError(f"the login has the level (acr) {approver.acr!r}; needed is {words(levels)}")


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
    return tuple(words(names) for names in named if have.isdisjoint(names))


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


def groups_of(approval: Approval, rules: Rules) -> set[str]:
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


def words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
