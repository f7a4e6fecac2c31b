"""Discovery and key sets over HTTPS, with bounds: the only network I/O of the identity part.

Synchronous on purpose: it runs in a thread, so it works under any event loop. No proxy variable is read (the gateway
must not go through itself), no redirect is followed, a body has a size and the whole exchange a deadline.
Sources: OpenID Connect Discovery 1.0 §4, RFC 8414 §3.
"""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import certifi
import httpx

from onrecord.policies.config.values import is_loopback
from onrecord.policies.identity.jwks import KeySetError, PublicKey, parse_jwks
from onrecord.policies.identity.strict_json import JsonError, parse_object

MAX_BODY = 512 * 1024
"""Bytes. The largest public key sets have about 30 KiB."""

DEADLINE = 8.0
"""Seconds for both documents together, from the first connection to the last byte."""


class FetchError(Exception):
    """The issuer could not be read; the text says which address and why, and holds no credential."""


def fetch_keys(issuer: str, ca: Path | None) -> tuple[PublicKey, ...]:
    """The issuer's current keys: its discovery document, then the key set that it names. Raises FetchError."""
    base = check_url(issuer, "issuer")
    if base.query or base.fragment:
        raise FetchError(f"issuer {issuer!r}: an issuer has no query and no fragment")
    limits, ends = httpx.Timeout(4.0), time.monotonic() + DEADLINE
    with httpx.Client(verify=_context(ca), trust_env=False, follow_redirects=False, timeout=limits) as client:
        discovery = _get(client, issuer.rstrip("/") + "/.well-known/openid-configuration", ends)
        address = _key_set_address(discovery, issuer)
        document = _get(client, address, ends)
    try:
        return parse_jwks(document)
    except KeySetError as error:
        raise FetchError(f"{address}: {error}") from error


def check_url(url: str, what: str, *, loopback: bool = True) -> SplitResult:
    """`url` taken apart, if it is https, or http to this machine where `loopback` allows it. Raises FetchError."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise FetchError(f"{what} {url!r}: not a URL") from error
    if parts.username is not None or parts.password is not None:
        raise FetchError(f"{what}: a URL with a user or password in it is not used")
    if not host or parts.scheme not in ("https", "http"):
        raise FetchError(f"{what} {url!r}: not an https:// URL")
    if parts.scheme == "http" and not (loopback and is_loopback(host)):
        raise FetchError(f"{what} {url!r}: plain http is accepted on loopback addresses only; use https://")
    return parts


def fetch_metadata(issuer: str, ca: Path | None) -> dict[str, Any]:
    """The issuer's discovery document, which names this issuer and no other. Raises FetchError."""
    check_url(issuer, "issuer")
    limits, ends = httpx.Timeout(4.0), time.monotonic() + DEADLINE
    with httpx.Client(verify=_context(ca), trust_env=False, follow_redirects=False, timeout=limits) as client:
        return _metadata(_get(client, issuer.rstrip("/") + "/.well-known/openid-configuration", ends), issuer)


def post_form(url: str, form: dict[str, str], headers: dict[str, str], ca: Path | None) -> tuple[int, bytes]:
    """Send a form to an issuer's endpoint; its status and body. Raises FetchError, whose text holds nothing sent."""
    limits, ends = httpx.Timeout(4.0), time.monotonic() + DEADLINE
    with httpx.Client(verify=_context(ca), trust_env=False, follow_redirects=False, timeout=limits) as client:
        return _exchange(client, "POST", url, ends, form=form, headers=headers)


def _key_set_address(discovery: bytes, issuer: str) -> str:
    address = _metadata(discovery, issuer).get("jwks_uri")
    if not isinstance(address, str):
        raise FetchError(f"issuer {issuer!r}: its discovery document has no jwks_uri")
    check_url(address, "jwks_uri", loopback=is_loopback(urlsplit(issuer).hostname or ""))
    return address


def _metadata(discovery: bytes, issuer: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = parse_object(discovery)
    except JsonError as error:
        raise FetchError(f"issuer {issuer!r}: the discovery document {error}") from error
    if document.get("issuer") != issuer:
        raise FetchError(
            f"issuer {issuer!r}: its discovery document says issuer {str(document.get('issuer'))[:200]!r}; "
            "write it in mitm.toml exactly as the document does"
        )
    return document


def _context(ca: Path | None) -> ssl.SSLContext:
    """Trust only `ca` where it is given, else the public roots."""
    try:
        return ssl.create_default_context(cafile=str(ca) if ca is not None else certifi.where())
    except (OSError, ssl.SSLError) as error:
        raise FetchError(f"ca {str(ca)!r}: no certificates could be read: {error}") from error


_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "onrecord"}


def _get(client: httpx.Client, url: str, ends: float) -> bytes:
    status, body = _exchange(client, "GET", url, ends)
    if status != httpx.codes.OK:
        raise FetchError(f"{url}: answered {status} (redirects are not followed)")
    return body


def _exchange(
    client: httpx.Client,
    method: str,
    url: str,
    ends: float,
    *,
    form: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    body = bytearray()
    try:
        with client.stream(method, url, data=form, headers=_HEADERS | (headers or {})) as response:
            if response.status_code != httpx.codes.OK and method == "GET":
                return response.status_code, b""
            if response.headers.get("content-encoding", "identity") != "identity":
                raise FetchError(f"{url}: answered with a content encoding that was not asked for")
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MAX_BODY:
                    raise FetchError(f"{url}: the document is larger than {MAX_BODY} bytes")
                if time.monotonic() > ends:
                    raise FetchError(f"{url}: no whole answer within {DEADLINE:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise FetchError(f"{url}: {type(error).__name__}: {error}") from error
    return response.status_code, bytes(body)
