from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.tokens import MAX_TOKEN, parse_token, show
from tests.policies.identity.signing import ISSUER, b64, claims, token


def refusal(text: str) -> str:
    with pytest.raises(IdentityError) as caught:
        parse_token(text)
    assert str(caught.value) == "the token was not accepted"
    if len(text) > 60:
        assert all(part not in caught.value.detail for part in text.split(".") if len(part) > 20)
    return caught.value.detail


def test_a_token_is_taken_apart() -> None:
    found = parse_token(token())
    assert (found.algorithm, found.kid, found.issuer, found.claims["sub"]) == ("ES256", "k1", ISSUER, "devin")
    assert found.signing_input == token().rpartition(".")[0].encode()
    assert len(found.signature) == 64


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_access_token_types_are_accepted(kind: str) -> None:
    assert parse_token(token(typ=kind)).issuer == ISSUER


def test_a_type_may_be_left_out() -> None:
    assert parse_token(token(header={"alg": "ES256"})).kid is None


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "JWE", "", 1, None, ["JWT"]])
def test_other_types_are_refused(kind: Any) -> None:
    assert "`typ`" in refusal(token(typ=kind))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crit", ["exp"]),
        ("crit", []),
        ("jwk", {"kty": "EC"}),
        ("jku", "https://attacker.example/keys"),
        ("x5u", "https://attacker.example/cert"),
        ("b64", False),
        ("zip", "DEF"),
        ("enc", "A256GCM"),
        ("cty", "JWT"),
        ("crit", None),
    ],
)
def test_headers_that_change_what_is_verified_are_refused(name: str, value: Any) -> None:
    assert f"`{name}`" in refusal(token(**{name: value}))


@pytest.mark.parametrize("algorithm", [None, 5, ["ES256"], {}])
def test_an_algorithm_that_is_no_name_is_refused(algorithm: Any) -> None:
    assert "alg" in refusal(token(header={"alg": algorithm, "kid": "k1"}))


@pytest.mark.parametrize("kid", ["", 1, ["k1"], {}])
def test_a_kid_that_is_no_name_is_refused(kid: Any) -> None:
    assert "`kid`" in refusal(token(kid=kid))


def test_an_encrypted_token_is_refused() -> None:
    assert "JWE" in refusal(
        ".".join([b64(json.dumps({"alg": "dir", "enc": "A256GCM"}).encode()), "", "aa", "aa", "aa"])
    )


def test_a_token_inside_a_token_is_refused() -> None:
    assert "payload is not JSON" in refusal(token(token().encode()))


def test_a_token_without_a_signature_is_refused() -> None:
    head, payload, _ = token().split(".")
    assert "no signature" in refusal(f"{head}.{payload}.")


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c.d", "....", "opaque-token-of-some-provider", "Bearer x.y.z"])
def test_text_that_is_no_token_is_refused(text: str) -> None:
    refusal(text)


def test_a_huge_token_is_refused_before_it_is_read() -> None:
    assert str(MAX_TOKEN) in refusal(token(claims(padding="x" * MAX_TOKEN)))


@pytest.mark.parametrize("tail", ["=", "\n", " ", "%", "+", "/", "é"])
def test_a_token_has_one_spelling_only(tail: str) -> None:
    refusal(token() + tail)


def test_loose_bits_at_the_end_of_base64_are_refused() -> None:
    good = token()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = letters[letters.index(good[-1]) ^ 1]
    assert "one right form" in refusal(good[:-1] + other)


@pytest.mark.parametrize(
    "payload", [b'{"iss": "a", "iss": "b"}', b"[]", b'{"iss": NaN}', b"\xff", b"", b'{"sub": "x"}']
)
def test_a_payload_with_no_or_two_meanings_is_refused(payload: bytes) -> None:
    assert "token's payload" in refusal(token(payload)) or "`iss`" in refusal(token(payload))


@pytest.mark.parametrize("issuer", [None, "", 5, ["https://idp.example.com"], {}])
def test_an_issuer_that_is_no_text_is_refused(issuer: Any) -> None:
    assert "`iss`" in refusal(token(claims(iss=issuer)))


@given(st.text() | st.text("ey.AZaz09-_=", max_size=80))
def test_junk_raises_only_an_identity_error(text: str) -> None:
    with contextlib.suppress(IdentityError):
        assert parse_token(text).issuer


def test_unverified_values_are_shown_on_one_bounded_line() -> None:
    assert show("a\n\x1b[31m\u202eb") == r"'a\n\x1b[31m\u202eb'"
    assert len(show("x" * 500)) == 80
    assert show({"secret": 1}) == "a dict"
