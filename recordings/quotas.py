"""What one identity may use of one process: sessions at once, commands and bytes a minute. It refuses that one only.

Commands and bytes are token buckets that hold a minute's worth. Pure but for the clock (monotonic seconds).
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from onrecord.policies.config.types import QuotasConfig
from onrecord.policies.model import Identity

_MAX_IDENTITIES = 10_000  # remembered at once; a full bucket need not be

Key = tuple[str, str]


class _Bucket:
    __slots__ = ("at", "left")

    def __init__(self, left: float, at: float) -> None:
        self.left, self.at = left, at


class Quotas:
    """Counts by issuer and subject. A limit of 0 is none. Methods that answer give None, or why not."""

    def __init__(self, limits: QuotasConfig, clock: Callable[[], float] = monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._sessions: dict[Key, int] = {}
        self._buckets: dict[tuple[Key, str], _Bucket] = {}
        self.idle = not (limits.commands or limits.bytes)

    def enter(self, identity: Identity) -> str | None:
        """A session begins, unless there are too many."""
        key = (identity.issuer, identity.subject)
        count, most = self._sessions.get(key, 0), self._limits.sessions
        if most and count >= most:
            return f"{identity.subject} has {count} sessions open, as many as quotas.sessions allows"
        self._sessions[key] = count + 1
        return None

    def leave(self, identity: Identity) -> None:
        """A session that entered has ended."""
        key = (identity.issuer, identity.subject)
        count = self._sessions.get(key, 0) - 1
        if count > 0:
            self._sessions[key] = count
        else:
            self._sessions.pop(key, None)

    def command(self, identity: Identity) -> str | None:
        """A command is asked for; it is counted unless it is refused."""
        key = (identity.issuer, identity.subject)
        if self._limits.bytes and self._bucket(key, "bytes", self._limits.bytes).left <= 0:
            return f"{identity.subject} has moved as many bytes this minute as quotas.bytes allows"
        if self._limits.commands:
            bucket = self._bucket(key, "commands", self._limits.commands)
            if bucket.left < 1:
                return f"{identity.subject} has sent as many commands this minute as quotas.commands allows"
            bucket.left -= 1
        return None

    def moved(self, identity: Identity, size: int) -> None:
        """Bytes of a command or its answer passed. The one that goes over the limit ends; the next is refused."""
        if self._limits.bytes and size:
            self._bucket((identity.issuer, identity.subject), "bytes", self._limits.bytes).left -= size

    def _bucket(self, key: Key, what: str, most: int) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get((key, what))
        if bucket is None:
            if len(self._buckets) >= _MAX_IDENTITIES:
                self._forget(now)
            bucket = self._buckets[key, what] = _Bucket(most, now)
            return bucket
        bucket.left = min(most, bucket.left + (now - bucket.at) * most / 60)
        bucket.at = now
        return bucket

    def _forget(self, now: float) -> None:
        """Who has been quiet for a minute owes nothing that matters; else the longest quiet half goes."""
        by_age = sorted(self._buckets, key=lambda key: self._buckets[key].at)
        quiet = [key for key in by_age if now - self._buckets[key].at > 60]
        for key in quiet or by_age[: len(by_age) // 2]:
            del self._buckets[key]
