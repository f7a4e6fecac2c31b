"""policies/watchdog.py"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import subprocess
import sys
import threading
import time

import pytest

from onrecord.policies.watchdog import EXIT_STUCK, Interrupted, Watchdog, _raise_in_thread, stepwise

STUCK = """
import time
from onrecord.policies.watchdog import Watchdog
def work():
    {body}
Watchdog(0.1).run("endless", 0.1, work)
"""


def endless() -> None:
    while True:
        pass


def busy(seconds: float) -> None:
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        pass


def swallowing() -> None:
    with contextlib.suppress(BaseException):
        endless()


def python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)


def test_a_loop_is_interrupted():
    watchdog = Watchdog(0.05)
    with pytest.raises(Interrupted):
        watchdog.run("p", 0.05, endless)
    assert watchdog.started is None
    assert watchdog.fired is None


def test_what_ends_late_is_late_even_where_it_swallowed_the_interrupt():
    with pytest.raises(Interrupted):
        Watchdog(0.05).run("p", 0.05, swallowing)


def test_what_ends_in_time_is_left_alone():
    assert Watchdog(5.0).run("p", 5.0, int, "7") == 7


def test_what_it_raises_comes_through():
    with pytest.raises(ValueError, match="invalid literal"):
        Watchdog(5.0).run("p", 5.0, int, "x")


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(20)",
        "\n    while True:\n        try:\n            while True: int()\n        except BaseException: pass",
    ],
    ids=["blocked in C", "swallows everything"],
)
def test_a_process_that_cannot_be_interrupted_ends_and_says_which_policy(body):
    ended = python(STUCK.format(body=body))
    assert ended.returncode == EXIT_STUCK
    assert "policy endless" in ended.stderr


def test_code_that_holds_the_gil_ends_the_process_too():
    # pow holds the GIL for minutes: neither the first step nor the second can reach it
    ended = python(
        "import time, onrecord.policies.watchdog as w\n"
        "w._GIL_MARGIN = 0.3\n"
        "dog = w.Watchdog(0.1)\ndog.start()\ntime.sleep(0.1)\n"
        "dog.run('gil', 0.1, pow, 3, 10 ** 9)\n"
    )
    assert ended.returncode != 0
    assert "Timeout" in ended.stderr


def test_no_interrupt_ever_lands_outside_the_call():
    watchdog = Watchdog(0.002)
    late = 0
    end = time.monotonic() + 0.8
    while time.monotonic() < end:
        try:
            watchdog.run("p", 0.002, busy, 0.002)
        except Interrupted:
            late += 1
        for _ in range(50):  # an interrupt that came here would fail this test
            pass
    assert late > 0


def test_the_thread_ends_with_its_watchdog():
    watchdog = Watchdog(0.02)
    watchdog.start()
    thread = watchdog._thread
    assert isinstance(thread, threading.Thread)
    assert thread.daemon
    del watchdog
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_an_interrupt_that_is_on_its_way_when_the_call_ends_is_taken_back():
    watchdog = Watchdog(5.0)
    watchdog.thread = threading.get_ident()
    announced = threading.Event()

    def fire() -> None:  # what `check` does, stretched: announced, but not raised yet
        watchdog.firing, watchdog.fired = True, 1.0
        announced.set()
        time.sleep(0.05)
        _raise_in_thread(watchdog.thread, ctypes.py_object(Interrupted))
        watchdog.firing = False

    thread = threading.Thread(target=fire)
    thread.start()
    announced.wait()
    watchdog.settle()
    thread.join()
    busy(0.05)  # the interrupt would come here
    assert watchdog.fired is None


async def test_a_coroutine_is_watched_step_by_step_and_what_it_waits_for_is_not():
    watchdog = Watchdog(0.05)
    watchdog.start()

    async def waits() -> str:
        await asyncio.sleep(0.15)
        return "waited"

    async def blocks() -> None:
        await asyncio.sleep(0)
        endless()

    assert await stepwise(watchdog, "p", waits()) == "waited"
    with pytest.raises(Interrupted):
        await stepwise(watchdog, "p", blocks())
    assert watchdog.started is None


async def test_a_watched_coroutine_can_be_cancelled_and_clean_up():
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def work() -> None:
        await stepwise(Watchdog(5.0), "p", waits())

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]
