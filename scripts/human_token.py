"""The token of the human at this terminal: --token, ONRECORD_TOKEN, or what `onrecord login` kept."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from onrecord.policies.errors import OnrecordError
from onrecord.scripts.agent import TOKEN_VARIABLE, read_token


def human_token(source: str | None, url: str) -> str:
    """The token to decide with, at the admin page `url`. Raises OnrecordError where there is none."""
    if source is not None or os.environ.get(TOKEN_VARIABLE):
        return read_token(source)
    kept = kept_token(url)
    if kept is None:
        raise OnrecordError(f"no login for {url}: run `onrecord login`, or give --token FILE or {TOKEN_VARIABLE}")
    return kept


def token_path(url: str) -> Path:
    """Where a login at the admin page `url` is kept, readable by this user only."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "onrecord" / f"login-{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"


def keep_token(url: str, token: str, expires_at: float) -> Path:
    """Keep a login until it expires."""
    path = token_path(url)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": url, "token": token, "expires_at": expires_at}, file)
    temporary.replace(path)
    return path


def kept_token(url: str) -> str | None:
    """The token of a login that has not expired."""
    path = token_path(url)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor) as file:
            status = os.fstat(descriptor)
            if status.st_mode & 0o077 or status.st_uid != os.geteuid():
                raise OnrecordError(f"{path}: others can read this login: remove it and log in again")
            found = json.load(file)
        if found["url"] == url and found["expires_at"] > time.time():
            return str(found["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None
