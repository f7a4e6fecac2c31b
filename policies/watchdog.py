"""A thread that ends hooks which do not end by themselves.

A policy's hook runs on the event loop's thread: one that loops for ever would stop every session. Three steps, each
for what the step before cannot reach:

1. past `limit` seconds the watchdog raises `Interrupted` inside the hook's thread (PyThreadState_SetAsyncExc);
2. past twice `limit` (a blocking C call, a hook that swallows every exception) the process ends with `EXIT_STUCK`;
3. where a hook never lets the watchdog run (C code that holds the GIL: a catastrophic `re` pattern), faulthandler's
   own C thread ends the process.

A process that ends forwards nothing, and the supervisor starts it again.

The hook's thread takes no lock. It stores `started` and clears it; the watchdog announces (`firing`, `fired`) before
it looks at `started` a second time. One of the two always sees the other, so no interrupt hits code outside a hook:
whoever disarms and finds `fired` set calls `settle`, which waits for the watchdog and takes back what is pending.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import threading
import time
import types
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any

EXIT_STUCK = 70
_GIL_MARGIN = 15.0  # a process that was stopped or starved for a while is not stuck
_GIL_PERIOD = 1.0

_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in_thread.argtypes = [ctypes.c_ulong, ctypes.py_object]
_raise_in_thread.restype = ctypes.c_int


class Interrupted(BaseException):
    """Raised by the watchdog inside a hook that ran too long. A BaseException: `except Exception` lets it pass."""


class Watchdog:
    """Watches one region of code at a time, in whatever thread enters it.

    Callers on a hot path inline `arm`/`disarm`: `started = monotonic()` last on the way in, `started = None` first on
    the way out, then `settle()` where `fired` is not None. `limit` is seconds for regions that set no other.
    """

    def __init__(self, limit: float) -> None:
        self.limit = self.allowed = limit
        self.started: float | None = None
        self.fired: float | None = None
        self.firing = False
        self.thread = 0
        self.name = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; it ends with the Watchdog object. Again after a fork, where threads are lost."""
        if self._thread is None or not self._thread.is_alive():
            tick = min(max(self.limit / 4, 0.005), 0.25)
            self._thread = threading.Thread(
                target=_watch, args=(weakref.ref(self), tick), name="onrecord-watchdog", daemon=True
            )
            self._thread.start()

    def run[**P, R](self, name: str, limit: float, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call under watch (rare, slow work: loading a policy). Raises Interrupted where it took longer than `limit`.

        No `with` block: CPython leaves a loop's backward jump out of the exception table of the `try` around it, so an
        interrupt that lands there would pass by a handler in the same function. A call is always covered.
        """
        self.start()
        self.name, self.allowed, self.thread = name, limit, threading.get_ident()
        begun = time.monotonic()
        try:
            self.started = begun
            result = call(*args, **kwargs)
        finally:
            self.started = None
            self.allowed = self.limit
            if self.fired is not None:
                self.settle()
        if time.monotonic() - begun > limit:
            raise Interrupted
        return result

    def settle(self) -> None:
        """After disarming: wait until the watchdog has made up its mind, and take back an interrupt not yet raised.

        The interrupt may still arrive in here: it is swallowed, or raised at the very entry (callers expect both).
        """
        while True:
            try:
                while self.firing:
                    time.sleep(0.0005)
                _raise_in_thread(self.thread, ctypes.py_object())
                self.fired = None
                return
            except Interrupted:
                continue

    def check(self, now: float) -> None:
        """One look, by the watchdog's thread."""
        started = self.started
        if started is None or now - started <= self.allowed:
            return
        if self.fired is not started:
            self.firing = True
            self.fired = started
            if self.started is started:
                _raise_in_thread(self.thread, ctypes.py_object(Interrupted))
            else:
                self.fired = None
            self.firing = False
        elif now - started > 2 * self.allowed and self.started is started:
            end_process(self.name, now - started)


def end_process(name: str, seconds: float) -> None:
    """End this process at once: a policy is stuck beyond reach, and nothing may pass meanwhile."""
    text = f"onrecord: policy {name} did not end after {seconds:.1f} s and cannot be interrupted; the process ends\n"
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
    os._exit(EXIT_STUCK)


@types.coroutine
def stepwise(watch: Watchdog, name: str, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a coroutine with the watchdog over each of its steps: one that blocks the loop is interrupted too."""
    value: Any = None
    thrown: BaseException | None = None
    while True:
        watch.name, watch.thread = name, threading.get_ident()
        watch.started = time.monotonic()
        try:
            if thrown is None:
                waited = work.send(value)
            else:
                error, thrown = thrown, None
                waited = work.throw(error)
        except StopIteration as stop:
            return stop.value
        finally:
            watch.started = None
            if watch.fired is not None:
                watch.settle()
        try:
            value = yield waited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001
            thrown = error


_live: set[int] = set()
_live_lock = threading.Lock()


def _watch(reference: weakref.ref[Watchdog], tick: float) -> None:
    me = threading.get_ident()
    with _live_lock:
        _live.add(me)
    renewed = 0.0
    while True:
        watchdog = reference()
        if watchdog is None:
            break
        now = time.monotonic()
        watchdog.check(now)
        if now - renewed >= _GIL_PERIOD:
            renewed = now
            # C code that holds the GIL stops this thread too; faulthandler's thread needs no GIL
            with contextlib.suppress(RuntimeError, ValueError, AttributeError, OSError):
                faulthandler.dump_traceback_later(2 * watchdog.limit + _GIL_MARGIN, exit=True, file=2)
        del watchdog
        time.sleep(tick)
    with _live_lock:
        _live.discard(me)
        if not _live:
            faulthandler.cancel_dump_traceback_later()
