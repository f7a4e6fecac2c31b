"""A JSON Web Key Set → public keys, and a signature checked with the key that fits (RFC 7517, RFC 7518). Pure.

The token names an algorithm; the issuer's allow-list and the key's own type decide whether it may.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwa import JWS_ALGORITHMS, JWSAlgModel
from joserfc.jwk import JWKRegistry, Key

from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.strict_json import JsonError, parse_object
from onrecord.policies.identity.tokens import Token, show

MAX_KEYS = 256
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384

KEY_OF_ALGORITHM: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""Every algorithm that may stand in an issuer's `algorithms`, and the key type and curve that it needs.

No `none`, no HMAC: neither has an entry, so no configuration can allow them.
"""

_MODELS: Mapping[str, JWSAlgModel] = {model.name: model for model in JWS_ALGORITHMS if model.name in KEY_OF_ALGORITHM}
_MEMBERS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One verification key: its type and curve, the algorithm it is bound to ("" = any that fits), the key."""

    kid: str | None
    shape: tuple[str, str]
    algorithm: str
    key: Key


class KeySetError(ValueError):
    """The document is no key set, or holds no key that can verify a signature."""


def parse_jwks(document: bytes) -> tuple[PublicKey, ...]:
    """The usable keys of a JWKS document. Symmetric, private, weak, encryption and unknown keys are left out."""
    try:
        entries = parse_object(document).get("keys")
    except JsonError as error:
        raise KeySetError(f"the key set {error}") from error
    if not isinstance(entries, list):
        raise KeySetError("the key set has no `keys` list")
    if len(entries) > MAX_KEYS:
        raise KeySetError(f"the key set has {len(entries)} keys; at most {MAX_KEYS} are read")
    keys = tuple(key for entry in entries if isinstance(entry, dict) and (key := _public_key(entry)) is not None)
    if not keys:
        raise KeySetError("the key set has no key that can verify a signature (RSA, EC or Ed25519)")
    return keys


def verify(token: Token, keys: tuple[PublicKey, ...], algorithms: tuple[str, ...]) -> bool:
    """Whether a key of the set verifies `token`. False: no key has its `kid`. Raises IdentityError otherwise."""
    check_algorithm(token, algorithms)
    named = [key for key in keys if key.kid == token.kid] if token.kid is not None else list(keys)
    if not named:
        return False
    fitting = [key for key in named if _fits(key, token.algorithm)]
    if not fitting:
        raise IdentityError(f"the issuer's key {show(token.kid)} is not for {token.algorithm}")
    if token.kid is None and len(fitting) > 1:
        raise IdentityError("the token names no key (`kid`), and the issuer has several")
    if not any(_signature_holds(token, key) for key in fitting):
        raise IdentityError(f"the token's signature does not fit the issuer's key {show(token.kid)}")
    return True


def check_algorithm(token: Token, algorithms: tuple[str, ...]) -> None:
    """Refuse an algorithm off the list: the issuer's, and those that this module can check at all."""
    if token.algorithm not in KEY_OF_ALGORITHM or token.algorithm not in algorithms:
        raise IdentityError(
            f"the token is signed with {show(token.algorithm)}; its issuer may use {', '.join(algorithms)}"
        )


def _fits(key: PublicKey, algorithm: str) -> bool:
    if key.shape != KEY_OF_ALGORITHM[algorithm]:
        return False
    same = {"EdDSA", "Ed25519"}  # RFC 9864 renamed it
    return key.algorithm in ("", algorithm) or {key.algorithm, algorithm} <= same


def _signature_holds(token: Token, key: PublicKey) -> bool:
    try:
        return _MODELS[token.algorithm].verify(token.signing_input, token.signature, key.key)
    except (JoseError, ValueError, TypeError, OverflowError):
        return False


def _public_key(entry: dict[str, Any]) -> PublicKey | None:
    kty, kid, algorithm, operations = (entry.get(name) for name in ("kty", "kid", "alg", "key_ops"))
    members = _MEMBERS.get(kty) if isinstance(kty, str) else None
    if members is None or "d" in entry or entry.get("use", "sig") != "sig":
        return None
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    if algorithm is not None and (not isinstance(algorithm, str) or algorithm not in KEY_OF_ALGORITHM):
        return None
    if kid is not None and not isinstance(kid, str):
        return None
    plain = {"kty": kty, **{name: entry.get(name) for name in members}}
    if not all(isinstance(value, str) and value for value in plain.values()):
        return None
    shape = (str(kty), str(plain.get("crv", "")))
    if shape not in KEY_OF_ALGORITHM.values() or (kty == "RSA" and not _strong(plain["n"])):
        return None
    try:
        key = JWKRegistry.import_key(plain)  # type: ignore[arg-type]  # all values were checked to be strings
        key.get_op_key("verify")  # a point off its curve fails here, not at the first token
    except (JoseError, ValueError, TypeError, OverflowError):
        return None
    return PublicKey(kid, shape, algorithm or "", key)


def _strong(modulus: object) -> bool:
    try:
        data = base64.urlsafe_b64decode(f"{modulus}==")
    except (binascii.Error, ValueError):
        return False
    return MIN_RSA_BITS <= int.from_bytes(data).bit_length() <= MAX_RSA_BITS
