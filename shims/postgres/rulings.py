"""What masks say of a command before it runs: rows chosen by a masked column, and values that go elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from onrecord.policies.sql.lineage import Lineage
from onrecord.policies.verdict import Deny, Hold, Ruling

MASKING = "onrecord:masking"
Rule = Literal["deny", "hold", "allow"]
_SHOWN = 3


class MaskedRules(NamedTuple):
    """The resource's `masked_predicates` and `masked_flows`."""

    predicates: Rule = "deny"
    flows: Rule = "deny"


def ruling_of(lineage: Lineage, may_hit: Callable[[str], bool], rules: MaskedRules) -> Ruling | None:
    """The stricter of both; None where no masked column is concerned, or it is allowed.

    `may_hit` says whether `schema.table.column` or `schema.table.*` is masked.
    """
    found = [
        _one(
            rules.predicates,
            lineage.predicates,
            may_hit,
            unsure=lineage.unsure_predicates,
            what="the command chooses, orders, groups or computes by",
            hint="filter and order by another column, and select this one as it is",
        ),
        _one(
            rules.flows,
            lineage.flows,
            may_hit,
            unsure=lineage.unsure_flows,
            what="the command copies values of",
            hint="leave the masked column out",
        ),
    ]
    rulings = [ruling for ruling in found if ruling is not None]
    return next((one for one in rulings if isinstance(one.verdict, Deny)), rulings[0] if rulings else None)


def _one(
    rule: Rule, sources: Iterable[str], may_hit: Callable[[str], bool], *, unsure: bool, what: str, hint: str
) -> Ruling | None:
    if rule == "allow":
        return None
    names = sorted(source for source in sources if may_hit(source))
    if not names and not unsure:
        return None
    if names:
        more = len(names) - _SHOWN
        shown = ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        reason = f"{what} {shown}, which you see masked"
    else:
        reason = f"{what} columns that cannot be told from its text, and columns are masked for you"
    if rule == "hold":
        return Ruling(Hold(reason=reason), MASKING)
    return Ruling(Deny(reason, hint if names else "name the tables and columns that it uses"), MASKING)
