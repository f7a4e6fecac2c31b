"""The gateway's SSH authorities: certificates for agents towards the gateway, and for the gateway towards hosts.

They are two keys, and neither opens what the other is for: a host that trusts the second one (TrustedUserCAKeys) does
not take an agent's certificate, so an agent cannot go around the gateway with it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import asyncssh
import msgspec
from asyncssh.public_key import CERT_TYPE_USER, SSHOpenSSHCertificate, decode_ssh_certificate, decode_ssh_public_key

from onrecord.policies.config import IssuerConfig, SshKeyConfig
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.bindings import client_allowed, parse_networks
from onrecord.policies.model import Identity
from onrecord.shims.ssh.hostkeys import gateway_key

AGENTS_CA = "agents_ca"
HOSTS_CA = "hosts_ca"
PRINCIPAL = "onrecord"  # of agents' certificates: no user of a host is called so
KEY_ISSUER = "onrecord:ssh-key"
LIFETIME = 10 * 60  # seconds
MAX_LIFETIME = 60 * 60
SESSION_LIFETIME = 5 * 60  # of a certificate towards a host: it is used once, at login
HOST_LIFETIME = 365 * 86400
SKEW = 60
_MAX_KEY_ID = 8 * 1024


class _Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An agent's certificate's key id: who, and which run. JSON, so that a person can read it in a log."""

    sub: str
    iss: str
    run: str
    groups: tuple[str, ...] = ()
    kind: str = "agent"
    obo: str | None = None
    agent: str | None = None
    jti: str = ""
    names: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    exp: float = 0.0  # when sessions must end, where that is not when the certificate does


def agent_certificate(
    state: Path,
    key: asyncssh.SSHKey,
    identity: Identity,
    run: str,
    *,
    lifetime: float = LIFETIME,
    outlived: bool = False,
) -> asyncssh.SSHCertificate:
    """A certificate for `key` that logs `identity` in at the gateway, for `lifetime` seconds, within its token's.

    `outlived`: a session that it began may last as long as the token, as if that had been shown itself.
    """
    now = int(time.time())
    until = now + int(min(lifetime, MAX_LIFETIME))
    if identity.expires_at:
        until = min(until, int(identity.expires_at))
    named = _Named(
        sub=identity.subject,
        iss=identity.issuer,
        run=run,
        groups=identity.groups,
        kind=identity.kind,
        obo=identity.on_behalf_of,
        agent=identity.agent,
        jti=identity.token_id,
        names=identity.names,
        actors=identity.actors,
        exp=float(identity.expires_at or 0.0) if outlived else 0.0,
    )
    return gateway_key(state, AGENTS_CA).generate_user_certificate(
        key,
        msgspec.json.encode(named).decode(),
        serial=secrets.randbits(63),
        principals=[PRINCIPAL],
        valid_after=now - SKEW,
        valid_before=until,
        permit_x11_forwarding=False,
        permit_agent_forwarding=False,
        permit_user_rc=False,
    )


def session_certificate(
    state: Path, key: asyncssh.SSHKey, identity: Identity, *, user: str, session: str
) -> asyncssh.SSHCertificate:
    """A certificate for one session's login as `user` of a host, with the agent's identity in its key id."""
    now = int(time.time())
    whose = {"onrecord": session, "sub": identity.subject, "iss": identity.issuer, "obo": identity.on_behalf_of}
    return gateway_key(state, HOSTS_CA).generate_user_certificate(
        key,
        msgspec.json.encode(whose).decode(),
        serial=secrets.randbits(63),
        principals=[user],
        valid_after=now - SKEW,
        valid_before=now + SESSION_LIFETIME,
        permit_x11_forwarding=False,
        permit_agent_forwarding=False,
        permit_user_rc=False,
    )


def host_certificate(state: Path, key: asyncssh.SSHKey, names: Sequence[str]) -> asyncssh.SSHCertificate:
    """A certificate for the gateway's host key: who trusts the agents' authority need not know the key itself."""
    now = int(time.time())
    return gateway_key(state, AGENTS_CA).generate_host_certificate(
        key, "onrecord gateway", principals=list(names), valid_after=now - SKEW, valid_before=now + HOST_LIFETIME
    )


class KeyIdentities:
    """Which keys and certificates stand for whom: `[[ssh_keys]]`, and what the agents' authority signed."""

    def __init__(self, state: Path, keys: Sequence[SshKeyConfig], issuers: Sequence[IssuerConfig]) -> None:
        self._authority = gateway_key(state, AGENTS_CA).public_data
        self._networks = {issuer.issuer: parse_networks(issuer.clients) for issuer in issuers}
        self._keys = {asyncssh.import_public_key(key.key).public_data: key for key in keys}

    def identify(self, key_data: bytes, client: str) -> tuple[asyncssh.SSHKey, Identity] | None:
        """The key whose signature proves the identity, or None where the data stand for nobody.

        Raises IdentityError where they do in principle, and may not now: expired, from the wrong network.
        """
        try:
            certificate = decode_ssh_certificate(key_data)
        except asyncssh.KeyImportError:
            return self._of_key(key_data, client)
        if not isinstance(certificate, SSHOpenSSHCertificate):
            return None
        if certificate.signing_key.public_data != self._authority:
            return None
        return certificate.key, self._of_certificate(certificate, client)

    def _of_key(self, key_data: bytes, client: str) -> tuple[asyncssh.SSHKey, Identity] | None:
        found = self._keys.get(key_data)
        if found is None:
            return None
        key = decode_ssh_public_key(key_data)
        if found.clients and not client_allowed(client, parse_networks(found.clients)):
            raise IdentityError(f"the key of {found.subject!r} may not be used from {client}")
        identity = Identity(
            issuer=KEY_ISSUER,
            subject=found.subject,
            groups=found.groups,
            on_behalf_of=found.on_behalf_of,
            token_id=key.get_fingerprint(),
        )
        return key, identity

    def _of_certificate(self, certificate: SSHOpenSSHCertificate, client: str) -> Identity:
        try:
            certificate.validate(CERT_TYPE_USER, PRINCIPAL)
        except ValueError as error:
            raise IdentityError(f"the certificate: {error}") from None
        if PRINCIPAL not in certificate.principals:  # validate takes one without any
            raise IdentityError("the certificate names no principal")
        try:
            key_id = certificate._key_id  # noqa: SLF001  # it has no public name
            if len(key_id) > _MAX_KEY_ID:
                raise ValueError("too long")
            named = msgspec.json.decode(key_id, type=_Named)
        except (ValueError, msgspec.MsgspecError):
            raise IdentityError("the certificate's key id names no identity") from None
        if named.iss not in self._networks:
            raise IdentityError(f"the certificate comes from issuer {named.iss!r}, which is not configured")
        networks = self._networks[named.iss]
        if networks and not client_allowed(client, networks):
            raise IdentityError(f"the certificate may not be used from {client}")
        return Identity(
            issuer=named.iss,
            subject=named.sub,
            groups=named.groups,
            kind="human" if named.kind == "human" else "agent",
            on_behalf_of=named.obo,
            agent=named.agent,
            token_id=named.jti,
            expires_at=named.exp or float(certificate._valid_before),  # noqa: SLF001
            run=named.run,
            names=named.names,
            actors=named.actors,
        )
