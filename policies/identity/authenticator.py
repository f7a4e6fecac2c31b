"""Token → Identity: picks the issuer, gets its key, checks signature and claims, remembers what it accepted."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from onrecord.policies.approvals import Approver
from onrecord.policies.config import IssuerConfig
from onrecord.policies.config.issuers import DEV_ISSUER
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.bindings import Network, client_allowed, parse_networks, same_certificate
from onrecord.policies.identity.claims import Checked, check_claims
from onrecord.policies.identity.jwks import check_algorithm, verify
from onrecord.policies.identity.keys import FileKeys, KeySource, RemoteKeys
from onrecord.policies.identity.tokens import Token, parse_token, show
from onrecord.policies.model import Identity

CACHE_SIZE = 4096
"""Accepted tokens that are remembered, by their SHA-256."""

DEV_KEYS = Path("dev-issuer") / "jwks.json"
"""Where, under `state`, the dev issuer's public keys are."""


class _Issuer(msgspec.Struct, frozen=True):
    config: IssuerConfig
    networks: tuple[Network, ...]
    keys: KeySource


class _Accepted(msgspec.Struct, frozen=True):
    """A token that was accepted. `until` is Unix time with the leeway in it, `verify_at` monotonic seconds."""

    checked: Checked
    issuer: _Issuer
    until: float
    verify_at: float


class Authenticator:
    """Checks tokens of the configured issuers.

    One object a process; use it from one event loop at a time. `clock` gives Unix time, `monotonic` seconds for ages.
    """

    def __init__(
        self,
        issuers: Sequence[IssuerConfig],
        state: Path,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._accepted: OrderedDict[bytes, _Accepted] = OrderedDict()
        self._issuers: dict[str, _Issuer] = {}
        for config in issuers:
            if config.issuer in self._issuers:
                raise ValueError(f"issuer {config.issuer!r} is configured twice")  # whose rules would hold?
            keys: KeySource
            if config.issuer == DEV_ISSUER:
                keys = FileKeys(state / DEV_KEYS, clock=monotonic)
            else:
                keys = RemoteKeys(config.issuer, config.ca, config.jwks_stale, clock=monotonic)
            self._issuers[config.issuer] = _Issuer(config, parse_networks(config.clients), keys)

    async def authenticate(self, token: str, *, client: str, cert_sha256: str | None = None) -> Identity:
        """The identity that `token` proves. Raises IdentityError: generic to the client, `.detail` for the operator.

        `client` is the peer's address, with or without its port; `cert_sha256` the SHA-256 of the client certificate
        that it proved to hold, in hexadecimal or base64url.
        """
        found = self.cached(token, client=client, cert_sha256=cert_sha256)
        if found is not None:
            return found
        parsed = parse_token(token)
        issuer = self._issuers.get(parsed.issuer)
        if issuer is None:
            known = ", ".join(map(repr, self._issuers)) or "none"
            raise IdentityError(f"issuer {show(parsed.issuer, 200)} is not configured; configured: {known}")
        return await self._check(token, parsed, issuer, client, cert_sha256)

    async def login(self, token: str, *, client: str, cert_sha256: str | None = None, via: str = "") -> Approver:
        """Who decides with this token, and when and how that person logged in. Raises IdentityError."""
        await self.authenticate(token, client=client, cert_sha256=cert_sha256)
        entry = self._accepted.get(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())
        if entry is None:
            raise IdentityError("the token was forgotten while it was checked", "try again")
        return approver_of(entry.checked, client=client, via=via)

    def cached(self, token: str, *, client: str, cert_sha256: str | None = None) -> Identity | None:
        """The identity of a token that was accepted before, if it would be now; never asks the network.

        Expiry, client network and certificate are checked again; None means: ask `authenticate`.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        entry = self._accepted.get(digest)
        if entry is None:
            return None
        if self._clock() >= entry.until or self._monotonic() >= entry.verify_at:
            self._accepted.pop(digest, None)
            return None
        if not _use_allowed(entry.checked, entry.issuer, client, cert_sha256):
            return None
        self._accepted.move_to_end(digest)
        return entry.checked.identity

    async def _check(self, text: str, token: Token, issuer: _Issuer, client: str, cert_sha256: str | None) -> Identity:
        config = issuer.config
        if not client_allowed(client, issuer.networks):
            raise IdentityError(
                f"client {show(client)} is in none of the networks ({', '.join(config.clients)}) of {config.issuer!r}"
            )
        check_algorithm(token, config.algorithms)
        if not verify(token, await issuer.keys.current(), config.algorithms):
            fresh = await issuer.keys.again()
            if fresh is None or not verify(token, fresh, config.algorithms):
                raise IdentityError(f"issuer {config.issuer!r} has no key {show(token.kid)}")
        now = self._clock()
        checked = check_claims(token.claims, config, now=now, signing_input=token.signing_input)
        if not _use_allowed(checked, issuer, client, cert_sha256):
            presented = "another was presented" if cert_sha256 else "none was presented"
            raise IdentityError(f"the token is bound to a client certificate (`cnf`); {presented}")
        self._remember(text, checked, issuer)
        return checked.identity

    def _remember(self, text: str, checked: Checked, issuer: _Issuer) -> None:
        until = checked.identity.expires_at + issuer.config.leeway
        entry = _Accepted(checked, issuer, until, issuer.keys.usable_until)
        self._accepted[hashlib.sha256(text.encode()).digest()] = entry
        while len(self._accepted) > CACHE_SIZE:
            self._accepted.popitem(last=False)


def run_id(identity: Identity) -> str:
    """The run that this identity's commands belong to: the signed claim, else one that all processes derive alike."""
    if identity.run is not None:
        return identity.run
    parts = [identity.issuer, identity.subject, identity.on_behalf_of, identity.token_id]
    return "run-" + hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def approver_of(checked: Checked, *, client: str, via: str) -> Approver:
    """The person behind checked claims, as a decision is recorded."""
    identity = checked.identity
    return Approver(
        issuer=identity.issuer,
        subject=identity.subject,
        groups=identity.groups,
        kind=identity.kind,
        on_behalf_of=identity.on_behalf_of,
        run=identity.run,
        names=checked.names,
        auth_time=checked.auth_time,
        acr=checked.acr,
        token_id=identity.token_id,
        client=client,
        via=via,
    )


def _use_allowed(checked: Checked, issuer: _Issuer, client: str, cert_sha256: str | None) -> bool:
    if issuer.networks and not client_allowed(client, issuer.networks):
        return False
    return checked.certificate is None or same_certificate(checked.certificate, cert_sha256)
