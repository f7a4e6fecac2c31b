"""policies/config/issuers.py: which issuers say nothing about whose token it is."""

from __future__ import annotations

import pytest

from onrecord.policies.config.issuers import SHARED_ISSUERS, is_shared


@pytest.mark.parametrize(
    "url",
    [*sorted(SHARED_ISSUERS), "https://GitLab.com", "https://gitlab.com/", "https://accounts.google.com:443",
     "https://securetoken.google.com/project-1", "https://[::1"],
)  # fmt: skip
def test_shared(url):
    assert is_shared(url)


@pytest.mark.parametrize(
    "url",
    ["onrecord:dev", "https://idp.example.com", "https://gitlab.com.example.com", "https://gitlab.example.com",
     "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0"],
)  # fmt: skip
def test_not_shared(url):
    assert not is_shared(url)
