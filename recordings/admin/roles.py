"""Which roles a person has, by the groups of their token, and what they see for it, on page and API alike. Pure."""

from __future__ import annotations

from onrecord.policies.approvals import Approver, Rules
from onrecord.policies.config import AdminRole, Config, IssuerConfig
from onrecord.policies.config.approvals import approval_rules
from onrecord.recordings.control.admin import Shown


def roles_of(person: Approver, config: Config) -> frozenset[AdminRole]:
    """The roles. An agent has none. Without `roles.approver` every human may look for approvals of their groups;
    without `roles.operator` those who approve by default may also kill, as in the API."""
    if person.kind != "human" or person.on_behalf_of is not None:
        return frozenset()
    groups = set(person.groups)
    rules = approval_rules(config)
    found = {role for role, members in config.admin.roles.items() if groups.intersection(members)}
    if "approver" not in config.admin.roles or groups.intersection(rules.approvers):
        found.add("approver")
    if not rules.operators and groups.intersection(rules.approvers):
        found.add("operator")
    return frozenset(found)


def issuer_of(person: Approver, config: Config) -> IssuerConfig | None:
    """The configuration of the issuer that vouches for `person`."""
    return next((issuer for issuer in config.issuers if issuer.issuer == person.issuer), None)


def may_see(person: Approver, shown: Shown, config: Config) -> bool:
    """Viewers, auditors and operators see all approvals; others those that are for one of their groups."""
    return bool(roles_of(person, config) & {"viewer", "auditor", "operator"}) or _decides(person, shown, config)


def may_read(person: Approver, shown: Shown, config: Config) -> bool:
    """Auditors, and members of a group that decides it, see parameters, bodies and the preview; others the text."""
    return "auditor" in roles_of(person, config) or _decides(person, shown, config)


def _decides(person: Approver, shown: Shown, config: Config) -> bool:
    return not _groups(shown, approval_rules(config)).isdisjoint(person.groups)


def _groups(shown: Shown, rules: Rules) -> set[str]:
    return {name for group in shown.approval.request.approvers for name in ((group,) if group else rules.approvers)}
