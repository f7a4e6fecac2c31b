from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.config import IssuerConfig
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.jwks import KEY_OF_ALGORITHM, KeySetError, PublicKey, parse_jwks, verify
from onrecord.policies.identity.tokens import parse_token
from tests.policies.identity.signing import b64, ec_key, ed_key, jwk, jwks, public_pem, rsa_key, token

ALGORITHMS = IssuerConfig(issuer="x", audience=()).algorithms


def keys(*entries: dict[str, Any]) -> tuple[PublicKey, ...]:
    return parse_jwks(jwks(*entries))


def refusal(text: str, found: tuple[PublicKey, ...], algorithms: tuple[str, ...] = ALGORITHMS) -> str:
    with pytest.raises(IdentityError) as caught:
        verify(parse_token(text), found, algorithms)
    return caught.value.detail


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(rsa_key(), "RS256"), (rsa_key(), "PS256"), (ec_key(), "ES256"), (ed_key(), "EdDSA")],
)
def test_a_signature_by_the_issuers_key_holds(key: Any, algorithm: str) -> None:
    found = keys(jwk(key, "k1", use="sig", x5c=["ignored"]), jwk(ec_key("other"), "k2"))
    assert verify(parse_token(token(key=key, alg=algorithm)), found, ALGORITHMS)


def test_every_configured_algorithm_is_known_and_none_is_symmetric() -> None:
    assert set(ALGORITHMS) <= set(KEY_OF_ALGORITHM)
    assert not {name for name in KEY_OF_ALGORITHM if name.startswith("HS") or name.lower() == "none"}


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "", "RS1", "ES256K"])
def test_no_configuration_allows_an_unsigned_or_symmetric_token(algorithm: str) -> None:
    text = token(header={"alg": algorithm, "kid": "k1"})
    assert "signed with" in refusal(text, keys(jwk(ec_key(), "k1")), (*ALGORITHMS, algorithm))


@pytest.mark.parametrize("secret", [public_pem(rsa_key()), b"", b64(b"k").encode(), jwk(rsa_key(), "k1")["n"].encode()])
def test_an_hmac_with_the_public_key_is_refused(secret: bytes) -> None:
    assert "HS256" in refusal(token(key=secret), keys(jwk(rsa_key(), "k1")))


def test_a_symmetric_key_in_the_key_set_is_no_key() -> None:
    with pytest.raises(KeySetError, match="no key"):
        keys({"kty": "oct", "k": b64(b"secret" * 8), "kid": "k1", "alg": "HS256"})


def test_an_algorithm_off_the_issuers_list_is_refused() -> None:
    assert "'ES256'" in refusal(token(), keys(jwk(ec_key(), "k1")), ("RS256",))


def test_the_key_must_fit_the_algorithm() -> None:
    found = keys(jwk(ec_key(), "e"), jwk(rsa_key(), "r"), jwk(ed_key(), "d"))
    assert "not for RS256" in refusal(token(key=rsa_key(), kid="e"), found)
    assert "not for ES256" in refusal(token(kid="r"), found)
    assert "not for ES256" in refusal(token(kid="d"), found)
    assert "not for EdDSA" in refusal(token(kid="e", alg="EdDSA"), found)
    assert "not for ES384" in refusal(token(kid="e", alg="ES384"), found)


def test_a_key_bound_to_one_algorithm_serves_no_other() -> None:
    found = keys(jwk(rsa_key(), "k1", alg="PS256"))
    assert verify(parse_token(token(key=rsa_key(), alg="PS256")), found, ALGORITHMS)
    assert "not for RS256" in refusal(token(key=rsa_key()), found)
    assert verify(parse_token(token(key=ed_key())), keys(jwk(ed_key(), "k1", alg="Ed25519")), ALGORITHMS)


def test_another_key_or_a_changed_token_does_not_verify() -> None:
    found = keys(jwk(ec_key(), "k1"))
    assert "signature" in refusal(token(key=ec_key("attacker")), found)
    head, _, signature = token().split(".")
    forged = token({"iss": "https://idp.example.com", "sub": "root"}).split(".")[1]
    assert "signature" in refusal(f"{head}.{forged}.{signature}", found)


@pytest.mark.parametrize("signature", [b"\0" * 64, b"\0", b"\xff" * 64, b"x" * 63, b"x" * 5000])
def test_signatures_of_zeros_and_odd_sizes_do_not_verify(signature: bytes) -> None:
    head = token().rpartition(".")[0]
    assert "signature" in refusal(f"{head}.{b64(signature)}", keys(jwk(ec_key(), "k1")))


def test_an_unknown_kid_is_told_apart_from_a_bad_signature() -> None:
    found = keys(jwk(ec_key(), "k1"), jwk(ec_key(), None))
    assert verify(parse_token(token(kid="k2")), found, ALGORITHMS) is False


def test_without_a_kid_the_issuer_must_have_one_fitting_key() -> None:
    bare = {"alg": "ES256"}
    assert verify(parse_token(token(header=bare)), keys(jwk(ec_key(), "k1"), jwk(rsa_key(), "k2")), ALGORITHMS)
    assert "several" in refusal(token(header=bare), keys(jwk(ec_key(), "k1"), jwk(ec_key("b"), "k2")))


def test_of_two_keys_with_one_kid_the_fitting_one_counts() -> None:
    found = keys(jwk(rsa_key(), "k1"), jwk(ec_key("old"), "k1"), jwk(ec_key(), "k1"))
    assert verify(parse_token(token()), found, ALGORITHMS)


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "RSA", "n": "", "e": "AQAB"},
        {"kty": "RSA", "n": "!!", "e": "AQAB"},
        {"kty": "RSA", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": b64(b"x" * 32)},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": ["EC"]},
        {"kty": "new"},
        {},
        "text",
        None,
        jwk(rsa_key("weak", 1024), "k"),
        {**jwk(ec_key(), "k"), "d": "private"},
        {**jwk(ec_key(), "k"), "use": "enc"},
        {**jwk(ec_key(), "k"), "key_ops": ["sign"]},
        {**jwk(ec_key(), "k"), "key_ops": "verify!"},
        {**jwk(ec_key(), "k"), "alg": "HS256"},
        {**jwk(ec_key(), "k"), "kid": 5},
        {**jwk(ec_key(), "k"), "x": b64(b"\1" * 32)},
    ],
)
def test_unusable_keys_are_left_out_and_the_others_serve(entry: Any) -> None:
    good = jwk(ed_key(), "good")
    assert [key.kid for key in keys(entry, good)] == ["good"]
    with pytest.raises(KeySetError, match="no key"):
        keys(entry)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [], "keys": []}', json.dumps({"keys": [1] * 257}).encode()],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_jwks(document)


@given(st.binary())
def test_junk_raises_only_a_key_set_error(data: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_jwks(data)


@given(st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y"]), st.text(max_size=20) | st.integers()))
def test_odd_keys_are_never_an_exception(entry: dict[str, Any]) -> None:
    good = jwk(ed_key(), "good")
    assert [key.kid for key in keys(entry, good)] == ["good"]


def test_a_p384_key_serves_es384_only() -> None:
    point = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    entry = {"kty": "EC", "crv": "P-384", "kid": "k1", "x": b64(point.x.to_bytes(48)), "y": b64(point.y.to_bytes(48))}
    assert "not for ES256" in refusal(token(), keys(entry))
