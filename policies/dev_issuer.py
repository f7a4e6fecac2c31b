"""The built-in issuer "onrecord:dev": signs tokens for the demo and for tests with a key under `state`.

Whoever can read `state/dev-issuer/` can be anyone. The configuration accepts this issuer on loopback listeners only.
The private key is `key.json` (0600 in a 0700 folder), its public half `jwks.json`; both are created on first use.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import time
import uuid
from pathlib import Path
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from onrecord.policies.config.issuers import DEV_ISSUER
from onrecord.policies.errors import IdentityError

__all__ = ["DEV_ISSUER", "mint"]

ALGORITHM = "ES256"


def mint(
    state: Path,
    *,
    subject: str,
    groups: tuple[str, ...] | list[str],
    audience: str,
    human: bool = False,
    on_behalf_of: str | None = None,
    ttl: float = 3600.0,
    run: str | None = None,
    groups_claim: str = "groups",
    run_claim: str = "run_id",
) -> str:
    """A token of the dev issuer for `subject`, valid for `ttl` seconds.

    With `on_behalf_of` it is a delegated one (RFC 8693): `sub` is the human, `act` the agent with its groups.
    Raises IdentityError where the key cannot be made or must not be trusted, or the wishes contradict each other.
    """
    if human and on_behalf_of is not None:
        raise _refused("a human does not act on behalf of another; leave out one of the two")
    if not ttl >= 1:
        raise _refused(f"a lifetime of {ttl:g} s is too short; give at least 1 s")
    key = _private_key(state / "dev-issuer")
    now = int(time.time())
    claims: dict[str, Any] = {"iss": DEV_ISSUER, "aud": audience, "iat": now, "exp": now + int(ttl)}
    claims["jti"] = uuid.uuid4().hex
    if on_behalf_of is None:
        claims |= {"sub": subject, groups_claim: list(groups)}
    else:
        claims |= {"sub": on_behalf_of, "act": {"sub": subject, groups_claim: list(groups)}}
    if human:
        claims |= {"human": True, "auth_time": now}
    if run is not None:
        claims[run_claim] = run
    header = {"alg": ALGORITHM, "typ": "JWT", "kid": key.kid}
    return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=[ALGORITHM])


def _private_key(folder: Path) -> ECKey:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        raise _refused(f"{folder}: others can enter this folder, so its key is not used (chmod 700 {folder})")
    path = folder / "key.json"
    if not path.exists():
        key = ECKey.generate_key("P-256", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)
        _create(path, json.dumps(key.as_dict(private=True)).encode())
    key = _read_key(path)
    _publish(folder / "jwks.json", json.dumps({"keys": [key.as_dict(private=False)]}, indent=1).encode())
    return key


def _read_key(path: Path) -> ECKey:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(f"{path}: cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_mode & 0o077 or status.st_uid != os.geteuid():
            raise _refused(f"{path}: not a file that only this user can read (chmod 600 {path})")
        try:
            return ECKey.import_key(json.loads(file.read()))
        except (JoseError, ValueError, TypeError) as error:
            raise _refused(f"{path}: no EC key; remove the file to get a new one") from error


def _create(path: Path, content: bytes) -> None:
    """Write `path` whole or not at all. Of several processes that try, one wins and the others use its file."""
    temporary = _write_aside(path, content, 0o600)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _publish(path: Path, content: bytes) -> None:
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    _write_aside(path, content, 0o644).replace(path)


def _write_aside(path: Path, content: bytes, mode: int) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return temporary


def _refused(text: str) -> IdentityError:
    return IdentityError(text, public=text)
