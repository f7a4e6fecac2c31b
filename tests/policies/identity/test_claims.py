from __future__ import annotations

from typing import Any

import pytest

from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.claims import Checked, check_claims, lookup
from onrecord.policies.model import Identity
from tests.policies.identity.signing import ISSUER, NOW, claims, issuer_config

DEV = "onrecord:dev"


def check(given: dict[str, Any], **config: Any) -> Checked:
    return check_claims(given, issuer_config(**config), now=NOW, signing_input=b"head.payload")


def identity(given: dict[str, Any], **config: Any) -> Identity:
    return check(given, **config).identity


def refusal(given: dict[str, Any], **config: Any) -> str:
    with pytest.raises(IdentityError) as caught:
        check(given, **config)
    assert str(caught.value) == "the token was not accepted"
    return caught.value.detail


def test_a_good_token_becomes_an_agent_identity() -> None:
    assert identity(claims(jti="t1", client_id="devin-app", run_id="run-7")) == Identity(
        issuer=ISSUER,
        subject="devin",
        groups=("agents",),
        kind="agent",
        agent="devin-app",
        token_id="t1",
        expires_at=NOW + 600.0,
        run="run-7",
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (claims("exp"), "`exp`"),
        (claims("iat"), "`iat`"),
        (claims("sub"), "`sub`"),
        (claims("aud"), "`aud`"),
        (claims(iss="https://idp.example.com/"), "`iss`"),
        (claims(exp=NOW - 30), "expired"),
        (claims(exp=NOW - 86400, iat=NOW - 90000), "expired"),
        (claims(iat=NOW + 31), "future"),
        (claims(nbf=NOW + 31), "`nbf`"),
        (claims(exp=NOW - 10, iat=NOW - 10), "not after"),
        (claims(iat=0), "max_ttl"),
        (claims(exp=NOW + 86400), "max_ttl"),
        (claims(aud="other"), "`aud`"),
        (claims(aud=[]), "`aud`"),
        (claims(aud=["other", "else"]), "`aud`"),
        (claims(aud=["onrecord", 5]), "`aud`"),
        (claims(aud={"onrecord": 1}), "`aud`"),
        (claims(aud="onrecord2"), "`aud`"),
        (claims(aud=["ONRECORD"]), "`aud`"),
        (claims(sub=""), "`sub`"),
        (claims(sub=" devin"), "`sub`"),
        (claims(sub=5), "`sub`"),
        (claims(sub=None), "`sub`"),
        (claims(sub=["devin"]), "`sub`"),
        (claims(sub="dev\x00in"), "control"),
        (claims(sub="dev\nin"), "control"),
        (claims(sub="dev\x1b[2Kin"), "control"),
        (claims(sub="nived\u202e"), "control"),
        (claims(sub="de\u200bvin"), "control"),
        (claims(sub="\ud800"), "control"),
        (claims(sub="x" * 1025), "1025"),
        (claims(groups=["a\n"]), "`groups`"),
        (claims(groups=["a", 5]), "`groups`"),
        (claims(groups=[["a"]]), "`groups`"),
        (claims(groups={"a": True}), "`groups`"),
        (claims(groups=5), "`groups`"),
        (claims(groups=[""]), "`groups`"),
        (claims(jti=5), "`jti`"),
        (claims(jti=""), "`jti`"),
        (claims(run_id=["r"]), "`run_id`"),
        (claims(run_id=True), "`run_id`"),
        (claims(run_id="r\x07"), "`run_id`"),
        (claims(client_id=5), "`client_id`"),
        (claims(act=None), "`act`"),
        (claims(act="devin"), "`act`"),
        (claims(act=[]), "`act`"),
        (claims(act={}), "`act.sub`"),
        (claims(act={"sub": ""}), "`act.sub`"),
        (claims(act={"sub": "d\r"}), "`act.sub`"),
        (claims(act={"sub": "devin", "iss": "https://other.example"}), "`act.iss`"),
        (claims(events={"http://schemas.openid.net/event/backchannel-logout": {}}), "logout"),
        (claims(typ="Refresh"), "refresh"),
        (claims(cnf={"jkt": "x"}), "`cnf`"),
        (claims(cnf={"x5t#S256": "short"}), "thumbprint"),
        (claims(cnf={"x5t#S256": 5}), "thumbprint"),
        (claims(cnf="x"), "`cnf`"),
        (claims(cnf={}), "`cnf`"),
    ],
)
def test_bad_claims_are_refused_with_the_claim_named(given: dict[str, Any], said: str) -> None:
    assert said in refusal(given)


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", ["1800000100", 1800000100.0, 1.8e9, True, None, -1, 10**12, 10**30, [NOW], {}])
def test_times_that_are_not_whole_seconds_are_refused(name: str, value: Any) -> None:
    assert f"`{name}`" in refusal(claims(**{name: value}))


def test_leeway_stretches_every_time_by_its_seconds() -> None:
    assert identity(claims(exp=NOW - 29, iat=NOW - 60)).expires_at == NOW - 29
    identity(claims(iat=NOW + 30, nbf=NOW + 30))
    assert "expired" in refusal(claims(exp=NOW), leeway=0.0)
    assert "future" in refusal(claims(iat=NOW + 1), leeway=0.0)


def test_an_audience_in_a_list_is_enough() -> None:
    assert identity(claims(aud=["other", "onrecord"])).subject == "devin"
    assert identity(claims(aud="second"), audience=("first", "second")).subject == "devin"


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("groups", {"groups": ["a", "b", "a"]}),
        ("realm_access.roles", {"realm_access": {"roles": ["a", "b"]}}),
        ("https://example.com/groups", {"https://example.com/groups": ["a", "b"]}),
        ("https://example.com/x.roles", {"https://example.com/x": {"roles": ["a", "b"]}}),
        ("kubernetes.io.ns", {"kubernetes.io": {"ns": ["a", "b"]}}),
        ("a.b", {"a.b": ["a", "b"], "a": {"b": ["wrong"]}}),
    ],
)
def test_groups_are_found_by_literal_name_or_path(path: str, given: dict[str, Any]) -> None:
    assert identity(claims(**given), groups_claim=path).groups == ("a", "b")


def test_one_group_may_be_plain_text_and_none_is_none() -> None:
    assert identity(claims(groups="agents")).groups == ("agents",)
    assert identity(claims("groups")).groups == ()
    assert identity(claims(groups=None)).groups == ()
    assert identity(claims(groups=[])).groups == ()


def test_a_delegated_token_is_the_agents_and_the_humans_groups_are_not_inherited() -> None:
    found = identity(claims(sub="alice@example.com", groups=["dba"], act={"sub": "devin"}), kind="human")
    assert (found.subject, found.on_behalf_of, found.groups) == ("devin", "alice@example.com", ())
    assert (found.kind, found.agent) == ("agent", "devin")


def test_the_agents_groups_are_read_from_act_at_the_same_path() -> None:
    given = claims(
        "groups", sub="alice", realm={"roles": ["dba"]}, act={"sub": "devin", "realm": {"roles": ["agents"]}}
    )
    assert identity(given, groups_claim="realm.roles").groups == ("agents",)


def test_the_outermost_actor_is_the_agent() -> None:
    found = identity(claims(sub="alice", act={"sub": "devin", "iss": ISSUER, "act": {"sub": "planner"}}))
    assert (found.subject, found.on_behalf_of) == ("devin", "alice")


def test_everybody_behind_a_token_is_known_by_all_names() -> None:
    chain = {"sub": "devin", "email": "devin@bots", "act": {"sub": "planner", "act": {"sub": "0u2", "upn": "carol@x"}}}
    found = identity(claims(sub="00u1", email="alice@example.com", act=chain))
    assert found.names == ("alice@example.com",)
    assert found.actors == ("devin@bots", "planner", "0u2", "carol@x")
    assert identity(claims(email="devin@bots")).names == ("devin@bots",)


def test_a_chain_of_delegation_that_cannot_be_followed_is_refused() -> None:
    assert "`act.act`" in refusal(claims(act={"sub": "devin", "act": "planner"}))
    assert "`act.act.sub`" in refusal(claims(act={"sub": "devin", "act": {}}))
    chain: dict[str, Any] = {"sub": "last"}
    for _ in range(20):
        chain = {"sub": "next", "act": chain}
    assert "deep" in refusal(claims(act=chain))


def test_kind_is_the_issuers_and_the_human_claim_counts_for_the_dev_issuer_only() -> None:
    assert identity(claims(), kind="human").kind == "human"
    assert identity(claims(human=True)).kind == "agent"
    dev = claims(iss=DEV)
    assert identity(dev, issuer=DEV).kind == "agent"
    assert identity(dev, issuer=DEV, kind="human").kind == "agent"
    assert identity({**dev, "human": True}, issuer=DEV).kind == "human"
    assert identity({**dev, "human": "true"}, issuer=DEV).kind == "agent"
    assert identity({**dev, "human": True, "act": {"sub": "devin"}}, issuer=DEV).kind == "agent"


def test_the_agents_name_comes_from_its_claim_then_act_then_client() -> None:
    assert identity(claims(tool={"name": "claude"}, client_id="c"), agent_claim="tool.name").agent == "claude"
    assert identity(claims(client_id="c", azp="z"), agent_claim="missing").agent == "c"
    assert identity(claims(azp="z")).agent == "z"
    assert identity(claims(client_id="c", act={"sub": "devin"})).agent == "devin"
    assert identity(claims()).agent is None
    assert identity(claims(azp="portal"), kind="human").agent is None


def test_a_run_may_be_a_number_as_ci_systems_write_it() -> None:
    assert identity(claims(run_id=123)).run == "123"
    assert identity(claims(ci={"job": "9"}), run_claim="ci.job").run == "9"
    assert identity(claims()).run is None
    assert identity(claims(run_id="x"), run_claim="").run is None


def test_a_token_without_jti_is_named_by_what_was_signed() -> None:
    one = check_claims(claims(), issuer_config(), now=NOW, signing_input=b"one").identity
    two = check_claims(claims(), issuer_config(), now=NOW, signing_input=b"two").identity
    assert one.token_id.startswith("sha256:")
    assert one.token_id != two.token_id


@pytest.mark.parametrize(
    ("given", "require"),
    [
        ({"repository": "acme/shop"}, {"repository": ("acme/*",)}),
        ({"repository": "acme/shop"}, {"repository": ("other/*", "acme/shop")}),
        ({"teams": ["x", "acme-dev"]}, {"teams": ("acme-*",)}),
        ({"kubernetes.io": {"namespace": "agents"}}, {"kubernetes.io.namespace": ("agents",)}),
        ({"email_verified": True}, {"email_verified": ("true",)}),
        ({"project_id": 42}, {"project_id": ("42",)}),
    ],
)
def test_required_claims_that_fit_are_accepted(given: dict[str, Any], require: dict[str, tuple[str, ...]]) -> None:
    assert identity(claims(**given), require=require).subject == "devin"


@pytest.mark.parametrize(
    ("given", "require"),
    [
        ({}, {"repository": ("acme/*",)}),
        ({}, {"repository": ("*",)}),
        ({"repository": None}, {"repository": ("*",)}),
        ({"repository": "evil/acme/shop"}, {"repository": ("acme/*",)}),
        ({"repository": "acme-evil/shop"}, {"repository": ("acme/*",)}),
        ({"repository": "ACME/shop"}, {"repository": ("acme/*",)}),
        ({"repository": "x\nacme/shop"}, {"repository": ("acme/*",)}),
        ({"repository": {"acme/x": 1}}, {"repository": ("*",)}),
        ({"repository": []}, {"repository": ("*",)}),
        ({"repository": "acme/shop"}, {"repository": ("acme/*",), "ref": ("refs/heads/main",)}),
        ({"repository": "acme/shop"}, {"repository": ()}),
        ({"email_verified": "True"}, {"email_verified": ("true",)}),
    ],
)
def test_required_claims_that_do_not_fit_are_refused(
    given: dict[str, Any], require: dict[str, tuple[str, ...]]
) -> None:
    assert "`require`" in refusal(claims(**given), require=require)


def test_a_bound_token_gives_its_certificate_and_mtls_asks_for_one() -> None:
    thumbprint = "A" * 43
    assert check(claims(cnf={"x5t#S256": thumbprint})).certificate == bytes(32)
    assert check(claims(cnf={"x5t#S256": thumbprint}), bind="mtls").certificate == bytes(32)
    assert check(claims()).certificate is None
    assert "`cnf`" in refusal(claims(), bind="mtls")


def test_lookup_of_what_is_not_there_is_none() -> None:
    assert lookup({"a": {"b": 1}}, "a.c") is None
    assert lookup({"a": "text"}, "a.b") is None
    assert lookup("text", "a") is None
    assert lookup({"a": {"b": {"c": 5}}}, "a.b.c") == 5
