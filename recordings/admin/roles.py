"""Which roles a person has, by the groups of their token; and whether their login is fresh enough to decide. Pure."""

from __future__ import annotations

from onrecord.policies.config import AdminConfig, AdminRole, Config, IssuerConfig
from onrecord.policies.model import Identity

DECIDES_WITHIN = 300.0
"""Seconds: an older login decides nothing (it could be a program that uses an approver's browser)."""


def roles_of(identity: Identity, config: AdminConfig) -> frozenset[AdminRole]:
    """The roles. An agent has none. `approver` left out means every human: each approval's groups hold anyway."""
    if identity.kind != "human" or identity.on_behalf_of is not None:
        return frozenset()
    groups = set(identity.groups)
    found = {role for role, members in config.roles.items() if groups.intersection(members)}
    if "approver" not in config.roles:
        found.add("approver")
    return frozenset(found)


def why_stale(identity: Identity, auth_time: float, acr: str, config: Config, now: float) -> str:
    """Why this login may not decide, for its owner to read; "" where it may."""
    issuer = issuer_of(identity, config)
    if issuer is None:
        return "your login provider is not configured any more"
    if not auth_time:
        return "your login provider does not say when you logged in (the auth_time claim)"
    if auth_time > now + issuer.leeway:
        return "your login is in the future: check the clocks"
    if now - auth_time > DECIDES_WITHIN:
        return f"you logged in more than {DECIDES_WITHIN / 60:.0f} minutes ago"
    if issuer.acr and acr not in issuer.acr:
        return f"a decision needs a login of another kind (acr {' or '.join(issuer.acr)})"
    return ""


def issuer_of(identity: Identity, config: Config) -> IssuerConfig | None:
    """The configuration of the issuer that vouches for `identity`."""
    return next((issuer for issuer in config.issuers if issuer.issuer == identity.issuer), None)
