"""Errors say what was read, why it is wrong, how to mend it; what a client may read is apart."""

from __future__ import annotations

from onrecord.policies.errors import ConfigError, IdentityError, Problem


def test_a_config_error_prints_every_problem_on_its_line():
    error = ConfigError([Problem("mitm.toml: a", "is wrong", "do this"), Problem("mitm.toml: b", "too")])
    assert str(error).splitlines() == ["mitm.toml: a: is wrong (do this)", "mitm.toml: b: too"]


def test_an_identity_error_keeps_its_detail_from_the_client():
    error = IdentityError("issuer https://evil is not configured")
    assert "evil" not in str(error)
    assert "evil" in error.detail
