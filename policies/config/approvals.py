"""`[approvals]`: who decides held commands, and what must hold for a decision."""

from __future__ import annotations

from typing import Any

from onrecord.policies.approvals import Rules
from onrecord.policies.config.reading import Reader
from onrecord.policies.config.tables import ApprovalsTable
from onrecord.policies.config.types import ApprovalsConfig, Config
from onrecord.policies.config.values import duration

LONGEST = 3600.0


def read_approvals(data: dict[str, Any], reader: Reader) -> ApprovalsConfig:
    """The section; problems are in `reader`."""
    table = reader.table(data, ApprovalsTable, "approvals")
    fresh = reader.value("approvals.fresh_login", 300.0, duration, table.fresh_login)
    if not 1 <= fresh <= LONGEST:
        reader.problem("approvals.fresh_login", f"{fresh:g} s is no age of a fresh login", "1 s to 1 h, such as 5 min")
    if table.approvers is not None and not (table.approvers and all(table.approvers)):
        reader.problem("approvals.approvers", "empty: nobody could decide", "leave it out, or name groups")
    return ApprovalsConfig(
        approvers=tuple(dict.fromkeys(table.approvers or ())),
        fresh_login=fresh,
        delegator_may_approve=table.delegator_may_approve,
        max_pending=table.max_pending,
    )


def approval_rules(config: Config) -> Rules:
    """What the whole configuration says about who may decide, revoke and kill."""
    roles, section = config.admin.roles, config.approvals
    return Rules(
        approvers=section.approvers or roles.get("approver", ()),
        operators=roles.get("operator", ()),
        fresh=section.fresh_login,
        acr={issuer.issuer: issuer.acr for issuer in config.issuers if issuer.acr},
        delegator=section.delegator_may_approve,
        max_pending=section.max_pending,
    )
