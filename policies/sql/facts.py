"""What a view, a function or an operator adds to a statement that uses it: frozen, shared through the catalog."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import msgspec

from onrecord.policies.model import Action
from onrecord.policies.sql.definitions import EVERYTHING

RANK: dict[Action, int] = {"read": 0, "write": 1, "admin": 2, "unknown": 3}

# What a statement that hides inside another makes of its kind: the strongest of them names it.
KIND_RANK = {"": 0, "INSERT": 1, "MERGE": 2, "UPDATE": 3, "DELETE": 4, "TRUNCATE": 5, "DROP": 6}

_NONE: frozenset[str] = frozenset()


class Facts(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """As the fields of Statement of the same names; `wheres` has one entry an UPDATE or DELETE inside."""

    action: Action = "read"
    actions: frozenset[Action] = frozenset({"read"})
    reasons: tuple[str, ...] = ()
    kind: str = ""
    read: frozenset[str] = _NONE
    written: frozenset[str] = _NONE
    columns: frozenset[str] = _NONE
    functions: frozenset[str] = _NONE
    foreign: frozenset[str] = _NONE
    mentions: frozenset[str] = _NONE
    wheres: tuple[bool, ...] = ()
    settings: tuple[tuple[str, str | None], ...] = ()
    ddl: bool = False
    creates: tuple[str, ...] = ()
    temporary: bool = False

    @functools.cached_property
    def quiet(self) -> bool:
        """It changes nothing and says nothing beyond what it reads."""
        return self.action == "read" and not (self.written or self.reasons or self.settings or self.temporary)

    @functools.cached_property
    def plain(self) -> bool:
        """It reads no table and changes nothing: a statement that uses it is no other for it."""
        return self.quiet and not self.read


NOTHING = Facts()


def judged(action: Action, reason: str) -> Facts:
    """Facts of one action with its reason. What is unknown may define anything."""
    return Facts(
        action=action,
        actions=frozenset({action}),
        reasons=(f"{action}: {reason}",),
        ddl=action == "unknown",
        creates=(EVERYTHING,) if action == "unknown" else (),
    )


def merged(parts: Iterable[Facts]) -> Facts:
    """All of `parts`: the strongest action, and whatever one of them has."""
    found = list(parts)
    if len(found) == 1:
        return found[0]
    if not found:
        return NOTHING
    return Facts(
        action=max((part.action for part in found), key=RANK.__getitem__),
        actions=frozenset().union(*(part.actions for part in found)),
        reasons=tuple(dict.fromkeys(reason for part in found for reason in part.reasons))[:16],
        kind=max((part.kind for part in found), key=lambda kind: KIND_RANK.get(kind, 0)),
        read=_NONE.union(*(part.read for part in found)),
        written=_NONE.union(*(part.written for part in found)),
        columns=_NONE.union(*(part.columns for part in found)),
        functions=_NONE.union(*(part.functions for part in found)),
        foreign=_NONE.union(*(part.foreign for part in found)),
        mentions=_NONE.union(*(part.mentions for part in found)),
        wheres=tuple(where for part in found for where in part.wheres),
        settings=tuple(setting for part in found for setting in part.settings),
        ddl=any(part.ddl for part in found),
        creates=tuple(dict.fromkeys(name for part in found for name in part.creates)),
        temporary=any(part.temporary for part in found),
    )


def inside(what: str, facts: Facts) -> Facts:
    """`facts` with reasons that say where they come from: `write: in view public.v: …`."""
    reasons = []
    for reason in facts.reasons:
        action, separator, rest = reason.partition(": ")
        reasons.append(f"{action}: in {what}: {rest}"[:300] if separator else reason)
    return msgspec.structs.replace(facts, reasons=tuple(reasons))
