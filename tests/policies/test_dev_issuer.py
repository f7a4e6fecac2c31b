from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from onrecord.policies.dev_issuer import DEV_ISSUER, mint
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.jwks import parse_jwks, verify
from onrecord.policies.identity.tokens import Token, parse_token


def minted(state: Path, **wishes: Any) -> Token:
    return parse_token(mint(state, **{"subject": "devin", "groups": ["agents"], "audience": "onrecord", **wishes}))


def test_a_minted_token_fits_the_published_key(tmp_path: Path) -> None:
    token = minted(tmp_path, ttl=60.0)
    keys = parse_jwks((tmp_path / "dev-issuer" / "jwks.json").read_bytes())
    assert verify(token, keys, ("ES256",))
    assert token.issuer == DEV_ISSUER
    assert token.claims["exp"] - token.claims["iat"] == 60
    assert token.claims["groups"] == ["agents"]
    assert "human" not in token.claims


def test_two_tokens_differ_and_one_key_signs_both(tmp_path: Path) -> None:
    one, two = minted(tmp_path), minted(tmp_path)
    assert one.kid == two.kid
    assert one.claims["jti"] != two.claims["jti"]


def test_a_delegated_token_keeps_the_agents_groups_with_the_agent(tmp_path: Path) -> None:
    claims = minted(tmp_path, on_behalf_of="alice@example.com", groups_claim="roles").claims
    assert claims["sub"] == "alice@example.com"
    assert claims["act"] == {"sub": "devin", "roles": ["agents"]}
    assert "roles" not in claims


def test_run_and_human_are_claims(tmp_path: Path) -> None:
    assert minted(tmp_path, run="r1", run_claim="task").claims["task"] == "r1"
    assert minted(tmp_path, human=True).claims["human"] is True


@pytest.mark.parametrize("wishes", [{"human": True, "on_behalf_of": "x"}, {"ttl": 0.5}, {"ttl": float("nan")}])
def test_wishes_that_make_no_sense_are_refused(tmp_path: Path, wishes: dict[str, Any]) -> None:
    with pytest.raises(IdentityError):
        minted(tmp_path, **wishes)


def test_the_private_key_is_for_its_user_only(tmp_path: Path) -> None:
    minted(tmp_path)
    folder = tmp_path / "dev-issuer"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key.json").stat().st_mode) == 0o600
    assert "d" in json.loads((folder / "key.json").read_bytes())
    assert "d" not in json.loads((folder / "jwks.json").read_bytes())["keys"][0]
    assert sorted(path.name for path in folder.iterdir()) == ["jwks.json", "key.json"]


def test_a_key_that_others_could_read_is_not_used(tmp_path: Path) -> None:
    minted(tmp_path)
    folder = tmp_path / "dev-issuer"
    (folder / "key.json").chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        minted(tmp_path)
    (folder / "key.json").chmod(0o600)
    folder.chmod(0o755)
    with pytest.raises(IdentityError, match="chmod 700"):
        minted(tmp_path)


def test_a_broken_key_is_named_and_not_replaced_silently(tmp_path: Path) -> None:
    minted(tmp_path)
    key = tmp_path / "dev-issuer" / "key.json"
    key.write_text('{"kty": "oct"}')
    with pytest.raises(IdentityError, match="no EC key"):
        minted(tmp_path)
    key.unlink()
    (tmp_path / "elsewhere").write_text("{}")
    key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IdentityError, match="cannot be read"):
        minted(tmp_path)


def test_a_lost_public_half_is_written_again(tmp_path: Path) -> None:
    kid = minted(tmp_path).kid
    (tmp_path / "dev-issuer" / "jwks.json").unlink()
    minted(tmp_path)
    assert parse_jwks((tmp_path / "dev-issuer" / "jwks.json").read_bytes())[0].kid == kid


def test_many_who_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    kids: list[str | None] = []

    def start() -> None:
        barrier.wait(10)
        kids.append(minted(tmp_path).kid)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kids) == 8
    assert len(set(kids)) == 1
    assert sorted(path.name for path in (tmp_path / "dev-issuer").iterdir()) == ["jwks.json", "key.json"]
