"""Reading SQL texts; the long ones on a thread, while their session waits and the others go on.

A text of half a megabyte takes seconds to analyse, and one thread serves all sessions: without this, one agent could
hold up everybody. Few texts wait at a time, fewer of one identity, and none for long.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from onrecord.policies.model import Identity
from onrecord.policies.sql import Analysis, SqlError, analyse, blank_literals, redact_unparsed
from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.lineage import Lineage, trace
from onrecord.policies.sql.parser import LARGEST
from onrecord.policies.sql.redact import worth_a_look
from onrecord.shims.postgres.commands import Refusal

LONG = 8 * 1024  # characters from which on a text is read aside
LIMIT = 20.0  # seconds that a statement waits for that
AT_ONCE = 16  # texts that wait for the thread
EACH = 4  # of one identity
SHOWN = 64 * 1024  # characters of a text that is too long to be anything but refused
_SHORTER = "send shorter statements, or COPY for many rows"


class Wanted(NamedTuple):
    """A text to read, and everything that its meaning depends on. `refuses`: it is refused if it cannot be analysed."""

    text: str
    path: tuple[str, ...]
    catalog: Catalog | None
    traced: bool
    refuses: bool


class Reading(NamedTuple):
    """What was found: statements and their lineages, or why they are not known (`error`), or why nobody looked.

    `shown` is then the text without what may be secret in it.
    """

    analysis: Analysis | None = None
    lineages: tuple[Lineage, ...] = ()
    error: str = ""
    shown: str = ""
    refusal: Refusal | None = None


def read(wanted: Wanted) -> Reading:
    """Analyse a text. Pure, and for any thread."""
    text, path, catalog, traced, refuses = wanted
    try:
        analysis = analyse(text, search_path=path, catalog=catalog)
    except SqlError as error:
        return Reading(error=f"the statement cannot be analysed: {error}", shown=_shown(text, refuses=refuses))
    lineages = trace(text, search_path=path, catalog=catalog) if traced and analysis.statements else ()
    return Reading(analysis, lineages)


def refused(wanted: Wanted, reason: str, sqlstate: str, hint: str = _SHORTER) -> Reading:
    """A reading of a text that nobody looked into: it is refused, and not shown, for it may hold secrets."""
    refusal = Refusal(reason, hint, sqlstate=sqlstate)
    return Reading(shown=f"[{len(wanted.text)} characters of SQL that were not analysed]", refusal=refusal)


def _shown(text: str, *, refuses: bool) -> str:
    """What is recorded of a text that cannot be analysed; all of it where policies may still let it pass."""
    if not refuses or len(text) <= LARGEST:
        return redact_unparsed(text)
    shown = blank_literals(text[:SHOWN]) if worth_a_look(text) else text[:SHOWN]
    return f"{shown} [the first of {len(text)} characters]"


class Readers:
    """The thread of one process, and who waits for it."""

    def __init__(self, work: Callable[[Wanted], Reading] = read) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="long-sql")
        self._lock = threading.Lock()
        self._of: Counter[tuple[str, str]] = Counter()  # not read yet, or given up and still being read

    def begin(self, wanted: Wanted, identity: Identity) -> Future[Reading] | None:
        """Begin to read; None where too many wait."""
        who = (identity.issuer, identity.subject)
        with self._lock:
            if self._of.total() >= AT_ONCE or self._of[who] >= EACH:
                return None
            self._of[who] += 1
        work = self._pool.submit(self._work, wanted)

        def done(_: Future[Reading]) -> None:
            with self._lock:
                self._of -= Counter((who,))

        work.add_done_callback(done)
        return work

    def close(self) -> None:
        """Read nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Aside:
    """What one session has read aside."""

    def __init__(self, readers: Readers, identity: Identity) -> None:
        self._readers, self._identity = readers, identity
        self._waiting: set[asyncio.Future[Reading]] = set()

    async def read(self, wanted: Wanted) -> Reading:
        """What `wanted` says, or the refusal of it: it took too long, too many wait, or the client took it back."""
        work = self._readers.begin(wanted, self._identity)
        if work is None:
            return refused(wanted, "too many long statements are being analysed", "53400", "try again later")
        answer = asyncio.wrap_future(work)
        self._waiting.add(answer)
        try:
            async with asyncio.timeout(LIMIT):
                return await answer
        except TimeoutError:
            return refused(wanted, "the statement is too long to be analysed in time", "54000")
        except asyncio.CancelledError:
            if answer not in self._waiting:  # not the session's end: only this was taken back
                return refused(wanted, "cancelled by the client", "57014", "")
            raise
        finally:
            self._waiting.discard(answer)

    def stop(self) -> bool:
        """The client takes back what is being read; whether anything was."""
        waiting = [answer for answer in self._waiting if not answer.done()]
        for answer in waiting:
            self._waiting.discard(answer)
            answer.cancel()
        return bool(waiting)
