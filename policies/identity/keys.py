"""An issuer's keys, kept: fetched once, refreshed by age, looked up again for an unknown `kid` at a bounded rate.

Times here are monotonic seconds. One fetch runs at a time; whoever asks meanwhile waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from onrecord.policies.errors import IdentityError
from onrecord.policies.identity.fetch import DEADLINE, FetchError, fetch_keys
from onrecord.policies.identity.jwks import KeySetError, PublicKey, parse_jwks

log = logging.getLogger("onrecord.identity")

FRESH = 300.0
"""Keys are fetched again after so many seconds, so that a key that its issuer withdrew stops to count."""

LOOKUP_BURST, LOOKUP_EVERY = 3, 30.0
"""For unknown `kid`s an issuer is asked again at most so often: a few times at once, then once in so many seconds.

Anyone can write a `kid` into a token, so this is what bounds the requests that strangers can cause.
"""

FIRST_BACKOFF, LAST_BACKOFF = 1.0, 30.0

PATIENCE = 2.0
"""Seconds for which a token waits for fresh keys where older ones may still serve: less than a client's handshake."""


class KeySource(Protocol):
    """Where an issuer's keys come from."""

    @property
    def usable_until(self) -> float:
        """Monotonic time until which a signature that was checked now may be believed without another look."""

    async def current(self) -> tuple[PublicKey, ...]:
        """Keys that may be used now. Raises IdentityError where there are none."""

    async def again(self) -> tuple[PublicKey, ...] | None:
        """Keys looked up once more for an unknown `kid`; None where the rate is used up."""


class RemoteKeys:
    """Keys of an issuer on the network.

    Up to `min(FRESH, stale)` seconds old they are used as they are. Older, they are fetched again; while the issuer
    does not answer they serve until they are `stale` seconds old, then every token of the issuer is refused.
    """

    def __init__(
        self,
        issuer: str,
        ca: Path | None,
        stale: float,
        *,
        fetch: Callable[[str, Path | None], tuple[PublicKey, ...]] = fetch_keys,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer, self._ca, self._fetch, self._clock = issuer, ca, fetch, clock
        self._stale = max(stale, 1.0)  # under a second every token would ask the issuer
        self._fresh = min(FRESH, self._stale)
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched_at = float("-inf")
        self._failure = ""
        self._backoff = 0.0
        self._retry_at = float("-inf")
        self._lookups = float(LOOKUP_BURST)
        self._counted_at = clock()
        self._flight: asyncio.Task[None] | None = None

    @property
    def usable_until(self) -> float:
        """See KeySource: no longer than the keys are fresh, so that a withdrawn key's tokens go with it."""
        now, fresh = self._clock(), self._fetched_at + self._fresh
        return min(fresh if fresh > now else now + LAST_BACKOFF, self._fetched_at + self._stale)

    async def current(self) -> tuple[PublicKey, ...]:
        """See KeySource."""
        if self._age() > self._fresh and (self._flying() or self._clock() >= self._retry_at):
            await self._refresh(PATIENCE if self._age() <= self._stale else DEADLINE + 1)
        return self._usable()

    async def again(self) -> tuple[PublicKey, ...] | None:
        """See KeySource."""
        if not self._flying():
            now = self._clock()
            self._lookups = min(LOOKUP_BURST, self._lookups + (now - self._counted_at) / LOOKUP_EVERY)
            self._counted_at = now
            if self._lookups < 1.0 or now < self._retry_at:
                return None
            self._lookups -= 1.0
        await self._refresh(DEADLINE + 1)
        return self._usable()

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _usable(self) -> tuple[PublicKey, ...]:
        if self._age() <= self._stale:
            return self._keys
        had = f"; the keys at hand are older than jwks_stale ({self._stale:g} s)" if self._keys else ""
        raise IdentityError(
            f"the keys of issuer {self._issuer!r} cannot be read: {self._failure or 'no answer yet'}{had}"
        )

    def _flying(self) -> bool:
        flight = self._flight
        return flight is not None and not flight.done() and flight.get_loop() is asyncio.get_running_loop()

    async def _refresh(self, patience: float) -> None:
        """Fetch, or wait for the fetch that is under way, for `patience` seconds; who gives up does not stop it."""
        if self._flying() and self._flight is not None:
            flight = self._flight
        else:
            flight = self._flight = asyncio.get_running_loop().create_task(self._fetch_once())
        done, _waiting = await asyncio.wait({flight}, timeout=patience)
        if done:
            flight.result()

    async def _fetch_once(self) -> None:
        try:
            keys = await asyncio.to_thread(self._fetch, self._issuer, self._ca)
        except FetchError as error:
            self._failure = str(error)
            self._backoff = min(LAST_BACKOFF, max(FIRST_BACKOFF, self._backoff * 2))
            self._retry_at = self._clock() + self._backoff
            log.warning("issuer %s: keys not read: %s", self._issuer, error)
        else:
            self._keys, self._fetched_at = keys, self._clock()
            self._failure, self._backoff, self._retry_at = "", 0.0, float("-inf")


class FileKeys:
    """Keys in a local JWKS file that only this user or root can write; read again whenever the file changed."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._seen: tuple[int, ...] = ()
        self._keys: tuple[PublicKey, ...] = ()

    @property
    def usable_until(self) -> float:
        """See KeySource."""
        return self._clock() + FRESH

    async def current(self) -> tuple[PublicKey, ...]:
        """See KeySource. A local file of a few hundred bytes: read in place."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise IdentityError(f"{self._path}: {error.strerror}; `onrecord token` creates the key") from error
        with contextlib.closing(os.fdopen(descriptor, "rb")) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
                raise IdentityError(f"{self._path}: others can write this file, so its keys are not believed")
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            if mark != self._seen:
                try:
                    self._keys, self._seen = parse_jwks(file.read()), mark
                except KeySetError as error:
                    raise IdentityError(f"{self._path}: {error}") from error
        return self._keys

    async def again(self) -> tuple[PublicKey, ...] | None:
        """See KeySource. `current` has just read the file."""
        return None
