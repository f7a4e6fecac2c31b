"""policies/config/admin.py: the admin page's part of mitm.toml."""

from __future__ import annotations

import pytest

from onrecord.policies.config import load_config
from onrecord.policies.errors import ConfigError

HEAD = """
[gateway]
admin = "127.0.0.1:8088"
{gateway}
[[issuers]]
issuer = "https://idp.example.com"
audience = "onrecord"
kind = "human"
client_id = "onrecord-page"
client_secret = "env:CLIENT_SECRET"
{issuer}
"""


def load(tmp_path, *, gateway="", issuer="", rest=""):
    path = tmp_path / "mitm.toml"
    path.write_text(HEAD.format(gateway=gateway, issuer=issuer) + rest)
    return load_config(path)


def problems(tmp_path, **parts):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **parts)
    return str(caught.value)


def test_roles_sessions_and_notifications_are_read(tmp_path):
    config = load(
        tmp_path,
        gateway='admin_url = "https://Approvals.example.com:443/"',
        issuer='acr = ["urn:mfa"]\nscopes = ["openid", "groups"]',
        rest='[admin]\nroles = { viewer = ["staff"], operator = ["sre"] }\nsession_idle = "5 min"\n'
        '[[notify]]\ntype = "webhook"\nurl = "https://hooks.example.com/a"\nsecret = "env:HOOK"\n'
        '[[notify]]\ntype = "slack"\nurl = "env:SLACK"\nevents = ["pending", "killed"]\n',
    )
    assert config.gateway.admin_url == "https://approvals.example.com"
    assert (config.admin.roles, config.admin.session_idle) == ({"viewer": ("staff",), "operator": ("sre",)}, 300.0)
    assert config.issuers[0].acr == ("urn:mfa",)
    assert [target.name for target in config.notify] == ["webhook", "slack"]
    assert config.notify[1].events == ("pending", "killed")


def test_the_url_of_the_page_is_the_listeners_where_none_is_given(tmp_path):
    assert load(tmp_path).gateway.admin_url == "http://127.0.0.1:8088"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("http://approvals.example.com", "plain http"),
        ("https://approvals.example.com/here", "more than scheme"),
        ("https://x@approvals.example.com", "more than scheme"),
        ("approvals", "not a https:// URL"),
    ],
)
def test_an_admin_url_is_an_origin_over_https(tmp_path, text, wrong):
    assert wrong in problems(tmp_path, gateway=f'admin_url = "{text}"')


@pytest.mark.parametrize(
    ("rest", "wrong"),
    [
        ('[admin]\nroles = { root = ["a"] }', "no such role: 'root'"),
        ("[admin]\nroles = { viewer = [] }", "admin.roles.viewer: empty"),
        ('[admin]\nsession_idle = "0 s"', "admin.session_idle"),
        ('[admin]\nsession_lifetime = "7 d"', "admin.session_lifetime"),
        ('[[notify]]\ntype = "webhook"\nurl = "http://hooks.example.com"\nsecret = "env:A"', "plain http"),
        ('[[notify]]\ntype = "webhook"\nurl = "https://hooks.example.com"', "notify[0].secret: missing"),
        ('[[notify]]\ntype = "slack"\nurl = "https://hooks.slack.com/services/T0/B0/x"', "itself a secret"),
        ('[[notify]]\ntype = "webhook"\nurl = "https://a.example"\nsecret = "hunter2"', "a secret in clear"),
        ('[[notify]]\ntype = "slack"\nurl = "env:A"\n[[notify]]\ntype = "slack"\nurl = "env:B"', "used twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, rest, wrong):
    said = problems(tmp_path, rest=rest)
    assert wrong in said
    assert "hunter2" not in said
    assert "T0/B0" not in said


def test_agents_cannot_log_in(tmp_path):
    path = tmp_path / "mitm.toml"
    path.write_text(HEAD.format(gateway="", issuer="").replace('kind = "human"', ""))
    with pytest.raises(ConfigError, match="agents'"):
        load_config(path)


def test_a_login_asks_for_openid(tmp_path):
    assert "openid" in problems(tmp_path, issuer='scopes = ["groups"]')
