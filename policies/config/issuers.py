"""Issuers whose tokens many tenants hold: anyone can get one there, so a claim must say whose they are."""

from __future__ import annotations

from urllib.parse import urlsplit

DEV_ISSUER = "onrecord:dev"

SHARED_ISSUERS: frozenset[str] = frozenset(
    {
        "https://token.actions.githubusercontent.com",
        "https://github.com/login/oauth",
        "https://gitlab.com",
        "https://accounts.google.com",
        "https://login.microsoftonline.com/common",
        "https://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com/organizations",
        "https://login.microsoftonline.com/organizations/v2.0",
        "https://login.microsoftonline.com/consumers/v2.0",
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
        "https://login.live.com",
        "https://login.salesforce.com",
        "https://appleid.apple.com",
        "https://www.facebook.com",
        "https://slack.com",
        "https://www.linkedin.com/oauth",
        "https://agent.buildkite.com",
        "https://oidc.codefresh.io",
        "https://app.terraform.io",
        "https://oidc.vercel.com",
        "https://oauth2.sigstore.dev/auth",
        "https://auth.openai.com",
        "https://auth.docker.com",
    }
)

# Every path of these hosts belongs to one organisation's *project*, but any user of the service can sign in to it.
_SHARED_HOSTS = frozenset({"securetoken.google.com"})

# Claims that every token of an issuer has alike: to require them requires nothing.
EMPTY_CLAIMS: frozenset[str] = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti", "typ", "token_use"})


def is_shared(issuer: str) -> bool:
    """Whether tokens of `issuer` say nothing about whose they are."""
    try:
        parts = urlsplit(issuer)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return True
    return host in _SHARED_HOSTS or f"{parts.scheme.lower()}://{host}{parts.path.rstrip('/')}" in SHARED_ISSUERS
