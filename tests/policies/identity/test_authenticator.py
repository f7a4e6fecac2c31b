from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.dev_issuer import mint
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity import SHARED_ISSUERS, Authenticator, run_id
from onrecord.policies.identity import authenticator as module
from onrecord.policies.identity import keys as keys_module
from onrecord.policies.identity.authenticator import DEV_KEYS
from onrecord.policies.model import Identity
from tests.policies.identity.signing import NOW, b64, claims, ec_key, issuer_config, jwk, jwks, token

DEV = "onrecord:dev"
LOCAL = "127.0.0.1:50412"


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Gate:
    """An Authenticator over a key file whose key the test holds, with clocks that the test turns."""

    def __init__(self, state: Path, *configs: dict[str, Any]) -> None:
        self.file = state / DEV_KEYS
        self.file.parent.mkdir(mode=0o700)
        self.file.write_bytes(jwks(jwk(ec_key(), "k1")))
        self.clock, self.monotonic = Clock(NOW), Clock(50.0)
        issuers = [issuer_config(**{"issuer": DEV, **config}) for config in configs or ({},)]
        self.checks = Authenticator(issuers, state, clock=self.clock, monotonic=self.monotonic)

    async def accept(self, text: str, client: str = LOCAL, cert: str | None = None) -> Identity:
        assert self.checks.cached(text, client=client, cert_sha256=cert) is None
        found = await self.checks.authenticate(text, client=client, cert_sha256=cert)
        assert self.checks.cached(text, client=client, cert_sha256=cert) == found
        return found

    async def refuse(self, text: str, client: str = LOCAL, cert: str | None = None) -> str:
        with pytest.raises(IdentityError) as caught:
            await self.checks.authenticate(text, client=client, cert_sha256=cert)
        assert self.checks.cached(text, client=client, cert_sha256=cert) is None
        assert str(caught.value) == "the token was not accepted"
        assert not any(part in caught.value.detail for part in text.split(".") if len(part) > 20)
        return caught.value.detail


def dev(*without: str, **changes: Any) -> dict[str, Any]:
    return claims(*without, **{"iss": DEV, **changes})


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def test_a_token_is_accepted_and_remembered(gate: Gate) -> None:
    assert (await gate.accept(token(dev()))).subject == "devin"


async def test_a_remembered_token_expires(gate: Gate) -> None:
    text = token(dev(exp=NOW + 60))
    await gate.accept(text)
    gate.clock.now += 89
    assert gate.checks.cached(text, client=LOCAL)
    gate.clock.now += 1
    assert gate.checks.cached(text, client=LOCAL) is None
    assert "expired" in await gate.refuse(text)


async def test_a_remembered_token_is_verified_again_after_a_while(gate: Gate) -> None:
    text = token(dev())
    await gate.accept(text)
    gate.file.write_bytes(jwks(jwk(ec_key("next"), "k2")))
    assert gate.checks.cached(text, client=LOCAL)
    gate.monotonic.now += keys_module.FRESH
    assert gate.checks.cached(text, client=LOCAL) is None
    assert "no key 'k1'" in await gate.refuse(text)


async def test_a_rotated_key_is_found(gate: Gate) -> None:
    await gate.accept(token(dev()))
    gate.file.write_bytes(jwks(jwk(ec_key("next"), "k2"), jwk(ec_key(), "k1")))
    await gate.accept(token(dev(jti="2"), ec_key("next"), kid="k2"))


async def test_memory_of_tokens_is_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_SIZE", 3)
    texts = [token(dev(jti=str(index))) for index in range(5)]
    for text in texts:
        await gate.accept(text)
        gate.checks.cached(texts[0], client=LOCAL)
    remembered = [gate.checks.cached(text, client=LOCAL) is not None for text in texts]
    assert remembered == [True, False, False, True, True]


async def test_a_token_from_another_network_is_refused_also_when_it_is_remembered(tmp_path: Path) -> None:
    gate = Gate(tmp_path, {"clients": ("10.0.0.0/8",)})
    text = token(dev())
    assert "none of the networks" in await gate.refuse(text, client="192.168.1.1:9")
    await gate.accept(text, client="[::ffff:10.0.0.1]:9")
    assert "none of the networks" in await gate.refuse(text, client="192.168.1.1:9")
    assert "none of the networks" in await gate.refuse(text, client="")
    assert gate.checks.cached(text, client="10.0.0.2")


async def test_a_bound_token_needs_its_certificate_each_time(tmp_path: Path) -> None:
    gate = Gate(tmp_path, {"bind": "mtls"})
    text = token(dev(cnf={"x5t#S256": b64(b"c" * 32)}))
    mine, other = (b"c" * 32).hex(), (b"d" * 32).hex()
    assert "none was presented" in await gate.refuse(text)
    assert "another was presented" in await gate.refuse(text, cert=other)
    await gate.accept(text, cert=mine)
    assert "another was presented" in await gate.refuse(text, cert=other)
    await gate.refuse(text)
    assert "bind" in await gate.refuse(token(dev()), cert=mine)


async def test_a_bound_token_is_checked_where_the_issuer_does_not_ask(gate: Gate) -> None:
    text = token(dev(cnf={"x5t#S256": b64(b"c" * 32)}))
    assert "none was presented" in await gate.refuse(text)


async def test_an_unknown_issuer_is_refused_without_asking_anyone(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("httpx.Client.send", lambda *args, **kwargs: pytest.fail("asked the network"))
    for issuer in ("https://attacker.example", "onrecord:DEV", "onrecord:dev ", "http://127.0.0.1:1/"):
        assert "not configured" in await gate.refuse(token(claims(iss=issuer)))


async def test_an_algorithm_off_the_list_is_refused_without_asking_the_issuer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("httpx.Client.send", lambda *args, **kwargs: pytest.fail("asked the network"))
    gate = Gate(tmp_path, {"issuer": "https://idp.example.com"})
    for algorithm in ("none", "HS256", "ES512"):
        assert "signed with" in await gate.refuse(token(header={"alg": algorithm, "kid": "k1"}))


def test_an_issuer_configured_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        Gate(tmp_path, {"audience": ("agents",)}, {"audience": ("people",), "kind": "human"})


async def test_the_issuer_is_picked_by_its_name(tmp_path: Path) -> None:
    gate = Gate(tmp_path, {}, {"issuer": "https://idp.example.com"})
    assert (await gate.accept(token(dev()))).issuer == DEV


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é" * 5, "\ud800", "\0", "x" * 100_000])
async def test_text_that_is_no_token_is_refused(gate: Gate, text: str) -> None:
    await gate.refuse(text)


async def test_minted_tokens_carry_delegation_groups_kind_and_run(tmp_path: Path) -> None:
    checks = Authenticator([issuer_config(issuer=DEV)], tmp_path)

    async def identity(**wishes: Any) -> Identity:
        text = mint(tmp_path, **{"groups": ["agents"], "audience": "onrecord", **wishes})
        return await checks.authenticate(text, client=LOCAL)

    found = await identity(subject="devin", on_behalf_of="alice@example.com", run="run-1")
    assert (found.subject, found.groups, found.on_behalf_of) == ("devin", ("agents",), "alice@example.com")
    assert (found.kind, found.run) == ("agent", "run-1")
    human = await identity(subject="bob", human=True, groups=["dba"])
    assert (human.subject, human.kind, human.groups, human.on_behalf_of) == ("bob", "human", ("dba",), None)


def test_a_run_without_a_claim_is_derived_alike_everywhere() -> None:
    one = Identity(issuer="i", subject="s", token_id="t")
    assert run_id(one) == run_id(Identity(issuer="i", subject="s", token_id="t", groups=("x",)))
    others = [
        Identity(issuer="i", subject="s", token_id="u"),
        Identity(issuer="i", subject="s", token_id="t", on_behalf_of="h"),
        Identity(issuer="is", subject="", token_id="t"),
    ]
    assert len({run_id(identity) for identity in [one, *others]}) == 4
    assert run_id(Identity(issuer="i", subject="s", run="claimed")) == "claimed"


def test_issuers_that_many_share_are_named() -> None:
    assert "https://token.actions.githubusercontent.com" in SHARED_ISSUERS


async def test_details_hold_no_part_of_a_hostile_token(gate: Gate) -> None:
    secret = "s3cret" * 10
    for text in (
        token(dev(sub=secret + "\n")),
        token(dev(), kid=secret * 3),
        token(dev(), ec_key("attacker")),
        token(dev(aud=secret * 5)),
    ):
        detail = await gate.refuse(text)
        assert len(detail) < 400
        assert json.dumps(detail).isascii() or "…" in detail
