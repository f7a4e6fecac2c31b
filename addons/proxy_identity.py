"""Who is on a connection: the token in Proxy-Authorization, checked once and tied to the connection.

Basic carries it as the password (the user name is only recorded, split at the first colon), Bearer as it is. A CONNECT
carries it once for the tunnel, plain HTTP with each request. Every refusal is on record; the client reads a generic
reason.
"""

from __future__ import annotations

import base64
import binascii
import logging

from onrecord.addons.peers import Peer, Peers
from onrecord.policies.errors import DecodeError, IdentityError
from onrecord.policies.identity import Authenticator
from onrecord.policies.model import Identity
from onrecord.recordings.auditor import Auditor
from onrecord.recordings.records import RefusalRecord
from onrecord.recordings.refusals import Refusals

log = logging.getLogger(__name__)

POLICY = "onrecord:identity"
MAX_TOKEN = 128 * 1024


class CredentialError(DecodeError):
    """Proxy-Authorization that is missing or cannot be read."""


class NotAuthenticatedError(Exception):
    """Nobody is known to be on this connection. `status` is 407, or 403 for a second identity."""

    def __init__(self, status: int, reason: str, record: str, hint: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.record, self.hint = status, reason, record, hint


def read_credentials(value: bytes | None) -> tuple[str, str]:
    """Login name and token of a Proxy-Authorization value. Raises CredentialError, without the value in its text."""
    if not value:
        raise CredentialError("no Proxy-Authorization")
    if len(value) > MAX_TOKEN:
        raise CredentialError(f"a Proxy-Authorization of {len(value)} bytes")
    scheme, _, rest = value.strip().partition(b" ")
    kind, rest = scheme.lower(), rest.strip()
    if kind == b"bearer" and rest:
        try:
            return "", rest.decode("ascii")
        except UnicodeDecodeError:
            raise CredentialError("a Bearer token that is not ASCII") from None
    if kind != b"basic":
        raise CredentialError("a Proxy-Authorization that is neither Basic nor Bearer")
    try:
        login, colon, token = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise CredentialError("Basic credentials that are not base64 of UTF-8") from None
    if not colon or not token:
        raise CredentialError(
            "Basic credentials without a password",
        )
    return login[:256], token


class ProxyIdentity:
    """Turns Proxy-Authorization into the identity of a peer."""

    def __init__(self, peers: Peers, authenticator: Authenticator, auditor: Auditor, refusals: Refusals) -> None:
        self._peers, self._authenticator, self._auditor = peers, authenticator, auditor
        self._refusals = refusals

    async def identify(self, peer: Peer, value: bytes | None, text: str) -> Identity:
        """The identity behind a Proxy-Authorization value. Raises NotAuthenticatedError, recorded."""
        try:
            login, token = read_credentials(value)
        except CredentialError as error:
            raise self._refused(peer, text, str(error), "send the token as the proxy password") from None
        if peer.identity is not None and peer.is_same_token(token):
            known = self._authenticator.cached(token, client=peer.address, cert_sha256=peer.certificate)
            if known is not None:
                return peer.identity
        try:
            identity = self._authenticator.cached(token, client=peer.address, cert_sha256=peer.certificate)
            if identity is None:
                identity = await self._authenticator.authenticate(
                    token, client=peer.address, cert_sha256=peer.certificate
                )
        except IdentityError as error:
            raise self._refused(peer, text, error.detail, str(error)) from None
        if peer.identity is not None and _principal(peer.identity) != _principal(identity):
            record = self._record(peer, text, "a second identity on one connection", identity)
            raise NotAuthenticatedError(403, "this connection belongs to another identity", record, "open a new one")
        if self._peers.get(peer.id) is not peer:
            raise NotAuthenticatedError(407, "the connection is gone", "")
        if peer.identity is not None and peer.is_same_token(token) and peer.identity == identity:
            return peer.identity  # another request of this connection was faster
        self._peers.identify(peer, identity, token, login, self._auditor)
        return identity

    def check_inside(self, peer: Peer, value: bytes, text: str) -> None:
        """Credentials inside a tunnel must be the tunnel's own. Raises NotAuthenticatedError, recorded."""
        try:
            _, token = read_credentials(value)
        except CredentialError as error:
            raise self._refused(peer, text, f"inside the tunnel: {error}", "", status=403) from None
        if not peer.is_same_token(token):
            record = self._record(peer, text, "another token inside the tunnel", peer.identity)
            raise NotAuthenticatedError(403, "this connection belongs to another identity", record, "open a new one")

    def _refused(self, peer: Peer, text: str, detail: str, hint: str, *, status: int = 407) -> NotAuthenticatedError:
        record = self._record(peer, text, detail, None)
        public = "no token was sent" if detail == "no Proxy-Authorization" else "the token was not accepted"
        return NotAuthenticatedError(status, public, record, hint if public == "no token was sent" else "")

    def _record(self, peer: Peer, text: str, detail: str, identity: Identity | None) -> str:
        log.warning("%s: not let in: %s", peer.client, detail[:200])
        if peer.identity is None:
            self._peers.expect_head(peer)  # who is nobody yet may try again soon, but not stay
        return self._refusals.record(
            peer.address,
            RefusalRecord(
                what=POLICY,
                reason="the token was not accepted",
                protocol="http",
                client=peer.client,
                text=text[:1000],
                detail=detail[:1000],
                identity=identity,
            ),
        )


def _principal(identity: Identity) -> tuple[object, ...]:
    return (identity.issuer, identity.subject, identity.on_behalf_of, identity.kind, identity.agent, identity.run)
