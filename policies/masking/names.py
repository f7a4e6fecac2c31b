"""The names of detectors and strategies: what mitm.toml may say, and how strict each strategy is."""

from __future__ import annotations

from onrecord.policies.config.types import Strategy

DETECTORS: tuple[str, ...] = (
    "email",
    "phone",
    "payment_card",
    "iban",
    "national_id",
    "ip",
    "jwt",
    "private_key",
    "api_token",
    "url_password",
)

# The strictest first: of several masks on the same value the strictest holds, whatever their order in the file.
STRICTNESS: tuple[Strategy, ...] = ("null", "redact", "format", "pseudonymise", "partial")
REDACTED = "[redacted]"


def strictest(one: Strategy, other: Strategy) -> Strategy:
    """Of two strategies the one that shows less."""
    return min(one, other, key=STRICTNESS.index)
