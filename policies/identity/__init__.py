"""Who asks: tokens of the configured OIDC issuers → Identity. `Authenticator` is the way in.

From pure to not: `strict_json`, `tokens` (form), `jwks` (keys and signatures), `claims` (meaning), `bindings` (where
from); `fetch` (HTTPS) and `keys` (what is kept) do I/O; `authenticator` joins them.
"""

from __future__ import annotations

from onrecord.policies.config.issuers import SHARED_ISSUERS
from onrecord.policies.identity.authenticator import Authenticator, run_id
from onrecord.policies.identity.bindings import certificate_thumbprint

__all__ = ["SHARED_ISSUERS", "Authenticator", "certificate_thumbprint", "run_id"]
