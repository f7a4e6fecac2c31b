"""Which roles a person has, by the groups of their token. Pure."""

from __future__ import annotations

from onrecord.policies.approvals import Approver
from onrecord.policies.config import AdminRole, Config, IssuerConfig
from onrecord.policies.config.approvals import approval_rules


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
