"""Against a real provider (npm oidc-provider): discovery, RFC 9068 tokens, key rotation, an issuer that is down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onrecord.policies.errors import IdentityError
from onrecord.policies.identity import Authenticator
from onrecord.policies.identity.keys import FRESH, LOOKUP_EVERY
from tests.policies.identity.provider import Provider, install, new_key
from tests.policies.identity.signing import issuer_config

LOCAL = "127.0.0.1:40000"


class Ages:
    """Monotonic seconds that the test can push forward."""

    def __init__(self) -> None:
        self.added = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.added


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with oidc-provider in it."""
    return install(tmp_path_factory.mktemp("npm"))


@pytest.fixture
def provider(installed: Path, tmp_path: Path) -> Iterator[Provider]:
    folder = tmp_path / "provider"
    folder.mkdir()
    (folder / "node_modules").symlink_to(installed / "node_modules")
    found = Provider(folder)
    yield found
    found.stop()


async def refusal(checks: Authenticator, token: str) -> str:
    with pytest.raises(IdentityError) as caught:
        await checks.authenticate(token, client=LOCAL)
    return caught.value.detail


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_real_access_token_is_accepted(provider: Provider, tmp_path: Path, alg: str) -> None:
    provider.start(new_key(alg), alg=alg, claims={"roles": {"gateway": ["agents"]}, "run_id": "run-9"})
    checks = Authenticator([issuer_config(issuer=provider.issuer, groups_claim="roles.gateway")], tmp_path)
    token = provider.token()
    found = await checks.authenticate(token, client=LOCAL)
    assert (found.issuer, found.subject, found.groups) == (provider.issuer, "devin-app", ("agents",))
    assert (found.agent, found.run, found.kind) == ("devin-app", "run-9", "agent")
    assert checks.cached(token, client=LOCAL) == found
    assert "`aud`" in await refusal(
        Authenticator([issuer_config(issuer=provider.issuer, audience=("other",))], tmp_path), token
    )
    assert "signed with" in await refusal(
        Authenticator([issuer_config(issuer=provider.issuer, algorithms=("ES384",))], tmp_path), token
    )


async def test_a_token_of_a_rotated_key_is_accepted_and_the_withdrawn_key_stops_to_count(
    provider: Provider, tmp_path: Path
) -> None:
    first, second = new_key(), new_key()
    ages = Ages()
    provider.start(first)
    checks = Authenticator([issuer_config(issuer=provider.issuer)], tmp_path, monotonic=ages)
    old = provider.token()
    await checks.authenticate(old, client=LOCAL)
    provider.stop()
    provider.start(second)
    new = provider.token()
    assert (await checks.authenticate(new, client=LOCAL)).subject == "devin-app"
    assert checks.cached(old, client=LOCAL) is not None
    ages.added += FRESH
    assert checks.cached(old, client=LOCAL) is None
    assert "no key" in await refusal(checks, old)
    assert (await checks.authenticate(new, client=LOCAL)).subject == "devin-app"


async def test_a_stranger_with_the_issuers_name_is_refused(provider: Provider, tmp_path: Path) -> None:
    attacker, real = new_key(), new_key()
    provider.start(attacker)
    forged = provider.token()
    provider.stop()
    provider.start(real)
    checks = Authenticator([issuer_config(issuer=provider.issuer)], tmp_path)
    assert "no key" in await refusal(checks, forged)
    assert (await checks.authenticate(provider.token(), client=LOCAL)).subject == "devin-app"


async def test_while_the_issuer_is_down_its_keys_serve_for_jwks_stale_seconds(
    provider: Provider, tmp_path: Path
) -> None:
    ages = Ages()
    provider.start(new_key())
    checks = Authenticator([issuer_config(issuer=provider.issuer, jwks_stale=1000.0)], tmp_path, monotonic=ages)
    tokens = [provider.token() for _ in range(3)]
    await checks.authenticate(tokens[0], client=LOCAL)
    provider.stop()
    ages.added = 900.0
    assert (await checks.authenticate(tokens[1], client=LOCAL)).subject == "devin-app"
    ages.added = 1100.0
    assert checks.cached(tokens[1], client=LOCAL) is None
    for token in tokens:
        assert "cannot be read" in await refusal(checks, token)


async def test_an_issuer_that_comes_up_later_serves_then(provider: Provider, tmp_path: Path) -> None:
    ages = Ages()
    key = new_key()
    provider.start(key)
    token = provider.token()
    provider.stop()
    checks = Authenticator([issuer_config(issuer=provider.issuer)], tmp_path, monotonic=ages)
    assert "ConnectError" in await refusal(checks, token)
    provider.start(key)
    ages.added += LOOKUP_EVERY
    assert (await checks.authenticate(token, client=LOCAL)).subject == "devin-app"
