"""scripts/checks/issuers.py: a real issuer's keys are fetched, and one that is down is a failure."""

from __future__ import annotations

from onrecord.policies.config import load_config
from onrecord.scripts.checks.issuers import try_issuers
from onrecord.scripts.parts.oidc import OidcIssuer
from tests.helpers import make_config


def test_a_real_issuer_is_reached_and_one_that_is_down_is_not(tmp_path):
    with OidcIssuer() as idp:
        config = load_config(make_config(tmp_path, issuers=[{"issuer": idp.url, "audience": "onrecord"}]).path)
        (finding,) = try_issuers(config)
        assert finding.status == "ok", finding
        assert idp.url in finding.text
    (finding,) = try_issuers(config)
    assert finding.status == "failed"
    assert finding.fix
