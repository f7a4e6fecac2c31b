"""Claims of a token whose signature holds → Identity. Pure; the clock is given.

Sources: RFC 7519 §4.1, RFC 8693 §4.1 (`act`), RFC 8705 §3.1 (`cnf`), RFC 8725 §3, RFC 9068 §4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from onrecord.policies.config import IssuerConfig
from onrecord.policies.config.issuers import DEV_ISSUER
from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.bindings import decode_thumbprint
from onrecord.policies.identity.tokens import show
from onrecord.policies.model import Identity

MAX_TIME = 253_402_300_799
"""Last second of the year 9999: a later time is a mistake (milliseconds?) or an attack."""

MAX_ACTORS = 16
"""Longest chain of delegation (`act` in `act`) that is followed."""

MAX_NAME = 1024
"""Longest subject, group or other name in characters."""

NEVER_ACCESS = {"Refresh": "a refresh token", "Offline": "an offline token", "Logout": "a logout token"}
"""Keycloak's `typ` claim of tokens that are no access tokens."""


class Checked(msgspec.Struct, frozen=True):
    """An identity and what must hold again at each use: `certificate` is the SHA-256 the token is bound to.

    `auth_time` (Unix seconds; 0: not said), `acr` and `names` (other names of the same person) are of its login.
    """

    identity: Identity
    certificate: bytes | None
    auth_time: float = 0.0
    acr: str = ""
    names: tuple[str, ...] = ()


def check_claims(claims: dict[str, Any], config: IssuerConfig, *, now: float, signing_input: bytes) -> Checked:
    """Check every claim of a verified token against its issuer's configuration.

    `now` is Unix time in seconds. Raises IdentityError; its detail names the claim and what was read.
    """
    if claims.get("iss") != config.issuer:
        raise IdentityError(f"`iss` is {show(claims.get('iss'))}, not {config.issuer!r}")
    _check_audience(claims, config)
    expires = _check_times(claims, config, now)
    _check_purpose(claims)
    for claim, patterns in config.require.items():
        _check_required(claims, claim, patterns)
    certificate = _certificate(claims, config)
    subject = _name(claims.get("sub"), "sub")
    actor = _actor(claims, config)
    says_human = claims.get("human") is True if config.issuer == DEV_ISSUER else config.kind == "human"
    human = says_human and actor is None
    names = tuple(_other_names(claims))
    identity = Identity(
        issuer=config.issuer,
        subject=subject if actor is None else _name(actor.get("sub"), "act.sub"),
        groups=_groups(claims if actor is None else actor, config.groups_claim),
        kind="human" if human else "agent",
        on_behalf_of=None if actor is None else subject,
        agent=_agent(claims, config, actor, human=human),
        token_id=_token_id(claims, signing_input),
        expires_at=float(expires),
        run=_run(claims, config.run_claim),
        names=names,
        actors=() if actor is None else tuple(dict.fromkeys(_chain(actor))),
    )
    auth_time = _time(claims, "auth_time")
    level = claims.get("acr")
    return Checked(
        identity,
        certificate,
        auth_time=float(auth_time or 0),
        acr=level if isinstance(level, str) and len(level) <= MAX_NAME and level.isprintable() else "",
        names=names,
    )


def lookup(claims: object, path: str) -> Any:
    """The claim at `path`, or None: the literal name first, then each dot as a step into an object.

    >>> lookup({"https://x.example/groups": ["a"]}, "https://x.example/groups")
    ['a']
    >>> lookup({"realm_access": {"roles": ["a"]}}, "realm_access.roles")
    ['a']
    """
    if not isinstance(claims, dict):
        return None
    if path in claims:
        return claims[path]
    at = path.find(".")
    while at != -1:
        if path[:at] in claims:
            found = lookup(claims[path[:at]], path[at + 1 :])
            if found is not None:
                return found
        at = path.find(".", at + 1)
    return None


def _check_audience(claims: dict[str, Any], config: IssuerConfig) -> None:
    audience = claims.get("aud")
    if isinstance(audience, str):
        audience = [audience]
    if not isinstance(audience, list) or not audience or not all(isinstance(entry, str) for entry in audience):
        raise IdentityError("the token has no usable `aud` claim")
    if not set(audience) & set(config.audience):
        wanted = ", ".join(repr(entry) for entry in config.audience)
        raise IdentityError(f"`aud` is {show(', '.join(audience))}; this gateway is {wanted}")


def _check_times(claims: dict[str, Any], config: IssuerConfig, now: float) -> int:
    expires = _time(claims, "exp")
    issued = _time(claims, "iat")
    if expires is None:
        raise IdentityError("the token has no `exp` claim: it would never expire")
    if now >= expires + config.leeway:
        raise IdentityError(f"the token expired {now - expires:.0f} s ago (leeway {config.leeway:g} s)")
    if issued is None:
        raise IdentityError("the token has no `iat` claim, so its lifetime cannot be checked against max_ttl")
    if issued > now + config.leeway:
        raise IdentityError(
            f"`iat` is {issued - now:.0f} s in the future (leeway {config.leeway:g} s): check the clocks"
        )
    not_before = _time(claims, "nbf")
    if not_before is not None and not_before > now + config.leeway:
        raise IdentityError(f"the token is not valid for another {not_before - now:.0f} s (`nbf`)")
    if expires <= issued:
        raise IdentityError("`exp` is not after `iat`")
    if expires - issued > config.max_ttl:  # and as `iat` is not in the future, `exp` is not further off than that
        raise IdentityError(f"the token lives {expires - issued} s; max_ttl is {config.max_ttl:g} s")
    return expires


def _time(claims: dict[str, Any], name: str) -> int | None:
    if name not in claims:
        return None
    value = claims[name]
    if type(value) is not int or not 0 <= value <= MAX_TIME:
        raise IdentityError(f"`{name}` is {show(value)}, not whole seconds since 1970")
    return value


def _check_purpose(claims: dict[str, Any]) -> None:
    """Refuse what an issuer signs for another purpose than access."""
    if "events" in claims:
        raise IdentityError("the token is a security event or logout token (`events`)")
    purpose = claims.get("typ")
    if isinstance(purpose, str) and purpose in NEVER_ACCESS:
        raise IdentityError(f"the token is {NEVER_ACCESS[purpose]}, not an access token")


def _check_required(claims: dict[str, Any], claim: str, patterns: tuple[str, ...]) -> None:
    value = lookup(claims, claim)
    values = [text for entry in (value if isinstance(value, list) else [value]) if (text := _text(entry)) is not None]
    if not any(fnmatchcase(text, pattern) for text in values for pattern in patterns):
        wanted = " or ".join(repr(pattern) for pattern in patterns)
        read = "missing" if value is None else show(", ".join(values) if isinstance(value, list) else value)
        raise IdentityError(f"`{claim}` is {read}; the issuer's `require` asks for {wanted}")


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None


def _certificate(claims: dict[str, Any], config: IssuerConfig) -> bytes | None:
    """The certificate a token is bound to. A bound token is checked even where the issuer does not ask for it."""
    confirmation = claims.get("cnf")
    if confirmation is None:
        if config.bind == "mtls":
            raise IdentityError('the token is not bound to a certificate (`cnf`), and its issuer has bind = "mtls"')
        return None
    if not isinstance(confirmation, dict) or set(confirmation) != {"x5t#S256"}:
        raise IdentityError("the token is bound (`cnf`) in a way that the gateway cannot check; only x5t#S256 is")
    thumbprint = confirmation["x5t#S256"]
    wanted = decode_thumbprint(thumbprint) if isinstance(thumbprint, str) else None
    if wanted is None:
        raise IdentityError("`cnf.x5t#S256` is no SHA-256 thumbprint")
    return wanted


def _actor(claims: dict[str, Any], config: IssuerConfig) -> dict[str, Any] | None:
    if "act" not in claims:
        return None
    actor = claims["act"]
    if not isinstance(actor, dict):
        raise IdentityError("`act` is not an object")
    if actor.get("iss", config.issuer) != config.issuer:
        raise IdentityError("`act.iss` is another issuer: its subjects are not this issuer's")
    return actor


def _chain(actor: dict[str, Any]) -> Iterator[str]:
    """Who else acted: other names of the actor, and all names of those before it. None of them may decide for it."""
    yield from _other_names(actor)
    for _ in range(MAX_ACTORS):
        if "act" not in actor:
            return
        actor = actor["act"]
        if not isinstance(actor, dict):
            raise IdentityError("`act.act` is not an object")
        yield _name(actor.get("sub"), "act.act.sub")
        yield from _other_names(actor)
    raise IdentityError(f"`act` is nested more than {MAX_ACTORS} deep")


def _groups(holder: dict[str, Any], path: str) -> tuple[str, ...]:
    value = lookup(holder, path) if path else None
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise IdentityError(f"`{path}` (groups_claim) is neither a string nor a list of strings")
    return tuple(dict.fromkeys(_name(entry, path) for entry in value))


def _agent(claims: dict[str, Any], config: IssuerConfig, actor: dict[str, Any] | None, *, human: bool) -> str | None:
    if config.agent_claim:
        value = lookup(claims, config.agent_claim)
        if value is not None:
            return _name(value, config.agent_claim)
    if human:
        return None
    if actor is not None:
        return _name(actor.get("sub"), "act.sub")
    for claim in ("client_id", "azp"):
        if claims.get(claim) is not None:
            return _name(claims[claim], claim)
    return None


def _run(claims: dict[str, Any], path: str) -> str | None:
    value = lookup(claims, path) if path else None
    if value is None:
        return None
    return _name(str(value) if type(value) is int else value, path)


def _other_names(claims: dict[str, Any]) -> Iterator[str]:
    """What else a person is called: one who asks under one name may not decide under another."""
    for claim in ("email", "preferred_username", "upn", "unique_name"):
        value = claims.get(claim)
        if isinstance(value, str) and value and len(value) <= MAX_NAME and value.isprintable():
            yield value


def _token_id(claims: dict[str, Any], signing_input: bytes) -> str:
    if claims.get("jti") is not None:
        return _name(claims["jti"], "jti")
    return "sha256:" + hashlib.sha256(signing_input).hexdigest()


def _name(value: object, claim: str) -> str:
    """A name that people will read: printable (no control, bidi or surrogate character), no blank at its ends."""
    if not isinstance(value, str):
        raise IdentityError(f"`{claim}` is {'missing' if value is None else show(value)}, not a string")
    if not value or value != value.strip():
        raise IdentityError(f"`{claim}` is empty or has blanks at its ends")
    if len(value) > MAX_NAME:
        raise IdentityError(f"`{claim}` has {len(value)} characters; at most {MAX_NAME} are accepted")
    if not value.isprintable():
        raise IdentityError(f"`{claim}` holds control or invisible characters: {show(value)}")
    return value
