"""One resource's catalog for all sessions of this process: loaded at the start, reloaded by age and on DDL.

A snapshot is trusted while it is younger than 90 s and no process has seen DDL since its reading began. Where there
is none to trust, `current` is None, and analysis is as strict as without any catalog.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter as Multiset
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from onrecord.policies.errors import OnrecordError
from onrecord.policies.sql.catalog import Catalog
from onrecord.shims.postgres.catalog.counter import Counter

RELOAD = 30.0  # seconds of age at which it is read again, while there are sessions
TRUSTED = 90.0
RETRY = 1.0  # seconds between attempts that fail, and between reloads because of an unknown name
WAIT = 5.0  # seconds that a statement waits for a snapshot
_ATTEMPTS = 3

_log = logging.getLogger("onrecord.postgres")


class Reader(Protocol):
    """What a snapshot comes from; blocks, and is called in a thread. Raises OnrecordError."""

    def read(self) -> Catalog: ...

    def end(self) -> None: ...


class CatalogSource:
    """`current`, `fresh`, `changed`; `enter` and `leave` around each session. For one event loop."""

    def __init__(
        self, name: str, reader: Reader, counter: Counter, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._reader, self._counter, self._clock = name, reader, counter, clock
        self._catalog: Catalog | None = None
        self._seen = -1  # the counter when the reading of `_catalog` began
        self._began = 0.0  # and the time
        self._retry = float("-inf")  # no attempt before
        self._failing = False
        self._load: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._sessions = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"catalog-{name}")
        self._closed = False
        self._unsettled: Multiset[str] = Multiset()
        self._settled = asyncio.Event()
        self._settled.set()
        self._suspect = False
        self.unsettled_version = 0  # differs whenever `unsettled` answers otherwise

    # ------------------------------------------------------------------ for sessions

    @property
    def current(self) -> Catalog | None:
        """The snapshot, where it can be trusted now."""
        if self._counter.value != self._seen or self._clock() - self._began > TRUSTED:
            return None
        return self._catalog

    @property
    def fresh_now(self) -> bool:
        """Whether waiting for `fresh` would not help: there is a snapshot, or reading has failed just now."""
        return self.current is not None or self._clock() < self._retry

    async def fresh(self) -> Catalog | None:
        """A snapshot that holds all that was seen to change before this call; None where there is none in 5 s."""
        wanted = self._counter.value
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT):
                for _ in range(_ATTEMPTS):  # a reading under way may have begun too early
                    if self._good(wanted):
                        return self._catalog
                    if self._clock() < self._retry or self._closed:
                        return None
                    await asyncio.shield(self._reading())
        if self._good(wanted):
            return self._catalog
        self._retry = max(self._retry, self._clock() + RETRY)
        return None

    def _good(self, wanted: int) -> bool:
        return self._seen >= wanted and self._catalog is not None and self._clock() - self._began <= TRUSTED

    def changed(self) -> None:
        """DDL was seen: no process trusts a snapshot from before."""
        self._counter.bump()

    def may_have_changed(self) -> None:
        """Something ran that may have done DDL: the catalog is read again soon, and trusted until then."""
        self._suspect = True

    def may_look_again(self) -> bool:
        """Whether a name that the snapshot lacks is worth a reload: not when it was read within the last second."""
        now = self._clock()
        return now - self._began > RETRY and now >= self._retry

    async def look_again(self) -> bool:
        """Wait for changes under way, and read again; what was known before still counts where that fails.

        Whether there is a snapshot now whose reading began after this call.
        """
        asked = self._clock()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY):
                await self._settled.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT):
                for _ in range(2):  # a reading under way began too early
                    await asyncio.shield(self._reading())
                    if self._began >= asked:
                        return True
        return False

    # ------------------------------------------------------------------ names that are changing now

    def announce(self, names: Iterable[str]) -> None:
        """A session has sent what may commit changes of these names: until `withdraw` they mean nothing certain."""
        self._unsettled.update(names)
        self._settle()

    def withdraw(self, names: Iterable[str]) -> None:
        """The answer is there."""
        self._unsettled.subtract(names)
        self._unsettled = +self._unsettled
        self._settle()

    def _settle(self) -> None:
        self.unsettled_version += 1
        if self._unsettled:
            self._settled.clear()
        else:
            self._settled.set()

    @property
    def unsettled(self) -> Multiset[str]:
        return self._unsettled

    # ------------------------------------------------------------------ keeping it warm

    def start(self) -> None:
        """Begin the first reading; needs a running loop."""
        if self._load is None:
            self._reading()

    def enter(self) -> None:
        """A session begins."""
        self._sessions += 1
        if self.current is None or self._clock() - self._began > RELOAD:
            self._reading()
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    def leave(self) -> None:
        """A session has ended."""
        self._sessions -= 1
        if not self._sessions and self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(RETRY)
            stale = self._suspect or self._counter.value != self._seen or self._clock() - self._began > RELOAD
            if stale and self._clock() >= self._retry:
                await asyncio.shield(self._reading())

    def _reading(self) -> asyncio.Task[None]:
        if self._load is None or self._load.done():
            self._load = asyncio.get_running_loop().create_task(self._read(), name=f"catalog of {self._name}")
        return self._load

    async def _read(self) -> None:
        if self._closed:
            return
        seen, began, self._suspect = self._counter.value, self._clock(), False
        try:
            catalog = await asyncio.get_running_loop().run_in_executor(self._thread, self._reader.read)
        except OnrecordError as error:
            self._retry = self._clock() + RETRY
            if not self._failing and not self._closed:
                self._failing = True
                _log.error(
                    "resource %s: the catalog cannot be read: %s: statements that need it are unknown",
                    self._name,
                    error,
                )
            return
        if self._failing:
            self._failing = False
            _log.info("resource %s: the catalog can be read again", self._name)
        self._catalog, self._seen, self._began = catalog, seen, began

    async def close(self) -> None:
        """Stop; a reading under way ends with its connection."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
        self._reader.end()
        if self._load is not None:
            await asyncio.wait([self._load], timeout=RETRY)
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._counter.close()
