"""A compact JWS taken apart, before anything in it is believed (RFC 7515 §7.1, RFC 8725).

Pure: no key, no clock, no network. A token that could be read in two ways is refused here.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.strict_json import JsonError, parse_object

MAX_TOKEN = 16 * 1024
"""Longest token in characters. A Kubernetes or CI token has 1 to 3 KiB."""

TYPES = frozenset({"jwt", "at+jwt"})
"""Accepted `typ` values, lower case, without `application/`; absent is accepted too (RFC 9068 §2.1)."""

REFUSED_HEADERS = {
    "crit": "it asks for extensions that the gateway does not know",
    "enc": "encrypted tokens (JWE) are not accepted",
    "zip": "compressed tokens are not accepted",
    "b64": "unencoded payloads are not accepted",
    "jwk": "a token may not bring its own key",
    "jku": "a token may not say where its key is",
    "x5u": "a token may not say where its key is",
    "cty": "nested tokens are not accepted",
}
"""Header members that change what is verified, or with what. `x5c` and `x5t` are hints and are ignored."""


class Token(msgspec.Struct, frozen=True):
    """What an unverified token says of itself. `signing_input` is header and payload as they were signed."""

    algorithm: str
    kid: str | None
    issuer: str
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def parse_token(text: str) -> Token:
    """Take `text` apart. Raises IdentityError; its detail never holds the token."""
    if not text:
        raise IdentityError("no token was given")
    if len(text) > MAX_TOKEN:
        raise IdentityError(f"the token has {len(text)} characters; at most {MAX_TOKEN} are read")
    if not text.isascii():
        raise IdentityError("the token holds characters that no JWT has")
    parts = text.split(".")
    if len(parts) == 5:  # RFC 7516 §7.1
        raise IdentityError("the token is encrypted (JWE); only signed tokens are accepted")
    if len(parts) != 3:  # RFC 7515 §7.1
        raise IdentityError("the token is no JWT: it does not have three parts (an opaque access token?)")
    header = _object(parts[0], "header")
    claims = _object(parts[1], "payload")
    signature = _base64url(parts[2], "signature")
    algorithm, kid = _check_header(header)
    if not signature:
        raise IdentityError("the token has no signature")
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise IdentityError("the token has no `iss` claim")
    return Token(algorithm, kid, issuer, claims, f"{parts[0]}.{parts[1]}".encode(), signature)


def _check_header(header: dict[str, Any]) -> tuple[str, str | None]:
    for name, why in REFUSED_HEADERS.items():
        if name in header:
            raise IdentityError(f"the token's header has `{name}`: {why}")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise IdentityError("the token's header names no algorithm (`alg`)")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in TYPES:
        raise IdentityError(f"the token's `typ` is {show(kind)}; accepted are JWT and at+jwt")
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or not kid):
        raise IdentityError("the token's `kid` is not a string")
    return algorithm, kid


def _object(part: str, name: str) -> dict[str, Any]:
    try:
        return parse_object(_base64url(part, name))
    except JsonError as error:
        raise IdentityError(f"the token's {name} {error}") from error


def _base64url(part: str, name: str) -> bytes:
    """Strict: the one unpadded spelling only, so that one signed text has one token."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise IdentityError(f"the token's {name} is not base64url") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode():
        raise IdentityError(f"the token's {name} is not base64url in its one right form")
    return data


def show(value: object, limit: int = 80) -> str:
    """An unverified value for the operator's log: one line, printable, bounded, ASCII quotes and escapes."""
    text = ascii(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
