"""Against a real provider (npm oidc-provider): discovery, RFC 9068 tokens, key rotation, an issuer that is down."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import JWKRegistry, Key

from onrecord.policies.errors import IdentityError
from onrecord.policies.identity import Authenticator
from onrecord.policies.identity.keys import FRESH, LOOKUP_EVERY
from tests.policies.identity.signing import issuer_config

HERE = Path(__file__).parent / "oidc_provider"
LOCAL = "127.0.0.1:40000"


class Provider:
    """The provider as a child process; `restart` gives it other keys on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self, *keys: Key, alg: str = "ES256", claims: dict[str, Any] | None = None, ttl: int = 600) -> None:
        settings = {
            "port": self.port,
            "jwks": {"keys": [key.as_dict(private=True) for key in keys]},
            "alg": alg,
            "claims": {"groups": ["agents"]} if claims is None else claims,
            "ttl": ttl,
        }
        command = ["node", str(HERE / "provider.mjs"), str(self.folder), json.dumps(settings)]
        with (self.folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "stderr").read_text()
        self.port = int(line)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self) -> str:
        with httpx.Client(trust_env=False) as client:
            answer = client.post(
                f"{self.issuer}/token",
                data={"grant_type": "client_credentials"},
                auth=("devin-app", "only-for-tests"),
            )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


class Ages:
    """Monotonic seconds that the test can push forward."""

    def __init__(self) -> None:
        self.added = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.added


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with oidc-provider in it, kept in the virtual environment from run to run."""
    lock = (HERE / "package-lock.json").read_bytes()
    name = f"oidc-provider-{hashlib.sha256(lock).hexdigest()[:16]}"
    in_venv = sys.prefix != sys.base_prefix
    folder = (Path(sys.prefix) / "cache" if in_venv else tmp_path_factory.mktemp("npm")) / name
    if not (folder / "node_modules").exists():
        assert shutil.which("npm"), (
            "npm is missing: install Node.js 20 or newer; this test needs a real OpenID provider"
        )
        fresh = folder.with_name(f"{name}.{time.monotonic_ns()}")
        fresh.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / file, fresh)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        with contextlib.suppress(OSError):  # another run was first
            fresh.rename(folder)
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


@pytest.fixture
def provider(installed: Path, tmp_path: Path) -> Iterator[Provider]:
    folder = tmp_path / "provider"
    folder.mkdir()
    (folder / "node_modules").symlink_to(installed / "node_modules")
    found = Provider(folder)
    yield found
    found.stop()


def new_key(alg: str = "ES256") -> Key:
    kind, size = {"RS256": ("RSA", 2048), "PS256": ("RSA", 2048), "EdDSA": ("OKP", "Ed25519")}.get(alg, ("EC", "P-256"))
    return JWKRegistry.generate_key(kind, size, {"use": "sig", "alg": alg}, auto_kid=True)  # type: ignore[arg-type]


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
