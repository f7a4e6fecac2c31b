"""library:allow_hosts lets HTTP go to listed hosts only."""

from __future__ import annotations

import pytest

from onrecord.policies import Deny
from onrecord.policies.library.allow_hosts import AllowHosts, addons
from tests.policies.library.sql_commands import http

policy = AllowHosts(["api.example.com", "*.internal.example.com"])


@pytest.mark.parametrize("host", ["api.example.com", "API.example.com", "api.example.com.", "a.b.internal.example.com"])
def test_listed_hosts_are_left_to_the_default(host):
    assert policy.http(http(host)) is None


@pytest.mark.parametrize(
    "host", ["example.com", "internal.example.com", "evilinternal.example.com", "api.example.com.evil.net", ""]
)
def test_other_hosts_are_denied(host):
    assert isinstance(policy.http(http(host)), Deny)


def test_the_list_as_it_is_shipped_denies_all():
    (shipped,) = addons
    assert isinstance(shipped.http(http("api.example.com")), Deny)
