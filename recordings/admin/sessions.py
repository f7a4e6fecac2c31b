"""Sessions of browsers, kept in this process: what a cookie stands for, and the logins that are under way.

The cookie is 256 random bits; only its SHA-256 is kept. A restart of the process ends every session. No I/O; the clock
is given (seconds that only rise: no clock that is put back makes a login younger).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from onrecord.policies.approvals import Approver

MAX_SESSIONS = 10_000
MAX_ANONYMOUS = 1_000
MAX_ANONYMOUS_OF_CLIENT = 100
MAX_OF_IDENTITY = 20
ANONYMOUS_LIFETIME = 600.0
"""How long somebody may take to log in."""

MAX_LOGINS = 5
MAX_VIEWS = 200


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login that was sent to an issuer: what its answer must fit. `next` is a path of ours."""

    issuer: str
    nonce: str
    verifier: str
    next: str
    began: float
    forced: bool = False


@dataclass(slots=True)
class BrowserSession:
    """One browser. `person` is None until somebody logs in."""

    key: bytes
    created: float
    used: float
    person: Approver | None = None
    client: str = ""
    logins: OrderedDict[str, PendingLogin] = field(default_factory=OrderedDict)
    views: OrderedDict[str, set[int]] = field(default_factory=OrderedDict)

    def token(self, purpose: str) -> str:
        """What only this session's pages know, for one purpose: a form's token, or the proof that a text was read."""
        return hmac.new(self.key, purpose.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def holds(self, purpose: str, given: str) -> bool:
        """Whether `given` is the token; compared in constant time."""
        return hmac.compare_digest(self.token(purpose).encode(), given.encode("utf-8", "replace"))

    def begin_login(self, login: PendingLogin) -> str:
        """Remember a login; returns its `state`. Only the newest few of a session are kept."""
        state = secrets.token_urlsafe(32)
        self.logins[state] = login
        while len(self.logins) > MAX_LOGINS:
            self.logins.popitem(last=False)
        return state

    def finish_login(self, state: str) -> PendingLogin | None:
        """The login with this `state`, once."""
        return self.logins.pop(state, None)

    def saw(self, text: str, part: int) -> set[int]:
        """Note that a part of a text was shown; returns all of its parts that were. `text` names it by its content."""
        seen = self.views.setdefault(text, set())
        self.views.move_to_end(text)
        seen.add(part)
        while len(self.views) > MAX_VIEWS:
            self.views.popitem(last=False)
        return seen


class Sessions:
    """All sessions. `idle` and `lifetime` are seconds."""

    def __init__(self, *, idle: float, lifetime: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle, self._lifetime, self._clock = idle, lifetime, clock
        self._found: OrderedDict[bytes, BrowserSession] = OrderedDict()  # by use, oldest first

    def __len__(self) -> int:
        return len(self._found)

    def get(self, cookie: str) -> BrowserSession | None:
        """The session of a cookie, if it has not ended; this is a use of it."""
        name = _name(cookie)
        session = self._found.get(name)
        if session is None:
            return None
        if not self._alive(session):
            del self._found[name]
            return None
        session.used = self._clock()
        self._found.move_to_end(name)
        return session

    def alive(self, cookie: str) -> bool:
        """Whether a cookie's session has not ended; no use of it (an open event stream keeps nobody logged in)."""
        session = self._found.get(_name(cookie))
        return session is not None and self._alive(session)

    def open(self, client: str = "") -> tuple[str, BrowserSession]:
        """A new session of nobody, and its cookie. `client` is the network that asks.

        Where there are too many, the oldest of whoever has most goes: a flood from one place ends nobody else's login.
        """
        anonymous = [(name, session.client) for name, session in self._found.items() if session.person is None]
        counts = Counter(theirs for _, theirs in anonymous)
        over = client if counts[client] >= MAX_ANONYMOUS_OF_CLIENT else None
        if over is None and len(anonymous) >= MAX_ANONYMOUS:
            over = counts.most_common(1)[0][0]
        if over is not None:
            del self._found[next(name for name, theirs in anonymous if theirs == over)]
        return self._add(None, client)

    def log_in(self, cookie: str, person: Approver) -> tuple[str, BrowserSession]:
        """Replace a session by one of `person`: new cookie, new key, so that nothing known before counts."""
        self._found.pop(_name(cookie), None)
        same = [
            name
            for name, session in self._found.items()
            if session.person is not None and session.person.person == person.person
        ]
        for name in same[: max(0, len(same) + 1 - MAX_OF_IDENTITY)]:
            del self._found[name]
        while len(self._found) >= MAX_SESSIONS:
            self._found.popitem(last=False)
        return self._add(person)

    def end(self, cookie: str) -> None:
        """Log out."""
        self._found.pop(_name(cookie), None)

    def sweep(self) -> None:
        """Forget what has ended."""
        for name in [name for name, session in self._found.items() if not self._alive(session)]:
            del self._found[name]

    def _add(self, person: Approver | None, client: str = "") -> tuple[str, BrowserSession]:
        now = self._clock()
        cookie = secrets.token_urlsafe(32)
        session = BrowserSession(secrets.token_bytes(32), now, now, person, client)
        self._found[_name(cookie)] = session
        return cookie, session

    def _alive(self, session: BrowserSession) -> bool:
        now = self._clock()
        if session.person is None:
            return now - session.created < ANONYMOUS_LIFETIME
        return now - session.used < self._idle and now - session.created < self._lifetime


def _name(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()
