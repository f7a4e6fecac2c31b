"""Whether the issuers' keys can be fetched."""

from __future__ import annotations

from onrecord.policies.config import Config
from onrecord.policies.config.issuers import DEV_ISSUER
from onrecord.policies.identity.fetch import FetchError, fetch_keys
from onrecord.scripts.checks.finding import Finding


def try_issuers(config: Config) -> list[Finding]:
    """One finding an issuer. The development issuer needs no network and is always pointed out."""
    findings = []
    for i, issuer in enumerate(config.issuers):
        key = f"issuers[{i}]"
        if issuer.issuer == DEV_ISSUER:
            text = "the built-in development issuer: whoever can read the state folder can be anyone"
            findings.append(Finding(key, "note", text))
            continue
        try:
            keys = fetch_keys(issuer.issuer, issuer.ca)
        except FetchError as error:
            fix = "check the address and, for a private certificate, ca"
            findings.append(Finding(key, "failed", f"{issuer.issuer}: {error}", fix))
        else:
            findings.append(Finding(key, "ok", f"{issuer.issuer}: {len(keys)} keys"))
    return findings
