"""Keys and tokens for the tests, good and bad. Nothing here uses the code under test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from onrecord.policies.config import IssuerConfig

NOW = 1_800_000_000
ISSUER = "https://idp.example.com"


def issuer_config(**changes: Any) -> IssuerConfig:
    return IssuerConfig(**{"issuer": ISSUER, "audience": ("onrecord",), **changes})


def claims(*without: str, **changes: Any) -> dict[str, Any]:
    """The claims of a good agent token, changed; a name in `without` is left out."""
    good = {"iss": ISSUER, "sub": "devin", "aud": "onrecord", "iat": NOW - 10, "exp": NOW + 600, "groups": ["agents"]}
    return {name: value for name, value in {**good, **changes}.items() if name not in without}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@cache
def rsa_key(name: str = "rsa", bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str = "ec") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key(name: str = "ed") -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(key: Any, kid: str | None, **members: Any) -> dict[str, Any]:
    """The public JWK of a private key."""
    found: dict[str, Any] = {}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        found = {"kty": "RSA", "n": b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)), "e": "AQAB"}
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        point = key.public_key().public_numbers()
        found = {"kty": "EC", "crv": "P-256", "x": b64(point.x.to_bytes(32)), "y": b64(point.y.to_bytes(32))}
    else:
        raw = key.public_key().public_bytes_raw()
        found = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    return {**found, **({} if kid is None else {"kid": kid}), **members}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def token(payload: Any = None, key: Any = None, header: dict[str, Any] | None = None, **members: Any) -> str:
    """A signed token. `payload`: claims, or bytes as they are; `header` replaces the header, `members` add to it."""
    key = ec_key() if key is None else key
    head = {"alg": _algorithm(key), "typ": "JWT", "kid": "k1", **members} if header is None else header
    body = payload if isinstance(payload, bytes) else json.dumps(claims() if payload is None else payload).encode()
    signed = f"{b64(json.dumps(head).encode())}.{b64(body)}".encode()
    return f"{signed.decode()}.{b64(_signature(signed, key, head.get('alg')))}"


def _algorithm(key: Any) -> str:
    if isinstance(key, bytes):
        return "HS256"
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256" if hasattr(key, "curve") else "EdDSA"


def _signature(signed: bytes, key: Any, algorithm: object) -> bytes:
    if isinstance(key, bytes):
        return hmac.new(key, signed, hashlib.sha256).digest()
    if isinstance(key, rsa.RSAPrivateKey):
        if algorithm == "PS256":
            return key.sign(signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)
    return bytes(key.sign(signed))
